"""Replicas that come, go, are replaced, or do not start. The tests follow one another: each begins where one ended."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from ray import serve

from diptych_api import enginescale
from diptych_api.diffusiondeployment import Autoscaling, ReplicaResources
from diptych_api.serveconfig import APPLICATION, ENGINE
from diptych_serving.local import drain
from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub
from support.processes import descendants
from support.real_deployment import DOG, Deployment, engines
from support.waiting import until

pytestmark = [pytest.mark.deployed, pytest.mark.timeout(600)]
MUCH = {"prompt": "a dog", "seed": 7, "steps": 150, "n": 8}
QUICK = Autoscaling(min=1, max=2, target_work_units=10, scale_up_after_seconds=1, scale_down_after_seconds=1)


def replicas() -> set[int]:
    """Return the processes of the replicas of all its parts."""
    return set(descendants(f"ServeReplica:{APPLICATION}:", os.getpid()))


def until_running(count: int) -> None:
    """Wait for so many engine replicas."""

    def running() -> bool:
        states = serve.status().applications[APPLICATION].deployments[ENGINE].replica_states
        return states.get("RUNNING", 0) == count  # type: ignore[call-overload,no-any-return]

    until(running, 120, every_s=0.2)


def test_another_number_of_replicas_leaves_those_that_draw_alone(deployment: Deployment) -> None:
    before = replicas()
    deployment.scale(replicas=1)
    until(lambda: len(engines()) == 1, 120, every_s=0.2)
    left = replicas()
    assert left < before
    deployment.scale(replicas=2)
    until_running(2)
    assert left < replicas()


def test_replicas_that_are_replaced_finish_their_pictures(
    deployment: Deployment, stub: ImageServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = pb.Params(prompt="a dog", seed=7, steps=300)
    streams = [stub.GenerateStream(pb.GenerateRequest(params=params), timeout=120) for _ in range(4)]
    for stream in streams:
        assert next(stream).WhichOneof("kind") == "progress"
    before = engines()
    monkeypatch.setattr(enginescale, "LOOK_BACK_S", 11.0)
    deployment.scale(autoscaling=QUICK)
    assert [list(stream)[-1].WhichOneof("kind") for stream in streams] == ["pictures"] * 4
    until(lambda: not set(before) & set(engines()), 120, every_s=0.2)


def test_load_brings_a_second_replica_and_quiet_takes_it_away(deployment: Deployment) -> None:
    stop, answers = threading.Event(), list[int]()

    def load() -> None:
        with httpx2.Client(base_url=deployment.url, timeout=300) as client:
            while not stop.is_set():
                answers.append(client.post("/v1/generate", json=MUCH).status_code)

    until_running(1)
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


def test_a_deployment_that_ends_finishes_what_it_has(deployment: Deployment) -> None:
    """More pictures than a client has at once, as a job and as a request that waits; who comes later may try again."""
    grid = {"prompts": ["a dog"], "seeds": list(range(12)), "arms": [{}], "steps": 40}
    job = deployment.client.post("/v1/jobs", json={"grid": grid}).headers["location"]
    with ThreadPoolExecutor(2) as pool:
        request = pool.submit(deployment.post, "/v1/grids", grid)
        deployment.until(lambda answer: answer.json()["step"] > 0, job)
        ended = pool.submit(drain, 120)
        late = deployment.until(lambda answer: answer.status_code == 503, "/ready")
        assert not late.json()["ready"]
        refused = deployment.client.post("/v1/generate", json=DOG)
        assert (refused.status_code, refused.json()["reason"]) == (503, "Draining")
        ended.result()
        assert len(request.result(timeout=30)["rows"]) == 12
    assert deployment.client.get(job).json()["state"] == "Succeeded"


def notes_of(answer: Any) -> list[str]:
    """Return the notes of /ready, or none while the gateway is being replaced."""
    is_ours = answer.headers.get("content-type") == "application/json"
    return list(answer.json()["notes"]) if is_ours else []


def test_what_no_node_has_room_for_is_told(deployment: Deployment) -> None:
    deployment.change(resources=ReplicaResources(cpus=500))
    told = "No node of the Ray cluster has CPU 500"
    deployment.until(lambda answer: any(told in note for note in notes_of(answer)), "/ready")


def test_a_deployment_of_no_replicas_says_so(deployment: Deployment) -> None:
    deployment.change(replicas=0)
    deployment.until(lambda answer: any("spec.replicas is 0" in note for note in notes_of(answer)), "/ready")
    deployment.until(lambda _: not engines(), "/health")
    answer = deployment.client.post("/v1/generate", json=DOG)
    assert (answer.status_code, answer.json()["reason"]) == (503, "NoReplicas")


def test_ready_says_why_no_engine_starts(deployment: Deployment) -> None:
    deployment.change(backend="TensorRT")
    told = deployment.until(lambda answer: any("TensorRT" in note for note in notes_of(answer)), "/ready")
    assert (told.status_code, told.json()["ready"]) == (503, False)
    words = "UnsupportedHere: spec.backend: TensorRT is not there yet. Set PyTorch, or ONNX on CPUs."
    assert words in notes_of(told)
