"""The gRPC API. It knows a Service, and of Ray Serve only that methods are called with messages and a context."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help, RetryInfo
from google.rpc.status_pb2 import Status
from pydantic import ValidationError

from diptych_serving.answers import Body, read, reply
from diptych_serving.bodies import CompareBody
from diptych_serving.grpc_messages import (
    compare_body,
    event_message,
    generate_body,
    models_message,
    pictures_message,
)
from diptych_serving.image_request import ImageRequest
from diptych_serving.keys import Scope
from diptych_serving.models import list_models
from diptych_serving.rate_limit import Client
from diptych_serving.refusals import Refused, refusal_of, refusal_of_fields
from diptych_serving.service import Service
from diptych_serving.streams import told, with_previews
from diptych_serving.v1 import images_pb2 as pb

DOMAIN: Final = "diptych.dev"
STATUS_KEY: Final = "grpc-status-details-bin"
RequestT = TypeVar("RequestT", pb.GenerateRequest, pb.CompareRequest)


class Context(Protocol):
    """What Ray Serve hands to a method."""

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """Return what the client sent beside the message."""

    def peer(self) -> str:
        """Return the other end of the connection."""

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status."""

    def set_details(self, details: str) -> None:
        """Set the message of the status."""

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, Any]]) -> None:
        """Set what comes after the answer."""


async def generate(service: Service, request: pb.GenerateRequest, context: Context) -> pb.PicturesReply:
    """Draw a prompt with one adapter or the base, for n seeds."""
    return await _unary(service, _read_generate, request, context)


async def compare(service: Service, request: pb.CompareRequest, context: Context) -> pb.PicturesReply:
    """Draw a prompt with base and adapters side by side."""
    return await _unary(service, _read_compare, request, context)


def generate_stream(service: Service, request: pb.GenerateRequest, context: Context) -> AsyncIterator[pb.Event]:
    """Draw as generate does, telling progress on the way."""
    return _stream(service, _read_generate, request, context)


def compare_stream(service: Service, request: pb.CompareRequest, context: Context) -> AsyncIterator[pb.Event]:
    """Draw as compare does, telling progress on the way."""
    return _stream(service, _read_compare, request, context)


async def models(service: Service, context: Context) -> pb.ListModelsReply:
    """List the base and the adapters."""
    try:
        return models_message(list_models(service.directory))
    except Refused as error:
        _refuse(context, error)
        return pb.ListModelsReply()


Read = Callable[[Service, Any], tuple[Body, list[ImageRequest]]]


def _read_generate(service: Service, request: pb.GenerateRequest) -> tuple[Body, list[ImageRequest]]:
    body = generate_body(request)
    return body, with_previews(read(service, body), request.params.preview_every)


def _read_compare(service: Service, request: pb.CompareRequest) -> tuple[Body, list[ImageRequest]]:
    body = compare_body(request)
    return body, with_previews(read(service, body), request.params.preview_every)


async def _unary(service: Service, reader: Read, request: RequestT, context: Context) -> pb.PicturesReply:
    started = time.monotonic()
    try:
        body, requests = reader(service, request)
        drawn = await service.draw(requests, client_from(context, service, body))
        return pictures_message(await reply(service, body, drawn, started))
    except (Refused, ValidationError) as error:
        _refuse(context, error)
        return pb.PicturesReply()


async def _stream(service: Service, reader: Read, request: RequestT, context: Context) -> AsyncIterator[pb.Event]:
    started = time.monotonic()
    try:
        body, requests = reader(service, request)
        async for item in told(service, requests, client_from(context, service, body)):
            if isinstance(item, list):
                yield pb.Event(pictures=pictures_message(await reply(service, body, item, started)))
            elif (message := await asyncio.to_thread(event_message, *item)) is not None:
                yield message
    except (Refused, ValidationError) as error:
        _refuse(context, error)
        yield pb.Event()


def client_from(context: Context, service: Service, body: Body) -> Client:
    """Return who asks; ``peer`` is such as ipv4:1.2.3.4:5678 or ipv6:[::1]:5678. Raises Refused for one who may not."""
    headers: Mapping[str, str] = {
        key: value for key, value in context.invocation_metadata() if not key.endswith("-bin")
    }
    address = context.peer().partition(":")[2].rpartition(":")[0].strip("[]")
    scope: Scope = "compare" if isinstance(body, CompareBody) else "generate"
    return service.directory.client(address, headers, scope)


def _refuse(context: Context, error: Refused | ValidationError) -> None:
    """Set the code, the message and the details of a refusal.

    Ray Serve sends trailers only along with a message, so the method answers with an empty one and does not raise.
    """
    refused = refusal_of_fields(error.errors(), skip=0) if isinstance(error, ValidationError) else refusal_of(error)
    code = getattr(grpc.StatusCode, refused.code.grpc)
    context.set_code(code)
    context.set_details(refused.text)
    status = Status(code=code.value[0], message=refused.text, details=[_packed(part) for part in _details(refused)])
    context.set_trailing_metadata([(STATUS_KEY, status.SerializeToString())])


def _details(refused: Refused) -> list[Any]:
    details: list[Any] = [ErrorInfo(reason=refused.reason, domain=DOMAIN)]
    if refused.violations:
        fields = [BadRequest.FieldViolation(field=v.field, description=v.message) for v in refused.violations]
        details.append(BadRequest(field_violations=fields))
    if refused.hint:
        details.append(Help(links=[Help.Link(description=refused.hint)]))
    if refused.retry_after_s is not None:
        seconds = int(refused.retry_after_s)
        nanos = int((refused.retry_after_s - seconds) * 1e9)
        details.append(RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos)))
    return details


def _packed(message: Any) -> AnyMessage:  # noqa: ANN401 - any message
    packed = AnyMessage()
    packed.Pack(message)
    return packed
