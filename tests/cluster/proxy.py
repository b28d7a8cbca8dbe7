"""A proxy between the operator and the API server, which does harm by plan.

It speaks plain HTTP to the operator and hands on the operator's own token, so that RBAC and the audit log are as
without it.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from cluster.fault_plan import (
    ERRORS,
    Action,
    Answer,
    Drop,
    Expire,
    Fault,
    Hang,
    Hold,
    Kill,
    Match,
    Replay,
    Request,
    Reset,
    Side,
    Storm,
)

KEPT = ("Accept", "Authorization", "Content-Type", "User-Agent")
PLAIN = {"Accept-Encoding": "identity"}
LONGEST_LINE = 16 * 2**20
GATE_S = 0.01
CLOSING_S = 0.25
"""Connections that were broken or closed need some turns of the loop until they are gone."""
EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired"}}


class Proxy:
    """A running proxy. `victim` is called to kill the operator, and must return when it is dead."""

    def __init__(self, upstream: str, authority: Path) -> None:
        self.upstream = upstream
        self.url = ""
        self.victim: Callable[[], object] = lambda: None
        self.seen: list[tuple[Request, int]] = []
        """Every request that was answered but watches, with its code; 0 for those that the API server never saw."""
        self.last_write = 0.0
        """When the API server last answered a write, by the monotonic clock."""
        self._plan: tuple[Fault | Storm, ...] = ()
        self._streams: dict[asyncio.Task[Any], Request] = {}
        self._oldest: dict[tuple[Request, str], bytes] = {}
        self._context = ssl.create_default_context(cafile=str(authority))
        self._loop = asyncio.new_event_loop()
        self._ready, self._done = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.calm()
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()
        self._loop.close()

    def arm(self, *plan: Fault | Storm) -> None:
        """Do this harm, and no other, from now on."""
        self.calm()
        self._plan = plan

    def calm(self) -> None:
        """Do no harm any more. What is held goes on."""
        for fault in self._plan:
            if isinstance(fault, Fault) and isinstance(fault.action, Hold):
                fault.action.gate.set()
        self._plan = ()

    def cut(self, match: Match) -> None:
        """Break the watches that run now and match."""
        for task, asked in list(self._streams.items()):
            if match.covers(asked):
                self._loop.call_soon_threadsafe(task.cancel)

    def watched(self) -> frozenset[str]:
        """Return the resources of which a watch runs."""
        return frozenset(asked.resource for asked in list(self._streams.values()))

    def writes(self, namespace: str = "", since: int = 0) -> list[Request]:
        """Return the writes that the API server saw, in the order of their answers."""
        told = self.seen[since:]
        return [asked for asked, code in told if code and asked.is_write and namespace in ("", asked.namespace)]

    def _strike(self, asked: Request, side: Side) -> Action | None:
        found = (fault.strike(asked, side) for fault in self._plan)
        return next((action for action in found if action is not None), None)

    async def _serve(self) -> None:
        connections = aiohttp.TCPConnector(limit=0, ssl=self._context)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            self.upstream, connector=connections, timeout=timeout, read_bufsize=LONGEST_LINE
        ) as self._session:
            app = web.Application(client_max_size=LONGEST_LINE)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._ready.set()
            await self._done.wait()
            for task in list(self._streams):
                task.cancel()
            await runner.cleanup()
        await asyncio.sleep(CLOSING_S)

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        body = await incoming.read()
        asked = Request.read(incoming.method, incoming.path, incoming.query, body)
        if (struck := await self._suffer(incoming, asked, "before")) is not None:
            self.seen.append((asked, 0))
            return struck
        headers = PLAIN | {name: incoming.headers[name] for name in KEPT if name in incoming.headers}
        try:
            async with self._session.request(
                incoming.method, incoming.raw_path, data=body or None, headers=headers
            ) as answer:
                if asked.verb == "watch" and answer.status == web.HTTPOk.status_code:
                    return await self._stream(incoming, asked, answer)
                content = await answer.read()
        except aiohttp.ClientError:
            return _broken(incoming)
        if asked.verb != "watch":
            self.seen.append((asked, answer.status))
            self.last_write = time.monotonic() if asked.is_write else self.last_write
        if not asked.is_write or answer.ok:  # a write that was refused is none
            struck = await self._suffer(incoming, asked, "after")
            if struck is not None:
                return struck
        told = {name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers}
        return web.Response(status=answer.status, body=content, headers=told)

    async def _suffer(self, incoming: web.Request, asked: Request, side: Side) -> web.Response | None:
        """Do the harm that is planned for a request; return what is answered instead, if anything."""
        action = self._strike(asked, side)
        if isinstance(action, Hold):
            await _opened(action)
        if isinstance(action, Hang):
            await _left(incoming)
        if isinstance(action, Answer):
            return _error(action.code)
        if isinstance(action, Kill):
            self.victim()
        return _broken(incoming) if isinstance(action, Kill | Reset | Hang) else None

    async def _stream(
        self, incoming: web.Request, asked: Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        told = web.StreamResponse(headers={"Content-Type": "application/json"})
        await told.prepare(incoming)
        task = asyncio.current_task()
        assert task is not None
        self._streams[task] = asked
        try:
            async for line in answer.content:
                if not await self._tell(told, asked, line):
                    break
        except (aiohttp.ClientError, ConnectionResetError):
            pass
        except asyncio.CancelledError:
            task.uncancel()
        finally:
            del self._streams[task]
        _broken(incoming)
        return told

    async def _tell(self, told: web.StreamResponse, asked: Request, line: bytes) -> bool:
        """Hand an event on, or not; return whether the stream goes on."""
        event = json.loads(line)
        metadata = event["object"].get("metadata", {})
        place = (metadata.get("namespace", ""), metadata.get("name", ""))
        about = Request(asked.verb, asked.resource, *place, event=event["type"], group=asked.group)
        oldest = self._oldest.setdefault((asked, metadata.get("uid", "")), line)
        action = self._strike(about, "event")
        if isinstance(action, Hold):
            await _opened(action)
        if isinstance(action, Drop):
            return True
        await told.write(json.dumps(EXPIRED).encode() + b"\n" if isinstance(action, Expire) else line)
        if isinstance(action, Replay):
            await told.write(oldest)
        return not isinstance(action, Expire | Reset)


async def _opened(hold: Hold) -> None:
    while not hold.gate.is_set():  # noqa: ASYNC110 - the gate belongs to another thread
        await asyncio.sleep(GATE_S)


async def _left(incoming: web.Request) -> None:
    while incoming.transport is not None and not incoming.transport.is_closing():  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(GATE_S)


def _broken(incoming: web.Request) -> web.Response:
    """Break the connection. What is returned goes nowhere."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response()


def _error(code: int) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": ERRORS[code]}
    status["message"] = f"the proxy says {ERRORS[code]}"
    headers = {"Retry-After": "1"} if code in {429, 503} else {}
    return web.json_response(status, status=code, headers=headers)
