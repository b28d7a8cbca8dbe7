"""The conditions of a job, and the Event that tells of a new phase."""

from collections.abc import Iterator
from typing import Final, Literal

from diptych_api.jobstatus import FineTuneJobStatus, JobPhase
from diptych_api.names import QUEUE_LABEL
from diptych_operator.conditions import Aspect, last_change
from diptych_operator.jobs.promoted import promotion
from diptych_operator.jobs.publication import note as publication_note
from diptych_operator.jobs.publication import publication
from diptych_operator.jobs.ray_state import RayState
from diptych_operator.jobs.turn import Turn
from diptych_operator.plan import Note
from diptych_operator.pod_failures import PodFailure, why_waiting

HELD: Final = "Somebody suspended the RayJob: set its spec.suspend to false. To pause a job, set it on the FineTuneJob."
NOT_TAKEN_UP: Final = "KubeRay has not taken the RayJob up yet. Is it running?"
WARNINGS: Final = frozenset({"Failed", "Retrying"})
WORDS: Final[dict[JobPhase, str]] = {
    "Pending": "Attempt {attempt} waits for KubeRay.",
    "Provisioning": "Attempt {attempt}: pods are starting.",
    "Starting": "Attempt {attempt}: the pods are ready, Ray takes the program.",
    "Running": "Attempt {attempt}: the program runs.",
    "Suspending": "Attempt {attempt} saves a checkpoint and gives its pods back.",
    "Suspended": "No pods are left; spec.suspend: false goes on from the last checkpoint.",
    "Cancelled": "The job was cancelled; its run store stays.",
}


def aspects(turn: Turn, phase: JobPhase, status: FineTuneJobStatus, provisioned: Aspect) -> Iterator[Aspect]:
    """Yield the conditions of a job in a phase. `status` has the new fields."""
    if turn.seen.refused:
        provisioned = Aspect("Provisioned", provisioned.holds, "Refused", turn.seen.refused)
    yield provisioned
    if QUEUE_LABEL in turn.job.metadata.labels:
        held = turn.ray is None or turn.ray.is_held
        yield Aspect("Admitted", not held, "WaitingForQuota" if held else "Admitted")
    message = words(phase, status)
    yield Aspect("Running", phase == "Running", phase, message if phase == "Running" else "")
    failure = status.last_failure
    yield Aspect("Succeeded", phase == "Succeeded", failure.reason if phase == "Failed" and failure else phase, message)
    failed = phase == "Failed"
    yield Aspect("Failed", failed, failure.reason if failed and failure else phase, message if failed else "")
    yield Aspect("Suspended", phase == "Suspended", phase, message if phase == "Suspended" else "")
    if turn.job.spec.promotion is not None:
        yield promotion(turn, phase)
    if turn.job.spec.publish is not None:
        yield publication(turn, phase, status)


def note(before: FineTuneJobStatus, after: FineTuneJobStatus) -> tuple[Note, ...]:
    """Return the Event of a new phase, or of what became of a publication; none while both stay."""
    if before.phase == after.phase and before.observed_generation is not None:
        return publication_note(before, after)
    kind: Literal["Normal", "Warning"] = "Warning" if after.phase in WARNINGS else "Normal"
    key = f"{after.attempt} {last_change(before.conditions)}"
    return (Note(after.phase, words(after.phase, after), kind, key),)


def words(phase: JobPhase, status: FineTuneJobStatus) -> str:
    """Return a sentence about a phase."""
    failure = status.last_failure
    why = f"{failure.reason}: {failure.message} {failure.hint}".strip() if failure else ""
    if phase == "Failed":
        return why or "The job failed."
    if phase == "Retrying":
        return f"Attempt {status.attempt} ended: {why}"
    if phase == "Succeeded":
        return f"The artifact is at {status.artifact.uri}." if status.artifact else "The artifact is complete."
    return WORDS[phase].format(attempt=max(status.attempt, 1))


def provisioned(turn: Turn, ray: RayState) -> Aspect:
    """Return whether the pods of an attempt are there, and if not, what they wait for."""
    if ray.is_held and not ray.queued:
        return gone("RayJobSuspended", HELD)
    if ray.is_held:
        return gone("WaitingForQuota", "The queue has not let the job in yet.")
    if not ray.deployment:
        return gone("WaitingForKubeRay", NOT_TAKEN_UP)
    if ray.deployment in {"Initializing", "Retrying"}:
        return _starting(turn, ray)
    return Aspect("Provisioned", holds=True, reason="ClusterReady", message="All pods are ready.")


def gone(reason: str, message: str = "") -> Aspect:
    """Return that there are no pods, or not all of them."""
    return Aspect("Provisioned", holds=False, reason=reason, message=message)


def _starting(turn: Turn, ray: RayState) -> Aspect:
    # KubeRay takes back what it says of a cluster in the RayJob's status, but no Event about it.
    troubles = [trouble for trouble in turn.seen.troubles if trouble.kind != "RayCluster"]
    waiting = why_waiting(turn.seen.pods, troubles)
    if waiting is None and ray.replica_failure:
        waiting = PodFailure("CreateFailed", ray.replica_failure)
    if waiting is None:
        return gone("PodsStarting", "The pods are starting.")
    if waiting.reason == "Unschedulable":
        return gone(waiting.reason, _unschedulable(turn, waiting.message))
    where = f"{waiting.pod}: " if waiting.pod else ""
    return gone(waiting.reason, f"{where}{waiting.message} {waiting.hint}".strip())


def _unschedulable(turn: Turn, message: str) -> str:
    """Return why no node fits, with what the job asks for, which is what a person can change."""
    resources, queue = turn.job.spec.resources, QUEUE_LABEL in turn.job.metadata.labels
    gpus = f"{resources.gpus_per_worker} {turn.defaults.gpu_resource}, " if resources.gpus_per_worker else ""
    cpus = "1 CPU" if resources.cpus_per_worker == 1 else f"{resources.cpus_per_worker} CPUs"
    each = f"{gpus}{cpus} and {resources.memory_per_worker}"
    asks = (
        f"{resources.workers} workers ask for {each} each." if resources.workers > 1 else f"The worker asks for {each}."
    )
    wait = "or wait." if queue else "or wait: the queue position is unknown without Kueue."
    return f"{message.split(' preemption:', maxsplit=1)[0]} {asks} Ask for fewer workers or less for each, {wait}"
