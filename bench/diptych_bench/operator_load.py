"""Many requests to an API server at once, from one process that costs little."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import aiohttp

from cluster.apiserver import ADMINISTRATORS
from cluster.control_plane import ControlPlane
from diptych_api.names import FIELD_MANAGER
from diptych_operator.kinds import Manifest, kind_of

USER: Final = "load"
AT_ONCE: Final = 16
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json"
MOST_BYTES: Final = 300
ItemT = TypeVar("ItemT")


class Load:
    """A client that makes and changes objects."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def create(self, manifest: Manifest) -> Manifest:
        """Make an object."""
        return await self._send("POST", _path(manifest, collection=True), manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Make an object by server-side apply, as the operator would."""
        return await self._send("PATCH", f"{_path(manifest)}?fieldManager={FIELD_MANAGER}&force=true", manifest, APPLY)

    async def merge(self, manifest: Manifest, change: dict[str, Any], part: str = "") -> Manifest:
        """Change an object, or a part of it such as its status."""
        return await self._send("PATCH", _path(manifest, part=part), change, MERGE)

    async def _send(self, method: str, path: str, body: object, form: str = JSON) -> Manifest:
        headers = {"Content-Type": form}
        async with self._session.request(method, path, data=json.dumps(body), headers=headers) as answer:
            if not answer.ok:
                raise RuntimeError(f"{method} {path}: {answer.status} {(await answer.text())[:MOST_BYTES]}")
            return dict(await answer.json())


@asynccontextmanager
async def loading(plane: ControlPlane) -> AsyncIterator[Load]:
    """Yield a client under a name of its own."""
    context = ssl.create_default_context(cafile=str(plane.authority.certificate))
    user = plane.authority.issue(USER, groups=[ADMINISTRATORS])
    context.load_cert_chain(user.certificate, user.key)
    connector = aiohttp.TCPConnector(ssl=context, limit=2 * AT_ONCE)
    async with aiohttp.ClientSession(plane.url, connector=connector, headers={"User-Agent": USER}) as session:
        yield Load(session)


async def all_of(items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[object]]) -> None:
    """Do some work for every item, a few at once."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def paced(items: Iterable[ItemT], per_second: float, work: Callable[[ItemT], Awaitable[object]]) -> float:
    """Begin some work for one item after the other, so many a second; return by how many seconds the last was late."""
    loop = asyncio.get_running_loop()
    began, tasks, late = loop.time(), [], 0.0
    for number, item in enumerate(items):
        due = began + number / per_second
        await asyncio.sleep(max(due - loop.time(), 0))
        late = loop.time() - due
        tasks.append(asyncio.ensure_future(work(item)))
    await asyncio.gather(*tasks)
    return round(late, 3)


def _path(manifest: Manifest, part: str = "", *, collection: bool = False) -> str:
    metadata = manifest["metadata"]
    return kind_of(manifest).path(metadata.get("namespace"), "" if collection else metadata["name"], part)
