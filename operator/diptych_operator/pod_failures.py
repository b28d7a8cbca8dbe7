"""Why pods do not run, and why they ended, in words that people can act on. Jobs and deployments share it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from diptych_operator.child import Pod, Trouble

HINTS: Final = {
    "Unschedulable": "Ask for less, change nodeSelector, gpuType or tolerations, or wait for a node.",
    "ImagePull": "Check pods.image and pods.imagePullSecrets.",
    "ContainerConfig": "Make the Secret with that key in the pod's namespace, or correct its name in the spec.",
    "CrashLoop": "Read the log of the container: kubectl logs --previous.",
    "MountFailed": "Check that the PersistentVolumeClaim exists, is bound, and may be mounted by several nodes.",
    "CreateFailed": "Raise the namespace's quota or change what the admission policy refuses.",
    "OOMKilled": "Raise the pod's memory: resources.memoryPerWorker of a job, resources.memory of a deployment, "
    "ray.headMemory of the chart for heads.",
    "Evicted": "The node ran out of memory or disk: ask for more memory, or write less to /tmp.",
    "Drained": "The node was drained; the work goes on elsewhere.",
    "Preempted": "Something of higher priority took the place: set pods.priorityClassName, or wait.",
    "NodeLost": "The node is gone; the work goes on elsewhere.",
    "ContainerFailed": "Read the log of the container: kubectl logs --previous.",
}
PULL: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
CONFIG: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
DISRUPTIONS: Final = {
    "PreemptionByScheduler": "Preempted",
    "PreemptionByKubeScheduler": "Preempted",
    "EvictionByEvictionAPI": "Drained",
    "DeletionByTaintManager": "NodeLost",
    "DeletionByPodGC": "NodeLost",
    "TerminationByKubelet": "Evicted",
}
EVENTS: Final = {
    "FailedMount": "MountFailed",
    "FailedAttachVolume": "MountFailed",
    "FailedCreate": "CreateFailed",
    "FailedToCreateRayCluster": "CreateFailed",
    "FailedToCreateHeadPod": "CreateFailed",
    "FailedToCreateWorkerPod": "CreateFailed",
    "FailedScheduling": "Unschedulable",
}
NO_CLAIM: Final = re.compile(r'persistentvolumeclaim "[^"]*" not found')
"""What the scheduler says of a claim that is not there: no other node would help."""
ENDS: Final = ("Preempted", "Drained", "NodeLost", "Evicted", "OOMKilled", "ContainerFailed")
"""From the cause to what follows of it: a drained pod's container ends with an exit code as well."""
WAITS: Final = (
    *("CreateFailed", "ImagePull", "ContainerConfig", "MountFailed"),
    *("OOMKilled", "CrashLoop", "Unschedulable"),
)
"""From what a person must mend to what may pass by itself."""
LONGEST: Final = 1024


@dataclass(frozen=True, slots=True)
class PodFailure:
    """What is wrong with a pod."""

    reason: str
    message: str
    pod: str = ""
    exit_code: int | None = None

    @property
    def hint(self) -> str:
        """Return what to do about it."""
        return HINTS.get(self.reason, "")


def why_waiting(pods: Iterable[Pod], troubles: Iterable[Trouble]) -> PodFailure | None:
    """Return what keeps pods from running, the most serious first; None when nothing is known to."""
    there = list(pods)
    found = [failure for pod in there for failure in _waits(pod)]
    found += [
        PodFailure(EVENTS[trouble.reason], trouble.message[:LONGEST], trouble.name if trouble.kind == "Pod" else "")
        for trouble in troubles
        if trouble.reason in EVENTS and not _is_past(trouble, there)
    ]
    return _first(found, WAITS)


def why_ended(pods: Iterable[Pod]) -> PodFailure | None:
    """Return why a pod ended or is about to, cause before consequence; None when all is well."""
    return _first([failure for pod in pods for failure in _ends(pod)], ENDS)


def is_head(pod: Pod) -> bool:
    """Whether this is the head of a Ray cluster."""
    return pod.labels.get("ray.io/node-type") == "head"


