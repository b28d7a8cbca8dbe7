"""What goes wrong is told with a reason and with what to do about it."""

from typing import Any

import pytest

from diptych_operator import kinds
from support.gallery import Gallery

UNSCHEDULABLE: dict[str, Any] = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
    ],
}


TRACEBACK = """The deployment failed to start 3 times in a row. Error:
ray::ServeReplica:images:Engine.initialize_and_get_metadata() (pid=277, ip=10.250.1.14)
  File "ray/serve/_private/replica.py", line 1928, in initialize
    raise RuntimeError(traceback.format_exc()) from None
RuntimeError: Traceback (most recent call last):
  File "diptych_diffusion/base_files.py", line 72, in _local
    raise BaseInvalid(f"{folder} holds no base.", hint="Look again.")
diptych_api.errors.BaseInvalid: There is no model_index.json. Look again.
The deployment failed to start 3 times in a row. Error:
ray::ServeReplica:images:Engine.initialize_and_get_metadata() (pid=277, ip=10.250.1.14)
  File "ray/serve/_private/replica.py", line 19"""


def broken(gallery: Gallery, message: str, status: str = "DEPLOY_FAILED") -> None:
    """Let the first start fail with a message."""
    apps = {"images": {"status": status, "message": message, "serveDeploymentStatuses": {}}}
    gallery.play("Initializing", "Deploying")
    pending = gallery.ray_service["status"]["pendingServiceStatus"]
    gallery.says(pendingServiceStatus=pending | {"applicationStatuses": apps})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("ray::Engine HubAuth: The hub refused the token.", "HubAuth"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "GpuOutOfMemory"),
        ("The deployment failed to start 3 times in a row.", "DeployFailed"),
    ],
)
def test_a_start_that_fails_names_its_reason_and_a_way_out(message: str, reason: str) -> None:
    gallery = Gallery()
    broken(gallery, message)
    failure = gallery.status["lastFailure"]
    assert (gallery.status["phase"], failure["reason"], gallery.condition("Ready")) == (
        "Failed",
        reason,
        ("False", reason),
    )
    assert failure["message"] == message
    assert failure["hint"]
    assert failure["time"] == "2026-01-31T12:00:00Z"


def test_what_an_engine_could_not_start_for_is_told_without_its_traceback() -> None:
    gallery = Gallery()
    broken(gallery, TRACEBACK)
    failure = gallery.status["lastFailure"]
    assert (failure["reason"], failure["message"]) == ("BaseInvalid", "There is no model_index.json. Look again.")
    assert failure["hint"] == "Check spec.base: the files, the revision and the checksum."


