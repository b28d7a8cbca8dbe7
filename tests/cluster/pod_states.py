"""The statuses that a kubelet and a scheduler write into a pod, as far as people must be told what went wrong.

Words with ``$`` are filled in: ``$now``, and ``$container``, the name of the first container.
"""

from typing import Any

Values = dict[str, Any]
ADDRESS = "10.244.0.9"


def _container(state: Values, *, ready: bool = False, **values: Any) -> Values:
    told = {"name": "$container", "image": "ray:1", "imageID": "", "ready": ready, "started": ready, "restartCount": 0}
    return told | {"state": state} | values


def _conditions(*, ready: bool) -> list[Values]:
    others = (
        {} if ready else {"reason": "ContainersNotReady", "message": "containers with unready status: [$container]"}
    )
    return [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "$now"},
        {"type": "Initialized", "status": "True", "lastTransitionTime": "$now"},
        *(
            {"type": kind, "status": "True" if ready else "False", "lastTransitionTime": "$now", **others}
            for kind in ("ContainersReady", "Ready")
        ),
    ]


def _waiting(reason: str, message: str, **values: Any) -> Values:
    return {
        "phase": "Pending",
        "conditions": _conditions(ready=False),
        "containerStatuses": [_container({"waiting": {"reason": reason, "message": message}}, **values)],
    }


def _ended(reason: str, code: int, message: str = "") -> Values:
    ended = {"exitCode": code, "reason": reason, "startedAt": "$now", "finishedAt": "$now", "containerID": ""}
    return {
        "phase": "Failed" if code else "Succeeded",
        "conditions": _conditions(ready=False),
        "containerStatuses": [_container({"terminated": ended | ({"message": message} if message else {})})],
    }


POD_STATES: dict[str, Values] = {
    "Unschedulable": {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are "
                "available: 3 No preemption victims found for incoming pod.",
                "lastTransitionTime": "$now",
            }
        ],
    },
    "Creating": _waiting("ContainerCreating", ""),
    "ErrImagePull": _waiting(
        "ErrImagePull",
        'failed to pull and unpack image "nowhere.example/ray:1": failed to resolve reference: not found',
    ),
    "ImagePullBackOff": _waiting("ImagePullBackOff", 'Back-off pulling image "nowhere.example/ray:1": not found'),
    "SecretMissing": _waiting("CreateContainerConfigError", 'secret "hub" not found'),
    "Running": {
        "phase": "Running",
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "startTime": "$now",
        "conditions": _conditions(ready=True),
        "containerStatuses": [_container({"running": {"startedAt": "$now"}}, ready=True)],
    },
    "OOMKilled": _ended("OOMKilled", 137),
    "Crashed": _ended("Error", 1, "Traceback (most recent call last)"),
    "Killed": _ended("Error", 137),
    "Completed": _ended("Completed", 0),
    "Evicted": {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: memory. Threshold quantity: 100Mi, available: 48Mi.",
        "startTime": "$now",
    },
    "RestartedAfterOOM": {
        "phase": "Running",
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "startTime": "$now",
        "conditions": _conditions(ready=True),
        "containerStatuses": [
            _container(
                {"running": {"startedAt": "$now"}},
                ready=True,
                restartCount=1,
                lastState={
                    "terminated": {
                        "exitCode": 137,
                        "reason": "OOMKilled",
                        "startedAt": "$now",
                        "finishedAt": "$now",
                        "containerID": "",
                    }
                },
            )
        ],
    },
}
