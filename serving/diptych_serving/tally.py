"""How much was asked for, as `/metrics-lite` tells it."""

import time
from dataclasses import dataclass


@dataclass
class Tally:
    """Counts over all gateways and protocols since the limiter started."""

    requests_total: int = 0
    """Requests for pictures, those over a limit too."""
    infer_total: int = 0
    """Requests that were let in."""
    sessions_total: int = 0
    """Sessions that are remembered."""
    last_request_at: float | None = None
    """Seconds since 1970."""

    def count(self, *, is_admitted: bool, sessions: int) -> None:
        """Count a request."""
        self.requests_total += 1
        self.infer_total += is_admitted
        self.sessions_total = sessions
        self.last_request_at = time.time()
