"""Asks the gateways of deployments how they are: what Kubernetes and Ray Serve cannot tell, such as a refused adapter.

What is heard is kept in memory only. After a restart the status says what was heard last, until it is heard anew.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout
from pydantic import ValidationError

from diptych_api.endpoints import HTTPEndpoint
from diptych_api.names import service_name
from diptych_api.readiness import Readiness
from diptych_operator.deployments.told_adapters import ANSWERS
from diptych_operator.kinds import DIFFUSION_DEPLOYMENT, Manifest, Ref
from diptych_operator.store import Store
from diptych_operator.told import Told

TIMEOUT: Final = ClientTimeout(total=3)
AT_ONCE: Final = 16
LARGEST: Final = 1 << 20
EAGER_S: Final = 2.0
"""While something is still being loaded, and between two looks at who is to be asked."""
IDLE_S: Final = 30.0
ERRORS: Final = (ClientError, TimeoutError, OSError, ValueError)
_log = structlog.get_logger()


@dataclass
class Gateways:
    """`address` has the places {name}, {namespace} and {port}; where it is empty, nobody is asked."""

    store: Store
    address: str
    wake: Callable[[Ref], None]
    _told: dict[Ref, Told] = field(default_factory=dict)
    _due: dict[Ref, float] = field(default_factory=dict)

    def told(self, ref: Ref) -> Told | None:
        """Return what was heard last of a deployment; None where nobody is asked."""
        return self._told.get(ref, Told()) if self.address else None

    async def keep(self) -> None:
        """Ask again and again. Never returns."""
        if not self.address:
            await asyncio.Event().wait()
        async with ClientSession(timeout=TIMEOUT, trust_env=False) as session:
            while True:
                await self._round(session)
                await asyncio.sleep(EAGER_S)

    async def _round(self, session: ClientSession) -> None:
        """Ask those whose time has come; one that hangs holds the others up for seconds at most."""
        free, now = asyncio.Semaphore(AT_ONCE), time.monotonic()
        known = {ref: self.store.get(ref) for ref in self.store.refs(DIFFUSION_DEPLOYMENT)}
        asked = {ref: found for ref, found in known.items() if found is not None and _answers(found)}
        for ref in self._told.keys() - asked.keys():
            self._forget(ref)

        async def ask(ref: Ref, found: Manifest) -> None:
            async with free:
                self._hear(ref, await _asked(session, self._url(ref, found)))

        await asyncio.gather(*(ask(ref, found) for ref, found in asked.items() if self._due.get(ref, 0) <= now))

    def _hear(self, ref: Ref, told: Told) -> None:
        """Keep an answer; where there is none, what was heard before still counts."""
        before = self._told.get(ref, Told())
        if told.trouble:
            told = Told(before.readiness, told.trouble)
            if told.trouble != before.trouble:
                _log.warning("a gateway does not answer", namespace=ref.namespace, name=ref.name, error=told.trouble)
        self._told[ref] = told
        self._due[ref] = time.monotonic() + (IDLE_S if told.is_settled else EAGER_S)
        if told != before:
            self.wake(ref)

    def _forget(self, ref: Ref) -> None:
        self._due.pop(ref)
        if self._told.pop(ref) != Told() and self.store.get(ref) is not None:
            self.wake(ref)

    def _url(self, ref: Ref, found: Manifest) -> str:
        http = (found["spec"].get("endpoints") or {}).get("http") or {}
        port = http.get("port", HTTPEndpoint().port)
        place = self.address.format(name=service_name(ref.name), namespace=ref.namespace, port=port)
        return f"{place.rstrip('/')}/ready"


def _answers(found: Manifest) -> bool:
    return (found.get("status") or {}).get("phase") in ANSWERS and "deletionTimestamp" not in found["metadata"]


async def _asked(session: ClientSession, url: str) -> Told:
    try:
        async with session.get(url, allow_redirects=False) as answer:
            body = await _read(answer.content)
        return Told(Readiness.model_validate_json(body))
    except ValidationError:
        return Told(trouble="The gateway's answer to /ready is none that this operator reads.")
    except ERRORS as error:
        return Told(trouble=f"The gateway does not answer the operator: {str(error) or 'no answer in time'}.")


async def _read(content: Any) -> bytes:  # noqa: ANN401 - aiohttp's StreamReader
    """Return a body. Raises ValueError for one that no gateway sends."""
    body = b""
    async for piece in content.iter_any():
        body += piece
        if len(body) > LARGEST:
            raise ValueError("its answer does not end")
    return body
