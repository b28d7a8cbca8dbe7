"""A list of a kind is told from everything else that kopf asks for."""

import asyncio

import kopf
import pytest
from aiohttp import web

from diptych_operator import kinds
from diptych_operator.kinds import Kind, Manifest
from diptych_operator.listing import kind_at, session
from diptych_operator.watching import watches

WATCHED = [watch.kind for watch in watches(gateway_api=False)]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/apis/ray.io/v1/rayjobs", kinds.RAY_JOB),
        ("/apis/ray.io/v1/namespaces/art/rayjobs", kinds.RAY_JOB),
        ("/api/v1/pods", kinds.POD),
        ("/api/v1/namespaces/pods/serviceaccounts", kinds.SERVICE_ACCOUNT),
        ("/apis/other.io/v1/rayjobs", None),
        ("/apis/ray.io/v1/namespaces/art/rayjobs/noto", None),
        ("/apis/ray.io/v1", None),
        ("/api/v1/namespaces", None),
    ],
)
def test_a_list_is_known_by_its_path(path: str, kind: Kind | None) -> None:
    assert kind_at(path, WATCHED) == kind


def test_what_is_listed_is_taken_and_a_list_on_a_new_token_is_no_first_list() -> None:
    heard: list[Kind] = []
    taken: list[str] = []

    async def take(kind: Kind, found: Manifest) -> None:
        taken.append(f"{kind.kind} {found['metadata']['name']}")

    async def listed(port: int, known: set[str]) -> None:
        info = kopf.ConnectionInfo(server=f"http://127.0.0.1:{port}")
        client = session(info, WATCHED, take, heard.append, known).aiohttp_session
        async with client, client.get(f"{info.server}/apis/ray.io/v1/rayjobs") as answer:
            assert await answer.json() == {"metadata": {"resourceVersion": "7"}, "items": []}

    async def story() -> None:
        known: set[str] = set()
        app = web.Application()
        app.router.add_get("/apis/ray.io/v1/rayjobs", _two)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        for _ in range(2):
            await listed(runner.addresses[0][1], known)
        await runner.cleanup()

    asyncio.run(story())
    assert heard == [kinds.RAY_JOB]
    assert taken == ["RayJob one", "RayJob two"] * 2


async def _two(_: web.Request) -> web.Response:
    items = [{"metadata": {"name": name}} for name in ("one", "two")]
    return web.json_response({"metadata": {"resourceVersion": "7"}, "items": items})
