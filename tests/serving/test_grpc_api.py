"""The gRPC API without Ray Serve around it."""

from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from diptych_api.servingconfig import RegistryConfig
from diptych_serving import grpc_api
from diptych_serving.directory import Directory
from diptych_serving.jobs import JobBook
from diptych_serving.service import Service
from diptych_serving.v1 import images_pb2 as pb

CONFIG = RegistryConfig.model_validate({"limits": {"maxBodyBytes": 1024}})


class Call:
    """What Ray Serve hands to a method, and what the method said."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.OK
        self.details = ""
        self.trailers: dict[str, Any] = {}

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return []

    def peer(self) -> str:
        return "ipv4:127.0.0.1:5"

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, Any]]) -> None:
        self.trailers = dict(trailing_metadata)

    @property
    def reason(self) -> str:
        """The reason in the rich error."""
        info = ErrorInfo()
        Status.FromString(self.trailers[grpc_api.STATUS_KEY]).details[0].Unpack(info)
        return str(info.reason)


class Nobody:
    """No engine is asked."""

    def draw(self, request: object) -> Any:
        raise AssertionError


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_message_above_the_bound_is_refused_before_it_is_looked_at() -> None:
    service = Service(Directory("test", CONFIG), Nobody())
    back = grpc_api.Back(service, JobBook(service))
    call = Call()
    await grpc_api.generate(back, pb.GenerateRequest(params=pb.Params(prompt="x" * 2000)), call)
    assert (call.code, call.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BodyTooLarge")
    assert call.details == "The request is larger than 1024 bytes."
    stream = Call()
    arms = [pb.Arm(adapter="x" * 30)] * 60
    request = pb.CompareRequest(params=pb.Params(prompt="owl"), arms=arms)
    assert [event async for event in grpc_api.compare_stream(back, request, stream)] == [pb.Event()]
    assert stream.reason == "BodyTooLarge"
