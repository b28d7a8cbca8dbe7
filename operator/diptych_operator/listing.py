"""Takes in what kopf lists, and notices when it lists a kind anew: what vanished meanwhile is told by no event."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import aiohttp
import kopf

from diptych_operator.kinds import Kind, Manifest

OK: Final = 200
Take = Callable[[Kind, Manifest], Awaitable[None]]
Listed = Callable[[Kind], None]


def session(
    info: kopf.ConnectionInfo, watched: Sequence[Kind], take: Take, listed: Listed, known: set[str]
) -> kopf.AiohttpSession:
    """Return kopf's way to the API server, on which `take` gets every object of a list, and kopf an empty list.

    For each object kopf would make a queue, a task and records, which costs more than all that we do with it.
    `listed` hears of every list of a kind but the first. `known` has the paths that were listed. It outlives a session:
    each new token begins another one.
    """

    class Answer(aiohttp.ClientResponse):
        async def json(self, **how: Any) -> Any:  # noqa: ANN401 - aiohttp's own signature: any JSON value
            told, path = await super().json(**how), self.url.path
            kind = kind_at(path, watched)
            if kind is None or self.status != OK:
                return told
            if "continue" not in self.url.query:
                if path in known:
                    listed(kind)
                known.add(path)
            for found in told.get("items") or ():
                await take(kind, found)
            return {**told, "items": []}

    client: Any = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        response_class=Answer,
    )
    return kopf.AiohttpSession(server=info.server, aiohttp_session=client)


def kind_at(path: str, watched: Sequence[Kind]) -> Kind | None:
    """Return the kind whose objects are listed at a path of the API server; None for any other path."""
    for kind in watched:
        root = kind.path(None).removesuffix(kind.plural)
        place, _, last = path.rpartition("/")
        if last == kind.plural and f"{place}/".startswith(root):
            return kind
    return None