def _first(found: Sequence[PodFailure], order: Sequence[str]) -> PodFailure | None:
    return min(found, key=lambda failure: (order.index(failure.reason), failure.pod, failure.message), default=None)


def _is_past(trouble: Trouble, pods: Sequence[Pod]) -> bool:
    """Whether pods show that what an Event told of is over: Events are never taken back."""
    if trouble.reason == "FailedToCreateRayCluster":
        return bool(pods)
    if trouble.reason == "FailedToCreateHeadPod":
        return any(is_head(pod) and not pod.deleting for pod in pods)
    pod = next((pod for pod in pods if trouble.kind == "Pod" and pod.name == trouble.name), None)
    if pod is None:
        return False
    if EVENTS[trouble.reason] == "Unschedulable":
        return _condition(pod, "PodScheduled").get("status") == "True"
    return any(_part(status, "state", state) for _, status in _containers(pod) for state in ("running", "terminated"))


def _waits(pod: Pod) -> Iterator[PodFailure]:
    for name, status in _containers(pod):
        waiting = _part(status, "state", "waiting")
        reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
        if reason in PULL:
            yield PodFailure("ImagePull", _sentence(f"{name}: {reason}", message), pod.name)
        elif reason in CONFIG:
            yield PodFailure("ContainerConfig", _sentence(f"{name}: {reason}", message), pod.name)
        elif (code := _killed_for_memory(status)) is not None and not status.get("ready"):
            yield PodFailure("OOMKilled", f"{name} used more memory than it may, and starts again.", pod.name, code)
        elif reason == "CrashLoopBackOff":
            code = _part(status, "lastState", "terminated").get("exitCode")
            yield PodFailure("CrashLoop", _sentence(f"{name} ends again and again", _exit(code)), pod.name, code)
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        message = str(scheduled.get("message") or "No node fits.")
        if missing := NO_CLAIM.search(message):
            yield PodFailure("MountFailed", _sentence(missing[0]), pod.name)
        else:
            yield PodFailure("Unschedulable", _sentence(message), pod.name)


def _ends(pod: Pod) -> Iterator[PodFailure]:
    disruption = _condition(pod, "DisruptionTarget")
    told, message = str(pod.status.get("reason", "")), str(pod.status.get("message", ""))
    if disruption.get("status") == "True":
        reason = DISRUPTIONS.get(str(disruption.get("reason")), "Evicted")
        yield PodFailure(reason, _sentence(disruption.get("message") or message or reason), pod.name)
    elif told in {"Evicted", "NodeLost"}:
        yield PodFailure(told, _sentence(message or told), pod.name)
    for name, status in _containers(pod):
        terminated = _last_end(status)
        code = terminated.get("exitCode")
        if terminated.get("reason") == "OOMKilled":
            yield PodFailure("OOMKilled", f"{name} used more memory than it may.", pod.name, code)
        elif code:
            yield PodFailure("ContainerFailed", _sentence(f"{name} ended", _exit(code)), pod.name, code)


def _killed_for_memory(status: Mapping[str, Any]) -> int | None:
    """Return the exit code of a container that was last killed because it used too much memory."""
    ended = _last_end(status)
    return ended.get("exitCode") if ended.get("reason") == "OOMKilled" else None


def _last_end(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return _part(status, "state", "terminated") or _part(status, "lastState", "terminated")


def _containers(pod: Pod) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for part in ("initContainerStatuses", "containerStatuses"):
        for status in pod.status.get(part) or ():
            yield str(status.get("name", "")), status


def _condition(pod: Pod, kind: str) -> Mapping[str, Any]:
    found = [condition for condition in pod.status.get("conditions") or () if condition.get("type") == kind]
    return found[0] if found else {}


def _part(status: Mapping[str, Any], state: str, name: str) -> Mapping[str, Any]:
    return (status.get(state) or {}).get(name) or {}


def _exit(code: int | None) -> str:
    return "" if code is None else f"exit code {code}"


def _sentence(*parts: str) -> str:
    text = ": ".join(part.strip().rstrip(".") for part in parts if part)
    return f"{text[: LONGEST - 1]}."
