"""The statuses that KubeRay 1.6.2 writes into a RayService, in its order.

Read from rayservice_controller.go. Written as in ``rayjob_states``; ``after`` names reasons of the condition Ready.
The words ``$applications APPLICATION DEPLOYMENT`` become the applications and deployments of serveConfigV2 in these
states. Ready speaks of endpoints alone: it stays True while an update in place goes wrong.
"""

from typing import Any

from cluster.rayjob_states import HEAD_READY, PROVISIONED, PROVISIONING, READY, State, cluster, condition

Values = dict[str, Any]
NEW = ("",)
STARTING = ("Initializing",)
SERVING = ("NonZeroServeEndpoints",)
DOWN = ("ZeroServeEndpoints",)
WAITING = "RayService is initializing"


def conditions(*aspects: Values) -> list[Values]:
    """Return conditions with the generation that they were observed at. Others keep what they say."""
    return [aspect | {"observedGeneration": "$generation"} for aspect in aspects]


INITIALIZING = condition("Ready", "False", "Initializing", WAITING)
READY_NOW = condition("Ready", "True", "NonZeroServeEndpoints", "Number of serve endpoints is greater than 0")
NOT_READY = condition("Ready", "False", "ZeroServeEndpoints", "Number of serve endpoints dropped to 0")
NO_UPGRADE = condition(
    "UpgradeInProgress", "False", "NoPendingCluster", "Active Ray cluster exists and no pending Ray cluster"
)
UPGRADE = condition(
    "UpgradeInProgress", "True", "BothActivePendingClustersExist", "Both active and pending Ray clusters exist"
)
FIRST = condition("UpgradeInProgress", "False", "Initializing", WAITING)
SEEN: Values = {"observedGeneration": "$generation", "lastUpdateTime": "$now"}


def active(applications: str, **values: Any) -> Values:
    """Return a change of the serving cluster's applications."""
    return SEEN | {"activeServiceStatus": {"applicationStatuses": applications, "rayClusterStatus": READY}} | values


WITHOUT_WORKERS: Values = SEEN | {
    "pendingServiceStatus": {
        "applicationStatuses": "$applications DEPLOYING UPDATING",
        "rayClusterStatus": cluster(HEAD_READY, PROVISIONING),
    }
}


def taken_over(new: Values) -> Values:
    """Return a change in which the pending cluster takes the place of the one before; its own status may lag behind."""
    serving = {
        "applicationStatuses": "$applications RUNNING HEALTHY",
        "rayClusterName": "$pending",
        "rayClusterStatus": new,
    }
    return SEEN | {
        "activeServiceStatus": serving,
        "pendingServiceStatus": "$emptied",
        "conditions": conditions(READY_NOW, NO_UPGRADE),
    }


RAYSERVICE_STATES: dict[str, State] = {
    "Initializing": State(
        NEW,
        SEEN
        | {
            "pendingServiceStatus": {"rayClusterName": "$new-cluster"},
            "conditions": conditions(INITIALIZING, FIRST),
        },
    ),
    "Deploying": State(
        STARTING,
        SEEN
        | {
            "pendingServiceStatus": {
                "applicationStatuses": "$applications DEPLOYING UPDATING",
                "rayClusterStatus": cluster(HEAD_READY, PROVISIONED, state="ready"),
            }
        },
    ),
    "DeployingWithoutWorkers": State(
        STARTING,
        WITHOUT_WORKERS,
    ),
    "DeployFailedAtStart": State(
        STARTING, SEEN | {"pendingServiceStatus": {"applicationStatuses": "$applications DEPLOY_FAILED UNHEALTHY"}}
    ),
    # The spec changes before anything serves: another cluster, and the conditions stay as they were.
    "StartedAnew": State(
        STARTING,
        SEEN
        | {
            "pendingServiceStatus": {
                "rayClusterName": "$new-cluster",
                "applicationStatuses": None,
                "rayClusterStatus": "$no-cluster",
            }
        },
    ),
    "Promoted": State(
        STARTING,
        SEEN
        | {
            "activeServiceStatus": {
                "applicationStatuses": "$applications RUNNING HEALTHY",
                "rayClusterName": "$cluster",
                "rayClusterStatus": READY,
            },
            "pendingServiceStatus": "$emptied",
            "conditions": conditions(INITIALIZING, NO_UPGRADE),
        },
    ),
    "Running": State(
        (*STARTING, *SERVING, *DOWN),
        active(
            "$applications RUNNING HEALTHY",
            numServeEndpoints="$endpoints",
            serviceStatus="Running",
            conditions=conditions(READY_NOW, NO_UPGRADE),
        ),
    ),
    "Updating": State(SERVING, active("$applications DEPLOYING UPDATING")),
    "UpdateFailed": State(SERVING, active("$applications DEPLOY_FAILED UNHEALTHY")),
    "Unhealthy": State(SERVING, active("$applications UNHEALTHY UNHEALTHY")),
    "NoEndpoints": State(
        SERVING,
        active(
            "$applications UNHEALTHY UNHEALTHY",
            numServeEndpoints=None,
            serviceStatus=None,
            conditions=conditions(NOT_READY, NO_UPGRADE),
        ),
    ),
    "UpgradeStarted": State(
        SERVING,
        SEEN
        | {
            "activeServiceStatus": {"applicationStatuses": None},
            "pendingServiceStatus": {"rayClusterName": "$new-cluster"},
            "conditions": conditions(READY_NOW, UPGRADE),
        },
    ),
    "UpgradeDeployingWithoutWorkers": State(
        SERVING,
        WITHOUT_WORKERS,
    ),
    "UpgradeDeploying": State(
        SERVING, SEEN | {"pendingServiceStatus": {"applicationStatuses": "$applications DEPLOYING UPDATING"}}
    ),
    "UpgradeDone": State(SERVING, taken_over(READY)),
    "UpgradeDoneWithoutWorkers": State(SERVING, taken_over(cluster(HEAD_READY, PROVISIONING))),
    "InitializingTimeout": State(
        STARTING,
        {
            "lastUpdateTime": "$now",
            "activeServiceStatus": {"rayClusterName": None},
            "pendingServiceStatus": {"rayClusterName": None},
            "conditions": conditions(
                condition(
                    "Ready",
                    "False",
                    "InitializingTimeout",
                    "RayService failed to become ready within the configured timeout of 30m0s. "
                    "Time spent initializing: 30m1s",
                )
            ),
        },
    ),
    "ValidationFailed": State(
        (*NEW, *STARTING, *SERVING, *DOWN),
        {
            "lastUpdateTime": "$now",
            "conditions": conditions(
                condition("Ready", "False", "ValidationFailed", "The RayService spec is invalid: spec.serveConfigV2")
            ),
        },
    ),
}
TO_SERVING = ("Initializing", "Deploying", "Promoted", "Running")
