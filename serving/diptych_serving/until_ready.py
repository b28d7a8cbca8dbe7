"""Waiting until a deployment and its page answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import httpx2

from diptych_api.errors import RunFailed
from diptych_api.serveconfig import PAGE_PATH

READY_PAUSE_S: Final = 0.5
READY_TIMEOUT_S: Final = 600.0
PAGE_TIMEOUT_S: Final = 120.0
Pause = Callable[[float], None]
"""Waits so many seconds."""


def wait_for_page(url: str, pause: Pause = time.sleep) -> str | None:
    """Wait until the page can be opened; return why it cannot, after two minutes. The API serves all the same."""
    told = ""
    for answer in _answers(f"{url}{PAGE_PATH}/", pause, timeout_s=2, patience_s=PAGE_TIMEOUT_S):
        if answer.status_code == httpx2.codes.OK:
            return None
        told = answer.text.strip()
        if answer.status_code != httpx2.codes.SERVICE_UNAVAILABLE:
            break
    return told or "It is not there after two minutes."


def wait_until_ready(url: str, tell: Callable[[str], None], pause: Pause = time.sleep) -> dict[str, Any]:
    """Return what /ready says once it says yes; ``tell`` hears what is wrong. Raises RunFailed after ten minutes."""
    notes = list[str]()
    for answer in _answers(f"{url}/ready", pause, timeout_s=10, patience_s=READY_TIMEOUT_S):
        values: dict[str, Any] = answer.json()
        notes = values["notes"]
        for note in notes:
            tell(note)
        if answer.status_code == httpx2.codes.OK:
            return values
    hint = "The log of Ray Serve tells why."
    raise RunFailed(" ".join(["The deployment was not ready after 10 minutes.", *notes]), hint=hint)


def _answers(url: str, pause: Pause, *, timeout_s: float, patience_s: float) -> Iterator[httpx2.Response]:
    """Ask again and again for ``patience_s``, with a pause between; yield the answers that come."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with suppress(httpx2.TransportError):
            yield httpx2.get(url, timeout=timeout_s, trust_env=False)
        pause(READY_PAUSE_S)
