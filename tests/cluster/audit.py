"""What the API server was asked, read from its audit log."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Record:
    """One request. ``precondition_uid`` is the uid that a delete insisted on, if it did."""

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user: str
    user_agent: str
    code: int
    time: datetime
    dry_run: bool
    field_manager: str
    precondition_uid: str | None

    @property
    def is_write(self) -> bool:
        """Return whether the request asked for a change that would be kept."""
        return self.verb in WRITES and not self.dry_run

    @property
    def was_allowed(self) -> bool:
        """Return whether RBAC let the request through."""
        return self.code not in {401, 403}

    @classmethod
    def read(cls, event: dict[str, Any]) -> Self:
        """Return the record of an audit event."""
        target = event.get("objectRef", {})
        query = parse_qs(urlsplit(event["requestURI"]).query)
        body = event.get("requestObject") or {}
        return cls(
            verb=event["verb"],
            group=target.get("apiGroup", ""),
            resource=target.get("resource", ""),
            subresource=target.get("subresource", ""),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            user=event["user"]["username"],
            user_agent=event.get("userAgent", ""),
            code=event.get("responseStatus", {}).get("code", 0),
            time=datetime.fromisoformat(event["requestReceivedTimestamp"]),
            dry_run="dryRun" in query or bool(body.get("dryRun")),
            field_manager=query.get("fieldManager", [""])[0],
            precondition_uid=body.get("preconditions", {}).get("uid"),
        )


class Audit:
    """The audit log of one control plane. A mark is a place in it: what comes after can be asked for."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def mark(self) -> int:
        """Return the place of the next record."""
        return self.log.stat().st_size if self.log.exists() else 0

    def records(self, since: int = 0, *, user: str | None = None, agent: str = "") -> list[Record]:
        """Return the requests since a mark, in the order of their ends, of one user and of agents named so."""
        return [
            record
            for record in self._read(since)
            if (user is None or record.user == user) and record.user_agent.startswith(agent)
        ]

    def writes(self, since: int = 0, *, user: str | None = None, agent: str = "") -> list[Record]:
        """Return the requests that asked for a change."""
        return [record for record in self.records(since, user=user, agent=agent) if record.is_write]

    def _read(self, since: int) -> Iterator[Record]:
        if not self.log.exists():
            return
        known: set[str] = set()
        with self.log.open("rb") as lines:
            lines.seek(since)
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # being written
                event = json.loads(line)
                if event["auditID"] not in known:  # a watch is told when it starts and when it ends
                    known.add(event["auditID"])
                    yield Record.read(event)
