"""The ports of earlier systems, beside the one of the HTTP API."""

import socket
from collections.abc import Iterator

import httpx2
import pytest

from diptych_api.errors import RunFailed
from diptych_serving.forward import forwarded
from support.adapters import saved_adapter
from support.http_server import listening
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real server."""
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    with listening(base, saved_adapter(tmp_path_factory.mktemp("style"), base)) as url:
        yield int(url.rpartition(":")[2])


def free_port() -> int:
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])


def test_an_older_port_answers_as_the_api_does(port: int) -> None:
    older = free_port()
    with forwarded([older], HOST, port), httpx2.Client(base_url=f"http://{HOST}:{older}", timeout=60) as client:
        assert client.get("/ping").json() == {"status": "ok"}
        reply = client.post("/infer", json={"prompt": "a dog", "seed": "7", "steps": 2}).json()
        assert reply["status"] == "LoRA applied successfully."
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"http://{HOST}:{older}/ping")


def test_a_port_that_is_taken_is_named(port: int) -> None:
    with pytest.raises(RunFailed, match=f"Port {port} cannot be opened"), forwarded([port], HOST, port):
        pass