def test_a_failure_that_stays_keeps_its_time() -> None:
    gallery = Gallery()
    broken(gallery, "It fails.")
    assert gallery.writes(lambda: gallery.world.wait(3600)) == []
    gallery.change(limits={"maxSteps": 5})
    assert gallery.status["lastFailure"]["time"] == "2026-01-31T12:00:00Z"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (UNSCHEDULABLE, "Unschedulable"),
        (
            {"containerStatuses": [{"name": "ray", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            "ImagePull",
        ),
        (
            {"containerStatuses": [{"name": "ray", "state": {"waiting": {"reason": "CreateContainerConfigError"}}}]},
            "ContainerConfig",
        ),
    ],
)
def test_what_keeps_pods_from_running_is_told_while_they_start(status: dict[str, Any], reason: str) -> None:
    gallery = Gallery()
    gallery.play("Initializing")
    gallery.pod("engine-1", **status)
    assert gallery.status["phase"] == "Provisioning"
    assert gallery.condition("Ready") == ("False", reason)
    assert gallery.condition("Degraded") == ("True", reason)


def test_an_engine_that_finds_no_node_degrades_what_serves_on() -> None:
    gallery = Gallery(replicas=2)
    gallery.serve()
    gallery.pod("engine-1", phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    gallery.pod("engine-2", **UNSCHEDULABLE)
    assert gallery.condition("Ready") == ("True", "Ready")
    assert gallery.condition("Degraded") == ("True", "Unschedulable")
    assert (gallery.status["replicas"], gallery.status["columns"]["replicas"]) == (2, "1/2")


def test_a_head_that_does_not_answer_degrades_what_served() -> None:
    gallery = Gallery()
    gallery.serve()
    gallery.says(activeServiceStatus={"rayClusterName": gallery.active})
    assert (gallery.status["phase"], gallery.condition("Ready")[0]) == ("Degraded", "False")


def test_a_deployment_that_is_ready_again_says_so_again() -> None:
    gallery = Gallery()
    gallery.serve()
    before = gallery.ray_service["status"]
    gallery.world.wait(10)
    gallery.says(activeServiceStatus={"rayClusterName": gallery.active})
    gallery.says(**before)
    gallery.world.wait(10)
    told = [event["reason"] for event in gallery.world.memory.events.values()]
    assert gallery.status["phase"] == "Ready"
    assert (told.count("Ready"), told.count("Degraded")) == (2, 1)


def test_a_killed_engine_is_the_last_failure() -> None:
    gallery = Gallery()
    gallery.serve()
    killed = {"exitCode": 137, "reason": "OOMKilled"}
    gallery.pod("engine-1", containerStatuses=[{"name": "ray", "lastState": {"terminated": killed}}])
    gallery.play("Unhealthy")
    failure = gallery.status["lastFailure"]
    assert failure["reason"] == "Unhealthy"
    active = gallery.ray_service["status"]["activeServiceStatus"]
    apps = {"images": {"status": "DEPLOYING", "serveDeploymentStatuses": {"Engine": {"status": "UPDATING"}}}}
    gallery.says(activeServiceStatus=active | {"applicationStatuses": apps})
    failure = gallery.status["lastFailure"]
    assert (failure["reason"], failure["pod"], failure["exitCode"]) == ("OOMKilled", "engine-1", 137)
    assert failure["hint"] == "Raise resources.memory."


def test_only_pods_of_the_cluster_that_answers_count_as_replicas() -> None:
    gallery = Gallery(replicas=2)
    gallery.serve()
    ready = [{"type": "Ready", "status": "True"}]
    gallery.pod("engine-1", conditions=ready)
    gallery.pod("old-engine", cluster="noto-old", conditions=ready)
    gallery.pod("head", group="headgroup", conditions=ready)
    assert gallery.status["replicas"] == gallery.status["readyReplicas"] == 1
    assert gallery.status["selector"] == "diptych.dev/deployment=noto,ray.io/group=engines"


def test_a_gateway_without_the_gateway_api_is_told() -> None:
    gallery = Gallery(endpoints={"http": {"gateway": "edge/public"}})
    assert gallery.get(kinds.HTTP_ROUTE, "noto-images") is None
    assert "GatewayAPIOff" in dict(gallery.told())


def test_a_gateway_without_the_gateway_api_is_told_once_for_each_spec() -> None:
    gallery = Gallery(endpoints={"http": {"gateway": "edge/public"}})
    gallery.serve()
    assert _told_at_a_restart(gallery) == []
    gallery.change(endpoints={"http": {"gateway": "edge/other"}})
    assert _count(gallery, "GatewayAPIOff") == 2


def test_a_spec_that_cannot_become_pods_is_told_once_each_time() -> None:
    gallery = Gallery()
    for times in (1, 2):
        gallery.change(auth={"apiKeys": {"name": "keys", "key": "LD_PRELOAD"}})
        assert _told_at_a_restart(gallery) == []
        assert _count(gallery, "SpecInvalid") == times
        gallery.change(auth=None)


def _told_at_a_restart(gallery: Gallery) -> list[str]:
    """Return the Events of another operator, hours later, when those of the first one have expired."""
    known = dict(gallery.world.memory.events)
    gallery.world.memory.events.clear()
    gallery.restart(gallery.world.defaults)
    gallery.world.wait(7200)
    told = [event["reason"] for event in gallery.world.memory.events.values()]
    gallery.world.memory.events |= known
    return told


def _count(gallery: Gallery, reason: str) -> int:
    return [told for told, _ in gallery.told()].count(reason)


def test_what_the_api_server_refuses_is_told_and_tried_again() -> None:
    gallery = Gallery(managedBy="kueue.x-k8s.io/multikueue")
    gallery.refuse(kinds.RAY_SERVICE, "exceeded quota: gpus")
    gallery.change(managedBy="diptych.dev/operator")
    assert gallery.condition("Degraded") == ("True", "Refused")
    assert gallery.message("Degraded") == "exceeded quota: gpus"
    gallery.refuse(kinds.RAY_SERVICE, "")
    gallery.world.wait(60)
    assert gallery.condition("Degraded") == ("False", "AsExpected")
    gallery.serve()
    assert gallery.status["phase"] == "Ready"
