"""What may change without a new pod: the RayCluster's part stays word for word as it was."""

from typing import Any

import pytest

from diptych_operator import kinds
from diptych_operator.defaults import Defaults
from support.gallery import SETTLED_S, Gallery

OTHER = Defaults(image="ray:2", ray_version="2.61.0", head_memory="8Gi", image_pull_policy="Always")
URI = {"name": "style", "uri": "s3://bucket/style"}
LIVE: list[dict[str, Any]] = [
    {"adapters": [URI]},
    {"limits": {"maxSteps": 5}},
    {"limits": {"drainTimeoutSeconds": 7}},
    {"examples": ["a red apple"]},
    {"promptTemplates": [{"name": "noto", "template": "{prompt}, noto"}]},
    {"rateLimit": {"cost": {"dailyLimit": 5}}},
    {"replicas": 3},
    {"replicas": 0},
    {"autoscaling": {"min": 0, "max": 6}},
    {"rollout": {"strategy": "InPlace"}},
    {"ui": {"title": "Try it"}},
]


@pytest.mark.parametrize("change", LIVE, ids=str)
def test_what_changes_while_serving_touches_neither_pods_nor_arguments(change: dict[str, Any]) -> None:
    gallery = Gallery()
    gallery.serve()
    before, images = gallery.ray_service, gallery.images
    gallery.restart(OTHER)
    gallery.change(**change)
    after = gallery.ray_service
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    for part in ("rayClusterConfig", "serveService"):
        assert after["spec"][part] == before["spec"][part]
    assert gallery.images["args"] == images["args"]


def test_an_adapter_reaches_the_registry_alone() -> None:
    gallery = Gallery()
    gallery.serve()
    before = gallery.serve_config
    gallery.change(adapters=[URI])
    assert gallery.options("Registry")["user_config"]["adapters"] == [{"name": "style", "uri": "s3://bucket/style"}]
    for config in (before, after := gallery.serve_config):
        registry = next(one for one in config["applications"][0]["deployments"] if one["name"] == "Registry")
        del registry["user_config"]
    assert after == before


def test_replicas_are_options_of_the_engines() -> None:
    gallery = Gallery(replicas=2)
    assert gallery.options("Engine")["num_replicas"] == 2
    gallery.change(replicas=5)
    assert gallery.options("Engine")["num_replicas"] == 5
    gallery.change(replicas=None, autoscaling={"min": 1, "max": 4})
    scale = gallery.options("Engine")
    assert "num_replicas" not in scale
    assert (scale["autoscaling_config"]["min_replicas"], scale["autoscaling_config"]["max_replicas"]) == (1, 4)
    gallery.change(replicas=0, autoscaling=None)
    assert gallery.options("Registry")["user_config"]["replicas"] == 0


def test_the_page_comes_and_goes_in_pods_that_stay() -> None:
    gallery = Gallery(ui={"enabled": False})
    gallery.serve()
    before = gallery.ray_service["spec"]["rayClusterConfig"]
    assert "Page" not in {one["name"] for one in gallery.images["deployments"]}
    gallery.change(ui={"title": "Try it"})
    assert gallery.options("Page")["user_config"]["title"] == "Try it"
    assert "node:__internal_head__" in gallery.options("Page")["ray_actor_options"]["resources"]
    gallery.change(ui={"enabled": False})
    assert "Page" not in {one["name"] for one in gallery.images["deployments"]}
    assert gallery.images["args"]["ui"] == {"enabled": False}
    assert gallery.ray_service["spec"]["rayClusterConfig"] == before


def test_an_operator_with_other_defaults_writes_nothing() -> None:
    gallery = Gallery(adapters=[URI])
    gallery.serve()
    assert gallery.writes(lambda: gallery.restart(OTHER)) == []


def test_arguments_change_in_pods_that_stay() -> None:
    gallery = Gallery()
    gallery.serve()
    before = gallery.ray_service["spec"]["rayClusterConfig"]
    gallery.restart(OTHER)
    gallery.change(slots=16)
    assert gallery.images["args"]["slots"] == 16
    assert gallery.ray_service["spec"]["rayClusterConfig"] == before


PODS: list[dict[str, Any]] = [
    {"resources": {"cpus": 3}},
    {"pods": {"image": "own:3"}},
    {"pods": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}},
    {"modelCache": {"pvc": {"claimName": "weights"}}},
    {"auth": {"apiKeys": {"name": "keys", "key": "API_KEYS"}}},
    {"endpoints": {"http": {"port": 80}}},
    {"endpoints": {"grpc": {"enabled": False}}},
    {"endpoints": {"compatible": {"enabled": True}}},
    {"adapters": [{"name": "style", "uri": "/mnt/claims/runs/art/style-0123abcd/artifact"}]},
]


@pytest.mark.parametrize("change", PODS, ids=str)
def test_a_change_of_what_pods_are_made_of_brings_a_new_cluster_with_the_defaults_of_now(
    change: dict[str, Any],
) -> None:
    gallery = Gallery()
    gallery.serve()
    before = gallery.ray_service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
    gallery.restart(OTHER)
    gallery.change(**change)
    after = gallery.ray_service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
    assert after["metadata"]["annotations"] != before["metadata"]["annotations"]
    image = after["spec"]["containers"][0]["image"]
    assert image == change.get("pods", {}).get("image", "ray:2")


def test_once_a_change_is_in_nothing_is_written_any_more() -> None:
    gallery = Gallery(adapters=[URI], replicas=2)
    gallery.serve()
    gallery.change(replicas=3)
    gallery.play("Running")
    gallery.world.wait(SETTLED_S)
    assert gallery.status["phase"] == "Ready"
    assert gallery.writes(lambda: gallery.world.wait(3600)) == []
    assert gallery.writes(lambda: gallery.restart(gallery.world.defaults)) == []


def test_an_edit_by_other_hands_is_put_right() -> None:
    gallery = Gallery()
    gallery.serve()
    found = gallery.ray_service
    cluster = found["spec"]["rayClusterConfig"]
    gallery.world.memory.put(
        {**found, "spec": {**found["spec"], "rayClusterConfig": cluster | {"rayVersion": "2.1.0"}}}
    )
    gallery.world.settle()
    assert gallery.ray_service["spec"]["rayClusterConfig"]["rayVersion"] == "2.60.0"


def test_the_account_policy_and_budget_are_there_before_the_pods() -> None:
    gallery = Gallery(endpoints={"http": {"ingressHost": "noto.example.org"}})
    made = [write.split()[1] for write in gallery.world.memory.writes if write.startswith("apply")]
    assert made == ["ServiceAccount", "NetworkPolicy", "PodDisruptionBudget", "Ingress", "RayService"]
    gallery.change(endpoints={})
    assert gallery.get(kinds.INGRESS, "noto-images") is None
