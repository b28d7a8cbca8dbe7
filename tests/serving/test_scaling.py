"""Replicas follow the work that is left."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from diptych_api import enginescale
from diptych_api.diffusiondeployment import Autoscaling, DiffusionDeploymentSpec
from diptych_api.serveconfig import APPLICATION, ENGINE
from diptych_api.servingconfig import RegistryConfig, ServingConfig, serving_config
from diptych_serving.local import _start_ray, _wait_until_running, apply, wait_until_ready
from diptych_serving.scaling import WORK_LEFT, WorkPolicy
from support.processes import descendants
from support.tiny_models import make_pipeline

PORT = 18471
REPLICA = f"ServeReplica:{APPLICATION}:"
MUCH = {"prompt": "a dog", "seed": 7, "steps": 150, "n": 8}
QUICK = {"UPSCALE_DELAY_S": 0.5, "DOWNSCALE_DELAY_S": 1.0, "LOOK_BACK_S": 11.0}


def context(left: dict[str, float] | None, requests: float) -> AutoscalingContext:
    """Return what Ray Serve hands to a policy."""
    values: dict[str, Any] = dict.fromkeys(
        ("deployment_id", "last_scale_up_time", "last_scale_down_time", "current_time")
    )
    return AutoscalingContext(
        deployment_name=ENGINE,
        app_name=APPLICATION,
        current_num_replicas=1,
        target_num_replicas=1,
        running_replicas=[],
        total_num_requests=requests,
        total_queued_requests=0,
        aggregated_metrics=None if left is None else {WORK_LEFT: left},  # type: ignore[dict-item]
        raw_metrics=None,
        capacity_adjusted_min_replicas=0,
        capacity_adjusted_max_replicas=8,
        policy_state={},
        config=AutoscalingConfig(),
        **values,
    )


@pytest.mark.parametrize(
    ("left", "requests", "replicas"),
    [
        ({"a": 300.0, "b": 500.0}, 3, 2.0),
        ({"a": 100.0}, 1, 1.0),
        ({"a": 0.0}, 0, 0.0),
        ({}, 2, 1.0),
        (None, 0, 0.0),
    ],
)
def test_there_are_as_many_replicas_as_the_work_needs(
    left: dict[str, float] | None, requests: float, replicas: float
) -> None:
    assert WorkPolicy(target_work_units=400)(context(left, requests)) == (replicas, {})


@dataclass
class Scaled:
    """An application whose replicas change."""

    url: str
    config: ServingConfig

    def scale(self, **values: Any) -> None:
        changed = {"replicas": None, "autoscaling": None} | values
        apply(self.config.model_copy(update=changed), RegistryConfig(), host="127.0.0.1")
        _wait_until_running(lambda _: None, time.sleep)
        wait_until_ready(self.url, lambda _: None)


@pytest.fixture
def scaled(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scaled]:
    """An application of one or two engine replicas that is quick to change its mind."""
    for name, value in QUICK.items():
        monkeypatch.setattr(enginescale, name, value)
    for who in ("REPLICA", "HANDLE"):
        monkeypatch.setenv(f"RAY_SERVE_{who}_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "0.5")
    values = {
        "base": {"uri": str(make_pipeline(tmp_path_factory.mktemp("base")))},
        "resources": {"cpus": 1},
        "endpoints": {"http": {"port": PORT}, "grpc": {"enabled": False}},
        "ui": {"enabled": False},
    }
    config = serving_config("scaled", None, DiffusionDeploymentSpec.model_validate(values))
    scaled = Scaled(f"http://127.0.0.1:{PORT}", config)
    _start_ray(config.model_copy(update={"replicas": 2}), None)
    try:
        scaled.scale(autoscaling=Autoscaling(min=1, max=2, target_work_units=10))
        yield scaled
    finally:
        serve.delete(APPLICATION)
        ray.shutdown()


def running() -> int:
    """Return how many engine replicas run."""
    return serve.status().applications[APPLICATION].deployments[ENGINE].replica_states.get("RUNNING", 0)  # type: ignore[call-overload,no-any-return]


def until_running(count: int) -> None:
    deadline = time.monotonic() + 120
    while running() != count:
        assert time.monotonic() < deadline, f"{running()} engine replicas run"
        time.sleep(0.1)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_load_brings_a_second_replica_and_quiet_takes_it_away(scaled: Scaled) -> None:
    stop, answers = threading.Event(), list[int]()

    def load() -> None:
        with httpx2.Client(base_url=scaled.url, timeout=300) as client:
            while not stop.is_set():
                answers.append(client.post("/v1/generate", json=MUCH).status_code)

    assert running() == 1
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        until_running(2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    until_running(1)
    assert set(answers) == {200}


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_another_number_of_replicas_leaves_those_that_draw_alone(scaled: Scaled) -> None:
    scaled.scale(replicas=1)
    before = descendants(REPLICA, os.getpid())
    scaled.scale(replicas=2)
    until_running(2)
    assert set(before) < set(descendants(REPLICA, os.getpid()))
    scaled.scale(replicas=1)
    until_running(1)
