"""The whole application on a real Ray Serve: two engine replicas, a gateway, a registry, a limiter."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from ray.serve import Application

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.errors import SpecInvalid
from diptych_api.serveconfig import APPLICATION
from diptych_api.servingconfig import RegistryConfig, ServingConfig, registry_config, serving_config, wire
from diptych_serving.app import build
from diptych_serving.local import apply, served, wait_until_ready
from support.adapters import saved_adapter
from support.processes import descendants
from support.services import picture_of
from support.tiny_models import make_pipeline

ENGINE = f"ServeReplica:{APPLICATION}:Engine"
PORT = 18461
DOG = {"prompt": "a dog", "seed": 7}
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@dataclass
class Deployment:
    """The deployment, and a client of it."""

    url: str
    config: ServingConfig
    spec: dict[str, Any]
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(base_url=self.url, timeout=60)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        values: dict[str, Any] = answer.json()
        return values

    def follow(self, **values: Any) -> None:
        """Change what the registry holds, as a change of its user_config does on a cluster."""
        followed = RegistryConfig.model_validate({**self.spec, **values})
        apply(self.config, followed, host="127.0.0.1")

    def until(self, condition: Any, path: str) -> dict[str, Any]:
        """Ask again and again until an answer meets the condition."""
        deadline = time.monotonic() + 60
        while not condition(answer := self.client.get(path)):
            assert time.monotonic() < deadline, f"{path} still answers {answer.text}"
            time.sleep(0.1)
        values: dict[str, Any] = answer.json()
        return values


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a base and of an adapter for it."""
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    return base, saved_adapter(tmp_path_factory.mktemp("style"), base)


@pytest.fixture(scope="module")
def deployment(style: tuple[Path, Path]) -> Iterator[Deployment]:
    base, adapter = style
    followed = {
        "adapters": [{"name": "style", "uri": str(adapter)}],
        "defaults": {"steps": 3, "guidanceScale": 2},
        "limits": {"maxSteps": 1000},
    }
    spec = DiffusionDeploymentSpec.model_validate(
        {
            "base": {"uri": str(base)},
            "replicas": 2,
            "resources": {"cpus": 1},
            "endpoints": {"http": {"port": PORT}},
            **followed,
        }
    )
    config = serving_config("test", None, spec)
    adapters = RegistryConfig.model_validate(followed).adapters
    with served(config, registry_config(spec, adapters), host="127.0.0.1") as url:
        wait_until_ready(url, lambda _: None)
        deployment = Deployment(url, config, followed)
        with deployment.client:
            yield deployment


def engines() -> list[int]:
    return descendants(ENGINE, os.getpid())


def test_both_replicas_draw_the_same_picture_and_compare_agrees(deployment: Deployment) -> None:
    deployment.until(lambda answer: answer.status_code == 200 and answer.json()["replicas"] == 2, "/ready")
    pictures = [picture_of(deployment.post("/v1/generate", DOG)["images"][0]["image"]) for _ in range(6)]
    both = [picture_of(image["image"]) for image in deployment.post("/v1/compare", DOG)["images"]]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert np.abs(both[0].astype(int) - pictures[0]).max() <= 1
    assert not np.array_equal(both[0], both[1])


def test_a_new_adapter_and_a_new_limit_restart_no_engine(deployment: Deployment, style: tuple[Path, Path]) -> None:
    before = engines()
    assert len(before) == 2
    stop, failures = threading.Event(), list[dict[str, Any]]()

    def load() -> None:
        while not stop.is_set():
            answer = deployment.client.post("/v1/generate", json=DOG)
            if answer.status_code != 200:
                failures.append(answer.json())

    thread = threading.Thread(target=load)
    thread.start()
    try:
        uri = str(style[1])
        deployment.follow(adapters=[{"name": "style", "uri": uri}, {"name": "second", "uri": uri}])
        deployment.until(lambda answer: answer.json()["adapters"].get("second", {}).get("state") == "Loaded", "/ready")
        assert deployment.post("/v1/generate", {**DOG, "adapter": "second"})["images"][0]["adapter"] == "second"
        deployment.follow(rateLimit={"total": {"maxRequestsPerHour": 1}})
        deployment.until(lambda _: bool(failures), "/health")
    finally:
        stop.set()
        thread.join()
        deployment.follow()
    assert {failure["reason"] for failure in failures} == {"TotalRequestsPerHour"}
    assert engines() == before
    deployment.until(lambda _: deployment.client.post("/v1/generate", json=DOG).status_code == 200, "/health")


def test_a_killed_engine_costs_clients_only_retriable_answers(deployment: Deployment) -> None:
    stop, answers = threading.Event(), list[int]()

    def load() -> None:
        with httpx2.Client(base_url=deployment.url, timeout=60) as client:
            while not stop.is_set():
                answers.append(client.post("/v1/generate", json={**DOG, "steps": 20}).status_code)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        deployment.until(lambda _: len(answers) >= 4, "/health")
        victim = engines()[0]
        os.kill(victim, signal.SIGKILL)
        deployment.until(lambda _: victim not in engines() and len(engines()) == 2, "/health")
        seen = len(answers)
        deployment.until(lambda _: len(answers) >= seen + 8, "/health")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) <= {200, 503}
    assert answers[-1] == 200
    deployment.until(lambda answer: answer.json()["ready"] is True, "/ready")


def test_a_client_that_goes_away_gives_its_rows_back(deployment: Deployment) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        deployment.client.post("/v1/generate", json={**DOG, "steps": 900, "n": 8}, timeout=1.0)
    timing = deployment.post("/v1/generate", DOG)["timing"]
    assert timing["queue_ms"] < 20_000


@pytest.mark.parametrize(("args", "message"), [({"name": "x"}, "args.base: Field required"), ({"nme": "x"}, "args.")])
def test_arguments_that_ray_would_take_in_silence_are_refused(args: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecInvalid, match=message):
        build(args)


def test_the_wire_form_of_a_configuration_builds(style: tuple[Path, Path]) -> None:
    spec = DiffusionDeploymentSpec.model_validate({"base": {"uri": str(style[0])}, "autoscaling": {"min": 0, "max": 2}})
    assert isinstance(build(wire(serving_config("x", None, spec))), Application)
