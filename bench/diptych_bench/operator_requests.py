"""What the API server was asked, with the times of each request, from its audit log."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
CREATED: Final = 201


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Times are seconds since 1970, by the API server's clock."""

    user: str
    verb: str
    resource: str
    part: str
    name: str
    code: int
    received: float
    ended: float

    @property
    def is_lease(self) -> bool:
        """Whether it is about a Lease, by which the operator says that it lives."""
        return self.resource == "leases"

    @property
    def is_write(self) -> bool:
        """Whether it asked for a change."""
        return self.verb in WRITES


def requests_since(log: Path, mark: int, user: str = "") -> list[Request]:
    """Return the requests of one user, or of all, that ended since a place in the log."""
    return [request for request in _read(log, mark) if not user or request.user == user]


def first_ends(requests: Sequence[Request], resource: str, code: int | None = None) -> dict[str, float]:
    """Return when the first write to each object of a kind had ended, by name."""
    found: dict[str, float] = {}
    for request in requests:
        if request.resource == resource and request.is_write and code in (None, request.code) and not request.part:
            found.setdefault(request.name, request.ended)
    return found


def _read(log: Path, mark: int) -> Iterator[Request]:
    with log.open("rb") as lines:
        lines.seek(mark)
        for line in lines:
            if not line.endswith(b"\n"):
                return  # being written
            event = json.loads(line)
            if event["stage"] == "ResponseComplete":
                yield _request(event)


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef") or {}
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        resource=target.get("resource", ""),
        part=target.get("subresource", ""),
        name=target.get("name", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
        received=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        ended=datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
    )
