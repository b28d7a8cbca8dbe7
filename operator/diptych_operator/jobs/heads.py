"""The head pod of a running attempt.

KubeRay puts the program into another head when one is lost, silently and for ever, so a head that runs out of memory
again and again would look like a job that runs. Heads are told apart by uid and by the restarts of their container,
which no clock can get wrong.
"""

from collections.abc import Iterable
from typing import Final

from diptych_api.jobstatus import RunningAttempt
from diptych_operator.child import Pod
from diptych_operator.jobs.ray_state import RayState
from diptych_operator.manifests.pods import CONTAINER
from diptych_operator.pod_failures import is_head

CLUSTER: Final = "ray.io/cluster"
OVER: Final = frozenset({"Failed", "Succeeded"})


def with_head(current: RunningAttempt, ray: RayState, pods: Iterable[Pod]) -> RunningAttempt:
    """Return the attempt with the head that has its program; one that a queue holds back has none."""
    if ray.is_held:
        return current.model_copy(update={"head": ""})
    head = _head(pods, ray)
    if current.head or not ray.is_running or head is None or head.status.get("phase") != "Running":
        return current
    return current.model_copy(update={"head": _mark(head)})


def is_lost(current: RunningAttempt, ray: RayState, pods: Iterable[Pod]) -> bool:
    """Whether the head that had the program is gone, has ended or was started anew."""
    head = _head(pods, ray)
    if not current.head or not ray.is_running or head is None:
        return False
    return _mark(head) != current.head or head.status.get("phase") in OVER


def _head(pods: Iterable[Pod], ray: RayState) -> Pod | None:
    """Return the head of the attempt's cluster; one that is leaving has still to say why."""
    heads = (pod for pod in pods if is_head(pod) and not pod.deleting)
    return next((pod for pod in heads if pod.labels.get(CLUSTER) == ray.cluster), None)


def _mark(head: Pod) -> str:
    statuses = head.status.get("containerStatuses") or ()
    restarts = next((one.get("restartCount", 0) for one in statuses if one.get("name") == CONTAINER), 0)
    return f"{head.uid}/{restarts}"
