"""`diptych wait NAME`: until a job has succeeded or a deployment is ready, or cannot any more."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import typer

from diptych_api.errors import RetryLater, RunFailed, UserError
from diptych_cli.cluster import connect
from diptych_cli.cluster_job import job_named
from diptych_cli.cluster_watch import changes
from diptych_cli.where import Where
from diptych_operator.kinds import DIFFUSION_DEPLOYMENT, FINE_TUNE_JOB, Manifest

CONDITIONS: Final = {
    "succeeded": ("Succeeded", FINE_TUNE_JOB, frozenset({"Failed", "Cancelled"})),
    "ready": ("Ready", DIFFUSION_DEPLOYMENT, frozenset({"Failed"})),
}
"""What can be waited for: the condition, the kind that has it, and the phases that rule it out."""


@dataclass(frozen=True, slots=True)
class WaitRequest:
    """What `diptych wait` was asked for; without a time it waits for ever."""

    target: str
    goal: str = "succeeded"
    timeout_s: float | None = None

    @property
    def deadline(self) -> float | None:
        """The moment of the clock at which waiting ends."""
        return None if self.timeout_s is None else time.monotonic() + self.timeout_s


def wait(request: WaitRequest, where: Where) -> None:
    """Wait for a condition.

    Raises:
        RunFailed: when it cannot come true any more.
        RetryLater: when the time is over.

    """
    condition, kind, hopeless = CONDITIONS[request.goal]
    name, where = job_named(request.target, where)
    cluster = connect(where)
    latest: Manifest | None = None
    for found in changes(cluster, kind, name, request.deadline):
        if found is None:
            raise UserError(f"There is no {kind.kind} {name} in namespace {cluster.namespace}.")
        latest = found
        status = found.get("status") or {}
        if _holds(found, condition):
            typer.echo(f"✓ {name} is {request.goal}." if request.goal == "ready" else f"✓ {name} has succeeded.")
            return
        if status.get("phase") in hopeless and _is_current(found, status):
            failure = status.get("lastFailure") or {}
            why = ": ".join(filter(None, (failure.get("reason"), failure.get("message")))) or status["phase"]
            raise RunFailed(f"{name} will not be {request.goal}: {why}", hint=failure.get("hint", ""))
    raise RetryLater(f"{name} is not {request.goal} after {request.timeout_s:g} s{_state(latest)}.", hint="Wait again.")


def _holds(found: Manifest, condition: str) -> bool:
    """Whether a condition is true, and said of the newest spec."""
    return any(each["status"] == "True" and _is_current(found, each) for each in _conditions(found, condition))


def _is_current(found: Manifest, told: dict[str, Any]) -> bool:
    observed = told.get("observedGeneration")
    return observed is None or observed >= found["metadata"].get("generation", 0)


def _conditions(found: Manifest, condition: str) -> Iterator[dict[str, Any]]:
    yield from (each for each in (found.get("status") or {}).get("conditions", ()) if each["type"] == condition)


def _state(found: Manifest | None) -> str:
    phase = ((found or {}).get("status") or {}).get("phase")
    return f"; its phase is {phase}" if phase else ""
