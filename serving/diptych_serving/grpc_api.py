"""The gRPC API. It knows a Service, and of Ray Serve only that methods are called with messages and a context."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help, RetryInfo
from google.rpc.status_pb2 import Status
from pydantic import ValidationError

from diptych_serving.answers import AnyReply, Body, read, reply
from diptych_serving.bodies import PicturesReply
from diptych_serving.grpc_messages import (
    compare_body,
    event_message,
    generate_body,
    models_message,
    pictures_message,
)
from diptych_serving.identity import grpc_address, joined
from diptych_serving.jobs import Jobs, outcome
from diptych_serving.keys import Scope
from diptych_serving.models import list_models
from diptych_serving.rate_limit import Client
from diptych_serving.refusals import Code, Refused, invalid, refusal_of, refusal_of_fields
from diptych_serving.service import Service
from diptych_serving.streams import told, with_previews
from diptych_serving.v1 import images_pb2 as pb

_log = logging.getLogger(__name__)
DOMAIN: Final = "diptych.dev"
LONGEST_KEY: Final = 255
STATUS_KEY: Final = "grpc-status-details-bin"
Request = pb.GenerateRequest | pb.CompareRequest


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


@dataclass(frozen=True, slots=True)
class Back:
    """What is behind the methods."""

    service: Service
    jobs: Jobs


async def generate(back: Back, request: pb.GenerateRequest, context: Context) -> pb.PicturesReply:
    """Draw a prompt with one adapter or the base, for n seeds."""
    return await _unary(back, request, context)


async def compare(back: Back, request: pb.CompareRequest, context: Context) -> pb.PicturesReply:
    """Draw a prompt with base and adapters side by side."""
    return await _unary(back, request, context)


def generate_stream(back: Back, request: pb.GenerateRequest, context: Context) -> AsyncIterator[pb.Event]:
    """Draw as generate does, telling progress on the way."""
    return _stream(back, request, context)


def compare_stream(back: Back, request: pb.CompareRequest, context: Context) -> AsyncIterator[pb.Event]:
    """Draw as compare does, telling progress on the way."""
    return _stream(back, request, context)


async def models(service: Service, context: Context) -> pb.ListModelsReply:
    """List the base and the adapters."""
    try:
        client_from(context, service, None)
        return models_message(list_models(service.directory))
    except Exception as error:  # noqa: BLE001 -- as below
        _refuse(context, error)
        return pb.ListModelsReply()


async def _unary(back: Back, request: Request, context: Context) -> pb.PicturesReply:
    try:
        client, body = _admitted(back.service, request, context)
        if request.HasField("idempotency_key"):
            job = await back.jobs.start(body, client, key=_key(request))
            return _pictures(await outcome(back.jobs, job.id, client))
        admitted = await back.service.admit(read(back.service, body), client)
        return pictures_message(await reply(admitted, body, await admitted.draw()))
    except Exception as error:  # noqa: BLE001 -- told by its code; what is not known stands in the log
        _refuse(context, error)
        return pb.PicturesReply()


async def _stream(back: Back, request: Request, context: Context) -> AsyncIterator[pb.Event]:
    try:
        client, body = _admitted(back.service, request, context)
        _check_no_key(request)
        requests = with_previews(read(back.service, body), request.params.preview_every)
        admitted = await back.service.admit(requests, client)
        async for item in told(admitted):
            if isinstance(item, list):
                yield pb.Event(pictures=pictures_message(await reply(admitted, body, item)))
            elif (message := await asyncio.to_thread(event_message, *item)) is not None:
                yield message
    except Exception as error:  # noqa: BLE001 -- as above
        _refuse(context, error)
        yield pb.Event()


def _check_no_key(request: Request) -> None:
    if request.HasField("idempotency_key"):
        raise invalid("idempotency_key", "a stream takes none.", "Use Generate or Compare, or leave it out.")


def _pictures(outcome: AnyReply) -> pb.PicturesReply:
    return pictures_message(outcome) if isinstance(outcome, PicturesReply) else pb.PicturesReply()


def _key(request: Request) -> str:
    """Return the idempotency key. Raises Refused."""
    if not 1 <= len(request.idempotency_key) <= LONGEST_KEY:
        raise invalid("idempotency_key", f"it has not 1 to {LONGEST_KEY} characters.")
    return request.idempotency_key


def _admitted(service: Service, request: Request, context: Context) -> tuple[Client, Body]:
    """Return who asks for what; strangers learn nothing of the request. Raises Refused and ValidationError."""
    scope: Scope = "compare" if isinstance(request, pb.CompareRequest) else "generate"
    client = client_from(context, service, scope)
    if request.ByteSize() > (largest := service.directory.limits.max_body_bytes):
        raise Refused(Code.TOO_LARGE, f"The request is larger than {largest} bytes.", reason="BodyTooLarge")
    return client, compare_body(request) if isinstance(request, pb.CompareRequest) else generate_body(request)


def client_from(context: Context, service: Service, scope: Scope | None) -> Client:
    """Return who asks. Raises Refused for one who may not."""
    headers = joined((key, value) for key, value in context.invocation_metadata() if not key.endswith("-bin"))
    return service.directory.client(grpc_address(context.peer()), headers, scope)


def _refuse(context: Context, error: Exception) -> None:
    """Set the code, the message and the details of a refusal.

    Ray Serve sends trailers only along with a message, so the method answers with an empty one and does not raise.
    """
    refused = refusal_of_fields(error.errors(), skip=0) if isinstance(error, ValidationError) else refusal_of(error)
    if refused.code is Code.INTERNAL:
        _log.error("A call failed.", exc_info=error)
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
