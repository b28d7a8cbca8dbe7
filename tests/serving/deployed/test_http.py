"""HTTP, and what happens to clients while the deployment changes or loses an engine."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx2
import numpy as np
import openai
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from ray.serve import Application

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec, ReplicaResources
from diptych_api.errors import RunFailed, SpecInvalid
from diptych_api.servingconfig import serving_config, wire
from diptych_serving.app import build
from diptych_serving.local import _check_gpus
from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub
from support.real_deployment import DOG, Deployment, details_of, engines
from support.services import picture_of
from support.sse import events_in

pytestmark = [pytest.mark.deployed, pytest.mark.timeout(600)]


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
    for scale in ({"autoscaling": {"min": 0, "max": 2, "targetWorkUnits": 5}}, {"replicas": 0}, {"replicas": 3}):
        spec = DiffusionDeploymentSpec.model_validate({"base": {"uri": str(style[0])}, **scale})
        assert isinstance(build(wire(serving_config("x", None, spec))), Application)


def test_a_hundred_threads_never_over_admit(deployment: Deployment, stub: ImageServiceStub, tmp_path: Path) -> None:
    allowed, threads = 9, 100
    limits = {"total": {"maxRequestsPerDay": allowed}, "work": {"total": 10}, "store": str(tmp_path)}
    too_large = {**DOG, "steps": 60, "n": 8}
    together = threading.Barrier(threads)

    def ask(_: int) -> Any:
        with httpx2.Client(base_url=deployment.url, timeout=120) as client:
            together.wait(60)
            return client.post("/v1/generate", json=DOG)

    deployment.follow(rateLimit=limits)
    try:
        deployment.until(lambda _: deployment.client.post("/v1/generate", json=too_large).status_code == 429, "/health")
        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(ask, range(threads)))
        with pytest.raises(grpc.RpcError) as caught:
            stub.Generate(pb.GenerateRequest(params=pb.Params(prompt="a dog")), timeout=60)
        stored = tmp_path / "local.test.json"
        deployment.until(lambda _: stored.is_file() and f'"used":{allowed}.0' in stored.read_text(), "/health")
    finally:
        deployment.follow()
        deployment.until(lambda _: deployment.client.post("/v1/generate", json=DOG).status_code == 200, "/health")
    refused = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers].count(200) == allowed
    assert len(refused) == threads - allowed
    assert {answer.json()["reason"] for answer in refused} == {"TotalRequestsPerDay"}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    retry = RetryInfo()
    details_of(caught.value)["RetryInfo"].Unpack(retry)
    assert 0 < retry.retry_delay.seconds <= 24 * 3600


def test_openais_client_draws_what_generate_draws(deployment: Deployment) -> None:
    how = {"seed": 7, "num_inference_steps": 3, "guidance_scale": 2}
    with openai.OpenAI(base_url=f"{deployment.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.images.generate(prompt="a dog", model="style", extra_body=how)
    assert answer.data is not None
    ours = deployment.post("/v1/generate", {**DOG, "adapter": "style"})["images"][0]["image"]
    assert answer.data[0].b64_json == ours


def test_gpus_that_are_not_there_are_told_at_once(deployment: Deployment) -> None:
    wanted = deployment.config.model_copy(update={"resources": ReplicaResources(gpus=1)})
    with pytest.raises(RunFailed, match="The engine replicas need 2 GPUs; there are 0 here"):
        _check_gpus(wanted)


def test_a_job_goes_on_alone_tells_its_steps_and_can_be_cancelled(deployment: Deployment) -> None:
    answer = deployment.client.post("/v1/jobs", json={"compare": {**DOG, "steps": 60}})
    assert answer.status_code == 202, answer.text
    place = answer.headers["location"]
    with deployment.client.stream("GET", f"{place}/events") as stream:
        told = list(events_in(stream.iter_lines()))
    assert [values["step"] for name, values in told if name == "progress"][-1] == 60
    plain = deployment.post("/v1/compare", {**DOG, "steps": 60})
    assert told[-1][1]["images"] == plain["images"]
    assert deployment.client.get(place).json()["result"]["images"] == plain["images"]

    long = deployment.client.post("/v1/jobs", json={"generate": {**DOG, "steps": 900}}).headers["location"]
    deployment.until(lambda answer: answer.json()["step"] > 0, long)
    assert deployment.client.delete(long).json()["state"] == "Cancelled"
    assert deployment.client.get("/v1/jobs/nothing").status_code == 404


def test_one_page_has_the_figures_of_all_replicas(deployment: Deployment) -> None:
    deployment.post("/v1/compare", DOG)
    deployment.until(lambda answer: len(figures(answer.text, "ray_diptych_engine_rows")) >= 2, "/metrics")
    deployment.until(lambda answer: drawn_by("style", answer.text) >= 1, "/metrics")


def figures(page: str, name: str) -> list[Sample]:
    return [s for family in text_string_to_metric_families(page) for s in family.samples if s.name == name]


def drawn_by(adapter: str, page: str) -> float:
    found = figures(page, "ray_diptych_pictures_total")
    return sum(sample.value for sample in found if sample.labels["adapter"] == adapter)
