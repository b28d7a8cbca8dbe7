"""Notices when kopf lists a kind anew: what vanished meanwhile is told by no event."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import aiohttp
import kopf

from diptych_operator.kinds import Kind

OK: Final = 200
Listed = Callable[[Kind], None]


def session(info: kopf.ConnectionInfo, watched: Sequence[Kind], listed: Listed, known: set[str]) -> kopf.AiohttpSession:
    """Return kopf's way to the API server, on which `listed` hears of every list of a kind but the first.

    `known` has the paths that were listed. It outlives a session: each new token begins another one.
    """
    tracing = aiohttp.TraceConfig()

    async def heard(_: object, __: object, request: aiohttp.TraceRequestEndParams) -> None:
        query, path = request.url.query, request.url.path
        if request.response.status != OK or "watch" in query or "continue" in query:
            return
        kind = kind_at(path, watched)
        if kind is not None and path in known:
            listed(kind)
        known.add(path)

    tracing.on_request_end.append(heard)
    client: Any = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trace_configs=[tracing],
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
