"""The statuses that KubeRay 1.6.2 writes into a RayJob in HTTPMode, in its order.

Read from rayjob_controller.go and raycluster_controller.go. A change is merged into ``status``: None takes a field
away, as Go leaves an empty one out. Words with ``$`` are filled in by the player. ``after`` names the values of
jobDeploymentStatus that a state follows. KubeRay never sets the observedGeneration of a RayJob, and tells of a retry
with ``Retrying`` alone: ``Failed`` is never stored then.
"""

from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]
ANYWHEN = ("", "Initializing", "Running", "Retrying", "Suspending", "Suspended", "Complete", "Failed")
NO_CLUSTER: Values = {"desiredCPU": "0", "desiredGPU": "0", "desiredMemory": "0", "desiredTPU": "0", "head": {}}


@dataclass(frozen=True, slots=True)
class State:
    """What changes in a status, and after which states."""

    after: tuple[str, ...]
    change: Values


def condition(kind: str, status: str, reason: str, message: str = "") -> Values:
    """Return a condition as KubeRay writes it; the player fills in when it changed."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "$now",
    }


def cluster(*aspects: Values, **values: Any) -> Values:
    """Return the status of a RayCluster that is not suspended, with further conditions."""
    return {
        "conditions": [
            *aspects,
            condition("RayClusterSuspended", "False", "RayClusterSuspended"),
            condition("RayClusterSuspending", "False", "RayClusterSuspending"),
        ],
        "desiredCPU": "2",
        "desiredGPU": "0",
        "desiredMemory": "4Gi",
        "desiredTPU": "0",
        "desiredWorkerReplicas": "$workers",
        "minWorkerReplicas": "$workers",
        "maxWorkerReplicas": "$workers",
        "endpoints": {"dashboard": "8265", "gcs-server": "6379", "metrics": "8080"},
        "head": {"serviceName": "$cluster-head-svc"},
        "lastUpdateTime": "$now",
        "observedGeneration": 1,
        **values,
    }


PROVISIONING = condition(
    "RayClusterProvisioned",
    "False",
    "RayClusterPodsProvisioning",
    "RayCluster Pods are being provisioned for first time",
)
PROVISIONED = condition(
    "RayClusterProvisioned", "True", "AllPodRunningAndReadyFirstTime", "All Ray Pods are ready for the first time"
)
HEAD_MISSING = condition("HeadPodReady", "False", "HeadPodNotFound", "Head Pod not found")
HEAD_READY = condition("HeadPodReady", "True", "HeadPodRunningAndReady")
UNREADY = "containers with unready status: [ray-head]"
HEAD_ADDRESS: Values = {
    "podIP": "10.244.0.9",
    "podName": "$cluster-head",
    "serviceIP": "10.244.0.9",
    "serviceName": "$cluster-head-svc",
}
READY = cluster(
    HEAD_READY,
    PROVISIONED,
    state="ready",
    stateTransitionTimes={"ready": "$now"},
    head=HEAD_ADDRESS,
    availableWorkerReplicas="$workers",
    readyWorkerReplicas="$workers",
)
EMPTIED: Values = {
    "rayClusterStatus": "$no-cluster",
    "rayClusterName": None,
    "dashboardURL": None,
    "jobId": None,
    "message": None,
    "reason": None,
    "jobStatus": None,
    "rayJobInfo": {"startTime": None, "endTime": None},
}
FAILED: Values = {"jobDeploymentStatus": "Failed", "failed": "$failed+1", "endTime": "$now"}
APP_FAILED: Values = {
    "jobStatus": "FAILED",
    "reason": "AppFailed",
    "message": "Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):\n",
    "rayJobInfo": {"endTime": "$now"},
    "failed": "$failed+1",
}
DEADLINE = "The RayJob has passed the activeDeadlineSeconds. StartTime: $start. ActiveDeadlineSeconds: 60"
PRE_RUNNING = "The RayJob has passed the preRunningDeadlineSeconds. StartTime: $start. PreRunningDeadlineSeconds: 60"
QUEUED = "Job has not started yet."

RAYJOB_STATES: dict[str, State] = {
    "Initializing": State(
        ("",),
        {
            "jobDeploymentStatus": "Initializing",
            "jobId": "$new-job",
            "rayClusterName": "$new-cluster",
            "startTime": "$now",
        },
    ),
    "HeadMissing": State(("Initializing",), {"rayClusterStatus": cluster(HEAD_MISSING, PROVISIONING)}),
    "HeadCreating": State(
        ("Initializing",),
        {
            "rayClusterStatus": cluster(
                condition("HeadPodReady", "False", "ContainerCreating", f"{UNREADY}; ray-head: "),
                PROVISIONING,
            )
        },
    ),
    "HeadStarting": State(
        ("Initializing",),
        {
            "rayClusterStatus": cluster(
                condition("HeadPodReady", "False", "ContainersNotReady", UNREADY),
                PROVISIONING,
            )
        },
    ),
    "HeadUnschedulable": State(
        ("Initializing",),
        {"rayClusterStatus": cluster(condition("HeadPodReady", "False", "Unknown"), PROVISIONING)},
    ),
    "HeadImageRefused": State(
        ("Initializing",),
        {
            "rayClusterStatus": cluster(
                condition(
                    "HeadPodReady",
                    "False",
                    "ErrImagePull",
                    f'{UNREADY}; ray-head: failed to pull and unpack image "nowhere.example/ray:1": not found',
                ),
                PROVISIONING,
            )
        },
    ),
    "HeadImageMissing": State(
        ("Initializing",),
        {
            "rayClusterStatus": cluster(
                condition(
                    "HeadPodReady",
                    "False",
                    "ImagePullBackOff",
                    f'{UNREADY}; ray-head: Back-off pulling image "nowhere.example/ray:1": not found',
                ),
                PROVISIONING,
            )
        },
    ),
    "PodsRefused": State(
        ("Initializing",),
        {
            "rayClusterStatus": cluster(
                condition("ReplicaFailure", "True", "FailedCreateHeadPod", "pods is forbidden: exceeded quota: gpus"),
                HEAD_MISSING,
                PROVISIONING,
            )
        },
    ),
    "WorkersStarting": State(
        ("Initializing",), {"rayClusterStatus": cluster(HEAD_READY, PROVISIONING, head=HEAD_ADDRESS)}
    ),
    "Submitting": State(
        ("Initializing",),
        {
            "jobDeploymentStatus": "Running",
            "dashboardURL": "$cluster-head-svc.$namespace.svc.cluster.local:8265",
        },
    ),
    "Pending": State(
        ("Running",),
        {
            "jobStatus": "PENDING",
            "message": QUEUED,
            "rayClusterStatus": READY,
            "rayJobInfo": {"startTime": "$now"},
        },
    ),
    "Running": State(
        ("Running",),
        {
            "jobStatus": "RUNNING",
            "message": "Job is currently running.",
            "rayClusterStatus": READY,
            "rayJobInfo": {"startTime": "$now"},
        },
    ),
    "Succeeded": State(
        ("Running",),
        {
            "jobDeploymentStatus": "Complete",
            "jobStatus": "SUCCEEDED",
            "message": "Job finished successfully.",
            "rayJobInfo": {"endTime": "$now"},
            "endTime": "$now",
            "succeeded": "$succeeded+1",
        },
    ),
    "Stopped": State(
        ("Running",),
        {
            "jobDeploymentStatus": "Complete",
            "jobStatus": "STOPPED",
            "message": "Job was intentionally stopped.",
            "rayJobInfo": {"endTime": "$now"},
            "endTime": "$now",
        },
    ),
    "Failed": State(("Running",), APP_FAILED | FAILED),
    "Retrying": State(("Running",), APP_FAILED | {"jobDeploymentStatus": "Retrying"}),
    "DeadlineExceeded": State(
        ("Initializing", "Running"), FAILED | {"reason": "DeadlineExceeded", "message": DEADLINE}
    ),
    "PreRunningDeadlineExceeded": State(
        ("Initializing",), FAILED | {"reason": "PreRunningDeadlineExceeded", "message": PRE_RUNNING}
    ),
    "PreRunningDeadlineRetrying": State(
        ("Initializing",),
        {
            "jobDeploymentStatus": "Retrying",
            "failed": "$failed+1",
            "reason": "PreRunningDeadlineExceeded",
            "message": PRE_RUNNING,
        },
    ),
    "New": State(("Retrying", "Suspended"), EMPTIED | {"jobDeploymentStatus": None}),
    "Suspending": State(("Initializing", "Running"), {"jobDeploymentStatus": "Suspending"}),
    "Suspended": State(("Suspending",), EMPTIED | {"jobDeploymentStatus": "Suspended"}),
    "ValidationFailed": State(
        ANYWHEN,
        {
            "jobDeploymentStatus": "ValidationFailed",
            "reason": "ValidationFailed",
            "message": "The RayJob spec is invalid: backoffLimit must be a positive integer",
        },
    ),
}
TO_RUNNING = ("Initializing", "HeadStarting", "WorkersStarting", "Submitting", "Pending", "Running")
