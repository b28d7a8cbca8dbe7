"""Connections do not last for ever, so that clients come to the pods that a Service leads to by now."""

import asyncio
from typing import Any

from starlette.responses import PlainTextResponse

from diptych_serving.connection_age import LONGEST_S, ConnectionAge

ONE, OTHER = ("10.0.0.1", 40_000), ("10.0.0.1", 40_001)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ends(app: ConnectionAge, client: tuple[str, int] | None) -> bool:
    """Ask over a connection; return whether the answer ends it."""
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": client}
    asyncio.run(app(scope, receive, send))
    assert said[0]["status"] == 200
    return (b"connection", b"close") in said[0]["headers"]


def test_an_old_connection_ends_with_its_answer_and_others_go_on() -> None:
    clock = Clock()
    app = ConnectionAge(PlainTextResponse("a picture"), clock)
    assert not ends(app, ONE)
    clock.now = LONGEST_S - 1
    assert not ends(app, ONE)
    assert not ends(app, OTHER)
    clock.now = LONGEST_S
    assert ends(app, ONE)
    assert not ends(app, OTHER)


def test_a_new_connection_from_the_same_port_is_young_again() -> None:
    clock = Clock()
    app = ConnectionAge(PlainTextResponse("a picture"), clock)
    ends(app, ONE)
    clock.now = LONGEST_S
    assert ends(app, ONE)
    assert not ends(app, ONE)


def test_a_client_without_an_address_is_answered() -> None:
    assert not ends(ConnectionAge(PlainTextResponse("a picture")), None)
