"""The taxonomy of failures: what each reason means for the next attempt, and what a person can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from diptych_api.errors import DiptychError
from diptych_api.jobstatus import JobFailure
from diptych_api.report import Failure, Report
from diptych_operator.jobs.ray_state import RayState
from diptych_operator.observed import JobSeen
from diptych_operator.pod_failures import PodFailure, is_head, why_ended, why_waiting
from diptych_operator.shortening import shortened

LONGEST_MESSAGE: Final = 2048
LONGEST_HINT: Final = 1024
LONGEST_NAME: Final = 253
EXIT_CODES: Final = range(-255, 256)
HEAD_MEMORY: Final = "Give heads more memory: ray.headMemory of the chart, or resources of pods.template."


@dataclass(frozen=True, slots=True)
class Kind:
    """What follows from a reason."""

    permanent: bool = False
    """The next attempt would fail the same way: there is none."""
    counts: bool = True
    """It uses up retry.backoffLimit. What the cluster does to a healthy job does not."""
    hint: str = ""


FAILURES: Final[Mapping[str, Kind]] = {
    "SpecInvalid": Kind(permanent=True, hint="Correct the field and create the job anew: specs do not change."),
    "DatasetInvalid": Kind(permanent=True, hint="Correct the data set, then create the job anew."),
    "BaseInvalid": Kind(permanent=True, hint="Check spec.base: the files, the revision and the checksum."),
    "AdapterInvalid": Kind(permanent=True, hint="Check spec.lora.initFrom."),
    "HubAuth": Kind(permanent=True, hint="Accept the licence on the hub and name a Secret with a token."),
    "UnsupportedHere": Kind(permanent=True, hint="Leave the field out, or use another version."),
    "NaNLoss": Kind(permanent=True, hint="Lower training.learningRate, or set training.precision to fp32."),
    "GpuOutOfMemory": Kind(
        permanent=True,
        hint="Set training.microBatchSize to 1 or training.gradientCheckpointing to true, or ask for a larger gpuType.",
    ),
    "ArtifactInvalid": Kind(permanent=True, hint="Look at the run's log; a run that is created anew starts over."),
    "ArtifactMissing": Kind(
        permanent=True,
        hint="The program told of no artifact: look at the head's log, and whether its report was refused.",
    ),
    "DeadlineExceeded": Kind(permanent=True, hint="Create the job with a higher spec.activeDeadlineSeconds."),
    "GpuBudgetExceeded": Kind(permanent=True, hint="Raise spec.maxGpuSeconds, then ask for one more attempt."),
    "TooManyAttempts": Kind(permanent=True, hint="Create the job anew; it goes on from the same run store."),
    # A resumed attempt skips what is complete, so a peak of memory in the cache or the evaluation may not come again.
    "OOMKilled": Kind(hint="Raise resources.memoryPerWorker, or lower training.microBatchSize."),
    "HostOutOfMemory": Kind(hint="Raise resources.memoryPerWorker, or lower training.microBatchSize."),
    "StoreUnwritable": Kind(hint="Check the room, the rights and the credentials of spec.output."),
    "CheckpointCorrupt": Kind(hint="The next attempt takes the newest checkpoint that is whole."),
    "CacheCorrupt": Kind(hint="The next attempt encodes the damaged part anew."),
    "WorkerLost": Kind(hint="Look at the worker's events: kubectl get events."),
    "HeadLost": Kind(hint="Look at the head's events and log; it may need more memory."),
    "NodeLost": Kind(hint="The next attempt goes on from the last checkpoint, on another node."),
    "Evicted": Kind(hint="The node ran short: ask for more memory, or write less to /tmp."),
    "Drained": Kind(counts=False, hint="The next attempt goes on from the last checkpoint, on another node."),
    "Preempted": Kind(counts=False, hint="Set resources.pods.priorityClassName, or wait: the next attempt goes on."),
    "Interrupted": Kind(counts=False, hint="Somebody stopped the pod; the next attempt goes on."),
    "RayJobDeleted": Kind(
        counts=False, hint="Somebody deleted the RayJob. To stop a job, set spec.suspend or cancel it."
    ),
    "PreRunningDeadline": Kind(hint="Raise spec.preRunningDeadlineSeconds, or ask for what the cluster has."),
    "SubmissionFailed": Kind(hint="Look at the log of the head."),
    "AppFailed": Kind(hint="Look at the log of the head: kubectl logs -l ray.io/node-type=head."),
}
KUBERAY: Final = {
    "DeadlineExceeded": "DeadlineExceeded",
    "PreRunningDeadlineExceeded": "PreRunningDeadline",
    "SubmissionFailed": "SubmissionFailed",
    "JobDeploymentStatusTransitionGracePeriodExceeded": "HeadLost",
    "JobStatusCheckTimeoutExceeded": "HeadLost",
    "ValidationFailed": "SpecInvalid",
}
VAGUE: Final = frozenset({"WorkerLost", "InternalError"})
"""What a program says when it does not know: a pod may know better."""


def kind_of(reason: str) -> Kind:
    """Return what follows from a reason; what is not known may pass."""
    return FAILURES.get(reason, Kind())


def failure(reason: str, message: str, *, hint: str = "", step: int | None = None) -> JobFailure:
    """Return a failure whose texts fit into a status, with the hint of its reason where there is no better one."""
    hint = hint or kind_of(reason).hint
    return JobFailure(reason=reason, message=message[:LONGEST_MESSAGE], hint=hint[:LONGEST_HINT], step=step)


def from_error(error: DiptychError) -> JobFailure:
    """Return an error of ours as a failure."""
    return failure(error.reason, error.message, hint=error.hint)


def failure_of(seen: JobSeen, ray: RayState, report: Report | None) -> JobFailure:
    """Return why an attempt failed: by its own report, else by its pods, else by what KubeRay says."""
    step = report.step if report else None
    ended = why_ended(seen.pods)
    if report and report.failure:
        told = report.failure
        if ended is not None and told.reason in VAGUE and ended.reason != "ContainerFailed":
            return _of_pod(ended, told.step or step)
        return _told(told)
    reason = KUBERAY.get(ray.reason) or KUBERAY.get(ray.deployment, "")
    if reason == "PreRunningDeadline":
        waiting = why_waiting(seen.pods, seen.troubles)
        why = f": {waiting.reason}: {waiting.message}" if waiting else "."
        hint = waiting.hint if waiting else ""
        return failure(reason, f"The pods were not ready in time{why}", hint=hint, step=step)
    if reason in {"DeadlineExceeded", "SpecInvalid"} or (reason and ended is None):
        return failure(reason, ray.message, step=step)
    if ended is not None:
        return _of_pod(ended, step, head_lost=_is_heads(seen, ended))
    said = shortened(ray.message, LONGEST_MESSAGE)  # the end of the program's log is in it
    return failure("AppFailed", said or "The program ended without a word.", step=step)


def _of_pod(ended: PodFailure, step: int | None, *, head_lost: bool = False) -> JobFailure:
    reason = ended.reason
    if reason == "ContainerFailed":
        reason = "HeadLost" if head_lost else "WorkerLost"
    code = ended.exit_code if ended.exit_code in EXIT_CODES else None
    hint = HEAD_MEMORY if head_lost and reason == "OOMKilled" else ""
    told = failure(reason, ended.message, hint=hint, step=step)
    return told.model_copy(update={"pod": ended.pod[:LONGEST_NAME], "exit_code": code})


def _told(told: Failure) -> JobFailure:
    return failure(told.reason, told.message, hint=told.hint, step=told.step)


def _is_heads(seen: JobSeen, ended: PodFailure) -> bool:
    return any(is_head(pod) for pod in seen.pods if pod.name == ended.pod)
