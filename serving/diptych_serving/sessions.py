"""Sessions: how many pictures each has had, and for how long it has been there."""

from collections import OrderedDict
from dataclasses import dataclass

from diptych_api.limits import SessionLimit


@dataclass(slots=True)
class Session:
    """One visitor's counts."""

    begun: float
    seen: float
    requests: int = 0


class Sessions:
    """The sessions that are remembered: the quiet are forgotten, the longest quiet first."""

    def __init__(self, limit: SessionLimit) -> None:
        self.limit = limit
        self._known: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._known)

    def with_limit(self, limit: SessionLimit) -> "Sessions":
        """Return the same sessions under another limit."""
        other = Sessions(limit)
        other._known = self._known
        return other

    def refusal(self, name: str | None, now: float) -> tuple[str, str] | None:
        """Return reason and message when a session may ask no more, else None."""
        self._forget(now)
        session = self._known.get(name or "")
        if name is None or session is None:
            return None
        age, allowed = self.limit.max_age_seconds, self.limit.max_requests
        if age is not None and now - session.begun >= age:
            return "SessionTooOld", f"The session is older than {age} seconds. Begin a new one."
        if allowed is not None and session.requests >= allowed:
            return "SessionRequests", f"The session has had its {allowed} requests. Begin a new one."
        return None

    def used(self, name: str | None, now: float) -> tuple[int, float]:
        """Return how many requests a session has had, and its age in seconds; nothing of one that is new."""
        self._forget(now)
        session = self._known.get(name or "")
        return (0, 0.0) if session is None else (session.requests, now - session.begun)

    def take(self, name: str | None, now: float) -> None:
        """Count a request of a session; one that is new begins now."""
        if name is None:
            return
        session = self._known.setdefault(name, Session(now, now))
        session.requests += 1
        session.seen = now
        self._known.move_to_end(name)
        while len(self._known) > self.limit.max_sessions:
            self._known.popitem(last=False)

    def give_back(self, name: str | None) -> None:
        """Forget a request that failed."""
        if name is not None and (session := self._known.get(name)) is not None:
            session.requests = max(0, session.requests - 1)

    def _forget(self, now: float) -> None:
        while self._known and now - next(iter(self._known.values())).seen >= self.limit.ttl_seconds:
            self._known.popitem(last=False)
