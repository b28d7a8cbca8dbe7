"""The player that stands for KubeRay: every status of its tables is one that the API server keeps whole."""

import pytest

from cluster.control_plane import ControlPlane
from cluster.manifests import ray_job, ray_service
from cluster.objects import Values
from cluster.player import STATES, Player
from cluster.pod_states import POD_STATES
from cluster.ray_pods import RayPods
from cluster.rayjob_states import TO_RUNNING
from cluster.rayservice_states import TO_SERVING

pytestmark = pytest.mark.integration
LIVES = {
    "RayJob": {
        "succeeds": [*TO_RUNNING, "Succeeded"],
        "is stopped": [*TO_RUNNING, "Stopped"],
        "fails": [*TO_RUNNING, "Failed"],
        "succeeds at the second try": [*TO_RUNNING, "Retrying", "New", *TO_RUNNING, "Succeeded"],
        "is suspended": [*TO_RUNNING, "Suspending", "Suspended", "New", *TO_RUNNING, "DeadlineExceeded"],
        "gets no pods": [
            "Initializing",
            "HeadMissing",
            "PodsRefused",
            "HeadUnschedulable",
            "PreRunningDeadlineExceeded",
        ],
        "gets no image": [
            *("Initializing", "HeadCreating", "HeadImageRefused", "HeadImageMissing"),
            *("PreRunningDeadlineRetrying", "New"),
        ],
        "is not valid": ["ValidationFailed"],
    },
    "RayService": {
        "is updated": [*TO_SERVING, "Updating", "UpdateFailed", "Unhealthy", "NoEndpoints", "Running"],
        "gets a new cluster": [*TO_SERVING, "UpgradeStarted", "UpgradeDeploying", "UpgradeDone", "Running"],
        "gets one whose status lags": [
            *TO_SERVING,
            *("UpgradeStarted", "UpgradeDeployingWithoutWorkers", "UpgradeDoneWithoutWorkers", "Running"),
        ],
        "never starts": [
            "Initializing",
            "DeployingWithoutWorkers",
            "Deploying",
            "DeployFailedAtStart",
            "InitializingTimeout",
        ],
        "is mended before it serves": [
            *("Initializing", "Deploying", "DeployFailedAtStart", "StartedAnew", "Deploying", "Promoted", "Running"),
        ],
        "is not valid": ["ValidationFailed"],
    },
}


def test_every_state_of_the_tables_is_played_below() -> None:
    played = {kind: {state for life in lives.values() for state in life} for kind, lives in LIVES.items()}
    assert played == {kind: set(states) for kind, states in STATES.items()}


@pytest.mark.parametrize("life", LIVES["RayJob"])
def test_the_api_server_keeps_what_is_told_of_a_ray_job(
    control_plane: ControlPlane, namespace: str, player: Player, life: str
) -> None:
    job = control_plane.api.create(ray_job(namespace))
    player.play_all("RayJob", namespace, "noto", LIVES["RayJob"][life])
    assert control_plane.api.read(job)["status"]


@pytest.mark.parametrize("life", LIVES["RayService"])
def test_the_api_server_keeps_what_is_told_of_a_ray_service(
    control_plane: ControlPlane, namespace: str, player: Player, life: str
) -> None:
    service = control_plane.api.create(ray_service(namespace))
    player.play_all("RayService", namespace, "noto", LIVES["RayService"][life])
    assert control_plane.api.read(service)["status"]


def test_a_retry_is_a_new_cluster_and_counts_the_failure(
    control_plane: ControlPlane, namespace: str, player: Player
) -> None:
    control_plane.api.create(ray_job(namespace))
    first = player.play_all("RayJob", namespace, "noto", TO_RUNNING)["status"]
    second = player.play_all("RayJob", namespace, "noto", ["Retrying", "New", *TO_RUNNING])["status"]
    assert second["rayClusterName"] != first["rayClusterName"]
    assert (first["failed"], second["failed"]) == (0, 1)
    assert "reason" not in second


def test_a_served_application_is_told_by_the_names_of_its_config(
    control_plane: ControlPlane, namespace: str, player: Player
) -> None:
    control_plane.api.create(ray_service(namespace))
    status = player.play_all("RayService", namespace, "noto", TO_SERVING)["status"]
    applications = status["activeServiceStatus"]["applicationStatuses"]
    assert applications["images"]["status"] == "RUNNING"
    assert set(applications["images"]["serveDeploymentStatuses"]) == {"Gateway", "Engine"}


def test_a_state_out_of_order_is_refused(control_plane: ControlPlane, namespace: str, player: Player) -> None:
    control_plane.api.create(ray_job(namespace))
    with pytest.raises(ValueError, match="Succeeded does not follow a new object; it follows Running"):
        player.play("RayJob", namespace, "noto", "Succeeded")


@pytest.mark.parametrize("state", POD_STATES)
def test_the_api_server_keeps_what_is_told_of_a_pod(
    control_plane: ControlPlane, namespace: str, player: Player, ray_pods: RayPods, state: str
) -> None:
    control_plane.api.create(ray_job(namespace))
    owner = player.play("RayJob", namespace, "noto", "Initializing")
    head, worker = ray_pods.create(owner)
    ray_pods.play(head, "Creating")
    told: Values = ray_pods.play(control_plane.api.read(head), state)["status"]
    assert told["phase"] == POD_STATES[state]["phase"]
    assert {each["type"] for each in told.get("conditions", [])} == {
        each["type"] for each in POD_STATES[state].get("conditions", [])
    }
    assert worker["metadata"]["labels"]["ray.io/node-type"] == "worker"


def test_pods_carry_the_labels_of_kuberay_and_of_their_template(
    control_plane: ControlPlane, namespace: str, player: Player, ray_pods: RayPods
) -> None:
    control_plane.api.create(ray_job(namespace))
    owner = player.play("RayJob", namespace, "noto", "Initializing")
    ray_pods.create(owner)
    selector = f"diptych.dev/job=noto,ray.io/cluster={owner['status']['rayClusterName']},ray.io/is-ray-node=yes"
    assert len(control_plane.api.listed("v1", "Pod", namespace, labels=selector)) == 2


def test_an_event_about_a_pod_can_be_read(
    control_plane: ControlPlane, namespace: str, player: Player, ray_pods: RayPods
) -> None:
    control_plane.api.create(ray_job(namespace))
    head, _ = ray_pods.create(player.play("RayJob", namespace, "noto", "Initializing"))
    ray_pods.tell(head, "FailedScheduling", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
    [event] = control_plane.api.listed("v1", "Event", namespace)
    assert event["involvedObject"]["uid"] == head["metadata"]["uid"]
