"""From the first plan to the end, as KubeRay tells it."""

from typing import Any

import pytest

from diptych_operator import kinds
from support.gallery import RAY_SERVICE_REF, SETTLED_S, Gallery

SERVING = ("Initializing", "Deploying", "Promoted", "Running")


@pytest.mark.parametrize(
    ("states", "phase", "ready"),
    [
        ((), "Pending", ("False", "Pending")),
        (("Initializing",), "Provisioning", ("False", "Provisioning")),
        (("Initializing", "Deploying"), "Starting", ("False", "Starting")),
        (("Initializing", "DeployFailedAtStart"), "Failed", ("False", "DeployFailed")),
        (SERVING[:3], "Starting", ("False", "Starting")),
        (SERVING, "Ready", ("True", "Ready")),
        ((*SERVING, "Unhealthy"), "Degraded", ("False", "Unhealthy")),
        ((*SERVING, "NoEndpoints"), "Degraded", ("False", "Unhealthy")),
        ((*SERVING, "UpdateFailed"), "Degraded", ("False", "DeployFailed")),
        ((*SERVING, "Updating"), "Updating", ("False", "Updating")),
        ((*SERVING, "UpgradeStarted"), "Updating", ("False", "Updating")),
        ((*SERVING, "UpgradeStarted", "UpgradeDeploying", "UpgradeDone"), "Updating", ("False", "Updating")),
        (("ValidationFailed",), "Failed", ("False", "SpecInvalid")),
    ],
)
def test_each_status_of_kuberay_has_a_phase(states: tuple[str, ...], phase: str, ready: tuple[str, str]) -> None:
    gallery = Gallery()
    gallery.play(*states)
    assert gallery.status["phase"] == phase
    assert gallery.condition("Ready") == ready
    assert gallery.condition("Progressing")[0] == str(phase in {"Pending", "Provisioning", "Starting", "Updating"})
    assert gallery.condition("Degraded")[0] == str(phase in {"Degraded", "Failed"})


def test_ready_tells_where_clients_find_it() -> None:
    gallery = Gallery(endpoints={"http": {"port": 80}})
    gallery.serve()
    assert gallery.status["url"] == {
        "http": "http://noto-images.art:80",
        "grpc": "grpc://noto-images.art:9000",
        "ui": "http://noto-images.art:80/ui",
    }
    assert gallery.status["rayClusterName"] == gallery.active
    assert ("Ready", "Every application runs the wanted configuration.") in gallery.told()


def test_a_new_deployment_is_ready_at_once_though_kuberay_writes_into_its_spec() -> None:
    gallery = Gallery()
    made = gallery.ray_service
    written = made["metadata"] | {"generation": made["metadata"]["generation"] + 1}
    gallery.world.memory.put({**made, "metadata": written}, "KubeRay")
    gallery.serve()
    assert gallery.ray_service["metadata"]["generation"] == 2
    assert gallery.condition("Ready") == ("True", "Ready")


def test_a_change_while_the_first_application_starts_is_waited_for() -> None:
    gallery = Gallery()
    gallery.play("Initializing", "Deploying")
    gallery.change(limits={"maxSteps": 5})
    gallery.play("Promoted", "Running")
    assert gallery.condition("Ready")[0] == "False"
    gallery.world.wait(SETTLED_S)
    assert gallery.condition("Ready") == ("True", "Ready")


def test_another_cluster_takes_over_and_is_ready_after_kuberay_has_looked_again() -> None:
    gallery = Gallery()
    gallery.serve()
    gallery.play("UpgradeStarted", "UpgradeDeploying", "UpgradeDone")
    gallery.world.wait(SETTLED_S)
    assert gallery.condition("Ready") == ("True", "Ready")


def test_a_status_that_may_tell_of_the_old_configuration_is_not_believed_at_once() -> None:
    gallery = Gallery()
    gallery.serve()
    gallery.change(limits={"maxSteps": 5})
    assert (gallery.status["phase"], gallery.condition("Ready")[0]) == ("Updating", "False")
    gallery.play("Running")
    assert gallery.condition("Ready")[0] == "False"
    gallery.world.wait(SETTLED_S)
    assert gallery.condition("Ready")[0] == "True"
    rollout = gallery.status["rollout"]
    assert rollout["configHash"] == rollout["desiredHash"]


def test_a_change_that_is_taken_back_is_waited_for_as_well() -> None:
    gallery = Gallery()
    gallery.serve()
    gallery.change(limits={"maxSteps": 5})
    gallery.change(limits={})
    gallery.play("Running")
    assert gallery.condition("Ready")[0] == "False"
    gallery.world.wait(SETTLED_S)
    assert gallery.condition("Ready")[0] == "True"


def test_a_clock_of_kuberay_that_is_ahead_does_not_hold_it_up() -> None:
    gallery = Gallery()
    gallery.serve()
    gallery.change(limits={"maxSteps": 5})
    gallery.play("Running")
    gallery.says(lastUpdateTime="2027-01-01T00:00:00Z")
    gallery.world.wait(SETTLED_S)
    assert gallery.condition("Ready")[0] == "True"


