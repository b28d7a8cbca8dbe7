"""Faults as data: which request or watch event is struck, on which side, and by what."""

import json
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Side = Literal["before", "after", "event"]
"""Before or after the API server saw a request; or an event of a watch."""
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
READS = frozenset({"get", "list", "watch", "discover"})
ERRORS = {
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the audit log would tell it; or an event of a watch, with its type and its object."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    event: str = ""
    group: str = ""

    @property
    def is_write(self) -> bool:
        """Return whether it changes something that is not a Lease."""
        return self.verb not in READS and self.resource != "leases"

    @classmethod
    def read(cls, method: str, path: str, query: Mapping[str, str], body: bytes = b"") -> "Request":
        """Return what is asked for. The name of what is to be made stands in the body."""
        steps = path.strip("/").split("/")
        group, rest = ("".join(steps[1:2]), steps[3:]) if steps[0] == "apis" else ("", steps[2:])
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        resource, name, subresource = (*rest, "", "", "")[:3]
        if method == "POST" and not name:
            name = str(json.loads(body or b"{}").get("metadata", {}).get("name", ""))
        reading = "watch" if query.get("watch") in {"true", "1"} else "get" if name else "list"
        reading = reading if resource else "discover"
        return cls(VERBS.get(method, reading), resource, namespace, name, subresource, group=group)


@dataclass(frozen=True, slots=True)
class Match:
    """What a fault looks for. Empty fields match everything; Leases are struck only when they are named."""

    verb: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str | None = None
    group: str = ""
    event: str = ""
    writes: bool = False
    """Only what changes something."""

    def covers(self, asked: Request) -> bool:
        """Return whether a request is looked for."""
        pairs = (
            (asked.verb, self.verb),
            (asked.group, self.group),
            (asked.resource, self.resource),
            (asked.namespace, self.namespace),
            (asked.name, self.name),
            (asked.event, self.event),
        )
        if asked.resource == "leases" and self.resource != "leases":
            return False
        if self.subresource is not None and asked.subresource != self.subresource:
            return False
        return all(want in ("", have) for have, want in pairs) and (asked.is_write or not self.writes)


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill -9 the operator."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with an error; the API server may have done what was asked when it comes after."""

    code: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection: the operator cannot know whether it was heard."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Answer nothing until the operator gives up."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep a request, an answer or a stream until the gate opens."""

    gate: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Drop:
    """Swallow an event of a watch."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Tell an event of a watch, then the oldest one that was told of the same object again."""


@dataclass(frozen=True, slots=True)
class Expire:
    """End a watch with 410: what it missed cannot be told any more."""


Action = Kill | Answer | Reset | Hang | Hold | Drop | Replay | Expire


@dataclass(slots=True)
class Fault:
    """Strikes the nth request that matches, and of those after it every so many; `times` in all, 0 without end.

    With `once`, a request that was struck passes when it comes again, and is counted anew after that. What makes an
    object of a name is struck once and for all.
    """

    match: Match
    action: Action
    side: Side = "before"
    nth: int = 1
    times: int = 1
    every: int = 1
    once: bool = False
    seen: int = 0
    count: int = 0
    """How often it struck."""
    struck: threading.Event = field(default_factory=threading.Event)
    _owed: set[Request] = field(default_factory=set)

    def strike(self, asked: Request, side: Side) -> Action | None:
        """Return what happens to a request on this side; None when nothing does."""
        if side != self.side or not self.match.covers(asked):
            return None
        if asked in self._owed:
            if asked.verb != "create":
                self._owed.remove(asked)
            return None
        self.seen += 1
        late, odd = divmod(self.seen - self.nth, self.every)
        if late < 0 or odd or (self.times and late >= self.times):
            return None
        if self.once:
            self._owed.add(asked)
        self.count += 1
        self.struck.set()
        return self.action


@dataclass(slots=True)
class Storm:
    """Strikes a share of all requests that match, with one of its actions on one of its sides, by chance."""

    actions: tuple[Action, ...]
    share: float
    seed: int
    match: Match = Match()
    count: int = 0
    """How many were struck."""
    _chance: random.Random | None = None

    def strike(self, asked: Request, side: Side) -> Action | None:
        """Return what happens to a request on this side; None when nothing does."""
        if side == "event" or asked.verb == "watch" or not self.match.covers(asked):
            return None
        self._chance = self._chance or random.Random(self.seed)
        if self._chance.random() >= self.share / 2:
            return None
        self.count += 1
        return self._chance.choice(self.actions)
