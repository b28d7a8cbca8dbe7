"""`diptych wait NAME`: until a job has succeeded or a deployment is ready, or cannot any more."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import typer

from diptych_api.errors import RetryLater, RunFailed, UserError
from diptych_cli.cluster import connect
from diptych_cli.cluster_job import ClusterJob, job_named
from diptych_cli.cluster_watch import changes
from diptych_cli.where import Where
from diptych_operator.kinds import DIFFUSION_DEPLOYMENT, FINE_TUNE_JOB, Kind, Manifest


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to wait for: a condition of a kind, and how people say that it is so, not yet so, or never."""

    kind: Kind
    condition: str
    so: str
    not_yet: str
    never: str


GOALS: Final = {
    "succeeded": Goal(FINE_TUNE_JOB, "Succeeded", "has succeeded", "has not succeeded", "will not succeed"),
    "ready": Goal(DIFFUSION_DEPLOYMENT, "Ready", "is ready", "is not ready", "will not be ready"),
}


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
    goal = GOALS[request.goal]
    name, where = job_named(request.target, where)
    cluster = connect(where)
    latest: Manifest | None = None
    for found in changes(cluster, goal.kind, name, request.deadline):
        if found is None:
            raise UserError(f"There is no {goal.kind.kind} {name} in namespace {cluster.namespace}.")
        latest = found
        if _holds(found, goal.condition):
            typer.echo(f"✓ {name} {goal.so}.")
            return
        if _is_hopeless(found, goal):
            raise _failure(found, f"{name} {goal.never}")
    raise RetryLater(f"{name} {goal.not_yet} after {request.timeout_s:g} s{_state(latest)}.", hint="Wait again.")


def _is_hopeless(found: Manifest, goal: Goal) -> bool:
    """Whether the condition cannot come true any more, as far as the status speaks of the newest spec."""
    if goal.kind is FINE_TUNE_JOB:
        return ClusterJob.of(found).is_over
    status = found.get("status") or {}
    return status.get("phase") == "Failed" and _is_current(found, status)


def _failure(found: Manifest, message: str) -> RunFailed:
    status = found["status"]
    failure = status.get("lastFailure") or {}
    why = ": ".join(filter(None, (failure.get("reason"), failure.get("message")))) or status["phase"]
    return RunFailed(f"{message}: {why}", hint=failure.get("hint", ""))


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