def test_more_engines_on_their_way_leave_it_ready() -> None:
    gallery = Gallery(replicas=2)
    gallery.serve()
    active = gallery.ray_service["status"]["activeServiceStatus"]
    engines = {"Gateway": {"status": "HEALTHY"}, "Engine": {"status": "UPSCALING"}}
    apps = {"images": {"status": "DEPLOYING", "serveDeploymentStatuses": engines}}
    gallery.says(activeServiceStatus=active | {"applicationStatuses": apps})
    assert gallery.condition("Ready") == ("True", "Ready")


def test_in_place_writes_down_that_it_updates_before_it_deletes() -> None:
    gallery = Gallery(rollout={"strategy": "InPlace"})
    gallery.serve()
    written = gallery.writes(lambda: gallery.change(pods={"image": "own:3"}))
    assert [write.split()[:2] for write in written[:2]] == [["status", "DiffusionDeployment"], ["delete", "RayService"]]
    assert gallery.status["phase"] == "Updating"
    gallery.let_go()
    container = gallery.ray_service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    assert container[0]["image"] == "own:3"
    gallery.serve()
    assert gallery.condition("Ready") == ("True", "Ready")


def test_an_adapter_changes_in_place_without_a_new_cluster() -> None:
    gallery = Gallery(rollout={"strategy": "InPlace"})
    gallery.serve()
    written = gallery.writes(lambda: gallery.change(adapters=[{"name": "style", "uri": "s3://bucket/style"}]))
    assert not [write for write in written if write.startswith("delete")]


def test_suspend_takes_the_pods_away_and_keeps_the_status() -> None:
    gallery = Gallery(adapters=[{"name": "style", "uri": "s3://bucket/style"}])
    gallery.serve()
    gallery.pod("engine", phase="Running")
    gallery.change(suspend=True)
    assert gallery.status["phase"] == "Suspending"
    gallery.let_go()
    assert gallery.status["phase"] == "Suspending"
    gallery.world.memory.remove(kinds.Ref(kinds.POD, "art", "engine"))
    gallery.world.settle()
    assert gallery.condition("Suspended") == ("True", "Suspended")
    assert gallery.status["adapters"][0]["uri"] == "s3://bucket/style"
    assert gallery.writes(lambda: gallery.world.wait(3600)) == []
    gallery.change(suspend=False)
    gallery.serve()
    assert gallery.status["phase"] == "Ready"


def test_a_deployment_that_somebody_else_manages_is_left_alone() -> None:
    gallery = Gallery(managedBy="kueue.x-k8s.io/multikueue")
    assert RAY_SERVICE_REF not in gallery.world.memory.objects
    assert gallery.status == {}


def test_a_ray_service_of_somebody_else_is_not_touched() -> None:
    gallery = Gallery(managedBy="kueue.x-k8s.io/multikueue")
    other = {"apiVersion": "ray.io/v1", "kind": "RayService", "spec": {}, "status": {"numServeEndpoints": 3}}
    gallery.world.user_puts(other | {"metadata": {"name": RAY_SERVICE_REF.name, "namespace": "art"}})
    written = gallery.writes(lambda: gallery.change(managedBy="diptych.dev/operator"))
    assert not [write for write in written if "RayService" in write]
    assert gallery.condition("Ready") == ("False", "NameTaken")


def test_a_ray_service_that_others_delete_is_made_again() -> None:
    gallery = Gallery()
    gallery.serve()
    gallery.world.memory.remove(RAY_SERVICE_REF)
    gallery.world.settle()
    gallery.serve()
    assert gallery.status["phase"] == "Ready"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"base": {"uri": "models/base"}}, "base.uri: 'models/base' is a folder of this machine"),
        ({"endpoints": {"http": {"ingressHost": "no host"}}}, "endpoints.http.ingressHost: 'no host' is no host name."),
        ({"auth": {"apiKeys": {"name": "keys", "key": "LD_PRELOAD"}}}, "auth.apiKeys.key: 'LD_PRELOAD' cannot be"),
        (
            {"pods": {"template": {"spec": {"hostNetwork": True}}}},
            "pods.template.spec.hostNetwork: may not be patched.",
        ),
    ],
)
def test_a_spec_that_cannot_become_pods_leaves_what_runs(spec: dict[str, Any], message: str) -> None:
    gallery = Gallery()
    gallery.serve()
    before = gallery.ray_service
    gallery.change(**spec)
    assert gallery.ray_service == before
    assert (gallery.status["phase"], gallery.condition("Ready")) == ("Failed", ("False", "SpecInvalid"))
    assert gallery.message("Ready").startswith(message)
    assert gallery.status["lastFailure"]["hint"]
    gallery.change(base={"builtin": "tiny-emoji"}, endpoints=None, auth=None, pods=None)
    assert gallery.status["phase"] == "Ready"
