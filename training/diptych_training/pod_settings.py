"""What the operator tells the program in a pod by environment variables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from diptych_api.errors import SpecInvalid
from diptych_training.places import Mounts

ATTEMPT: Final = "DIPTYCH_ATTEMPT"
REPORT: Final = "DIPTYCH_REPORT"
MOUNTS: Final = "DIPTYCH_MOUNTS"
RUN: Final = "DIPTYCH_RUN"
LOG: Final = "DIPTYCH_LOG"
RAY_ADDRESS: Final = "RAY_ADDRESS"
KUBERNETES: Final = "kubernetes"
MOST_ATTEMPTS: Final = 1000
HINT: Final = "The operator sets it; from a shell, leave it out."


@dataclass(frozen=True, slots=True)
class PodSettings:
    """The environment of one attempt. From a shell, none of it is set."""

    attempt: int = 1
    reports: bool = False
    """Reports go to the API server."""
    mounts: Mounts | None = None
    """Where volumes are, by claim; None outside of a pod."""
    run_name: str | None = None
    """Folder of the run; None makes it of the job's name and spec."""
    log: Path | None = None
    """A further file that is told what stdout is told, such as the container's own output."""
    ray_address: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings of an environment. Raises SpecInvalid with the variable and what it may hold."""
        reports, mounts = _reports(environ), _mounts(environ)
        return cls(
            attempt=_attempt(environ),
            reports=reports,
            mounts={} if reports and mounts is None else mounts,
            run_name=environ.get(RUN) or None,
            log=Path(environ[LOG]) if environ.get(LOG) else None,
            ray_address="auto" if environ.get(RAY_ADDRESS) else None,
        )


def _attempt(environ: Mapping[str, str]) -> int:
    text = environ.get(ATTEMPT) or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MOST_ATTEMPTS:
        raise SpecInvalid(f"{ATTEMPT}={text} is not a number from 1 to {MOST_ATTEMPTS}.", hint=HINT)
    return int(text)


def _reports(environ: Mapping[str, str]) -> bool:
    text = environ.get(REPORT, "")
    if text not in {"", KUBERNETES}:
        raise SpecInvalid(f"{REPORT}={text} is not known; it may be {KUBERNETES}.", hint=HINT)
    return text == KUBERNETES


def _mounts(environ: Mapping[str, str]) -> Mounts | None:
    text = environ.get(MOUNTS)
    if not text:
        return None
    try:
        told = json.loads(text)
    except ValueError as error:
        raise SpecInvalid(f"{MOUNTS} is not JSON: {error}.", hint=HINT) from error
    if not isinstance(told, dict) or not all(isinstance(path, str) and path.startswith("/") for path in told.values()):
        raise SpecInvalid(f"{MOUNTS}={text} is no object of claims and absolute paths.", hint=HINT)
    return {claim: Path(path) for claim, path in told.items()}
