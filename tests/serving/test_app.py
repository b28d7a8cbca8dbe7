"""The whole application on a real Ray Serve: two engine replicas, a gateway, a registry, a limiter."""

import base64
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx2
import numpy as np
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from ray.serve import Application
from ray.serve.generated.serve_pb2 import HealthzRequest  # type: ignore[attr-defined]  # made when it is imported
from ray.serve.generated.serve_pb2_grpc import RayServeAPIServiceStub

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec, ReplicaResources
from diptych_api.errors import RunFailed, SpecInvalid
from diptych_api.serveconfig import APPLICATION
from diptych_api.servingconfig import RegistryConfig, ServingConfig, registry_config, serving_config, wire
from diptych_serving.app import build
from diptych_serving.local import _check_gpus, apply, served, wait_until_ready
from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub
from support.adapters import saved_adapter
from support.processes import descendants
from support.services import picture_of
from support.sse import events_in
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

    def until(self, condition: Any, path: str) -> httpx2.Response:
        """Ask again and again until an answer meets the condition; a gateway that is being replaced may be silent."""
        deadline, told = time.monotonic() + 180, "nothing"
        while time.monotonic() < deadline:
            with suppress(httpx2.TransportError):
                answer = self.client.get(path)
                told = answer.text
                if condition(answer):
                    return answer
            time.sleep(0.1)
        raise AssertionError(f"{path} still answers {told}")


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
            "endpoints": {"http": {"port": PORT}, "grpc": {"port": PORT + 1, "reflection": True}},
            "ui": {"enabled": False},
            **followed,
        }
    )
    config = serving_config("test", None, spec)
    adapters = RegistryConfig.model_validate(followed).adapters
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_SERVE_SLOW_STARTUP_WARNING_S", "3")
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
    for scale in ({"autoscaling": {"min": 0, "max": 2, "targetWorkUnits": 5}}, {"replicas": 0}, {"replicas": 3}):
        spec = DiffusionDeploymentSpec.model_validate({"base": {"uri": str(style[0])}, **scale})
        assert isinstance(build(wire(serving_config("x", None, spec))), Application)


def test_a_hundred_threads_never_over_admit(deployment: Deployment, tmp_path: Path) -> None:
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


def test_gpus_that_are_not_there_are_told_at_once(deployment: Deployment) -> None:
    wanted = deployment.config.model_copy(update={"resources": ReplicaResources(gpus=1)})
    with pytest.raises(RunFailed, match="The engine replicas need 2 GPUs; there are 0 here"):
        _check_gpus(wanted)


@pytest.fixture(scope="module")
def stub(deployment: Deployment) -> Iterator[ImageServiceStub]:
    with grpc.insecure_channel(f"127.0.0.1:{deployment.config.endpoints.grpc.port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        yield ImageServiceStub(channel)


def test_grpc_and_http_draw_the_same(deployment: Deployment, stub: ImageServiceStub) -> None:
    arms = [pb.Arm(), pb.Arm(adapter="style")]
    answer = stub.Compare(pb.CompareRequest(params=pb.Params(prompt="a dog", seed=7), arms=arms, grid=True), timeout=60)
    http = deployment.post("/v1/compare", {**DOG, "arms": [{}, {"adapter": "style"}]})
    assert [base64.b64encode(image.image).decode() for image in answer.images] == [i["image"] for i in http["images"]]
    assert answer.grid.startswith(b"\x89PNG")
    assert answer.images[1].adapter_digest == http["images"][1]["adapter_digest"]
    assert [model.id for model in stub.ListModels(pb.ListModelsRequest()).models][1:] == ["style"]


def test_a_stream_tells_progress_and_previews_and_ends_in_the_pictures(stub: ImageServiceStub) -> None:
    params = pb.Params(prompt="a dog", seed=7, steps=6, preview_every=2)
    events = list(stub.GenerateStream(pb.GenerateRequest(params=params, n=2), timeout=60))
    kinds = [event.WhichOneof("kind") for event in events]
    steps = [event.progress.step for event in events if event.HasField("progress") and event.progress.picture == 0]
    assert steps == sorted(steps)
    assert steps[-1] == 6
    assert "preview" in kinds
    assert kinds[-1] == "pictures"
    assert [image.seed for image in events[-1].pictures.images] == [7, 8]


def test_a_grpc_error_has_code_reason_field_and_hint(stub: ImageServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Generate(pb.GenerateRequest(params=pb.Params(prompt="owl", scheduler="Magic")), timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = {part.type_url.rpartition(".")[2]: part for part in status_of(caught.value).details}
    assert set(details) == {"ErrorInfo", "BadRequest"}
    bad = BadRequest()
    details["BadRequest"].Unpack(bad)
    assert [violation.field for violation in bad.field_violations] == ["scheduler"]
    with pytest.raises(grpc.RpcError) as missing:
        stub.Compare(pb.CompareRequest(params=pb.Params(prompt="owl"), arms=[pb.Arm(adapter="nix")]), timeout=60)
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    assert "there is no adapter nix. There are: style." in (missing.value.details() or "")


def test_a_stream_that_fails_ends_with_the_same_error(stub: ImageServiceStub) -> None:
    call = stub.CompareStream(pb.CompareRequest(params=pb.Params(prompt="owl", steps=5000)), timeout=60)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert status_of(caught.value).details[0].type_url.endswith("ErrorInfo")


def status_of(error: Any) -> Status:
    trailers = dict(error.trailing_metadata())
    return Status.FromString(trailers["grpc-status-details-bin"])


def test_grpc_tells_its_health_and_its_methods(deployment: Deployment) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{deployment.config.endpoints.grpc.port}") as channel:
        assert RayServeAPIServiceStub(channel).Healthz(HealthzRequest(), timeout=30).message == "success"
        known = ProtoReflectionDescriptorDatabase(channel)
        assert "diptych.v1.ImageService" in known.get_services()
        file = known.FindFileContainingSymbol("diptych.v1.ImageService")
    assert {method.name for method in file.service[0].method} >= {"Generate", "CompareStream", "ListModels"}


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


def test_an_idempotency_key_draws_once_over_both_protocols(deployment: Deployment, stub: ImageServiceStub) -> None:
    headers = {"Idempotency-Key": "one"}
    first, again = (
        deployment.client.post("/v1/generate", json={"prompt": "a dog"}, headers=headers).json() for _ in range(2)
    )
    assert first == again
    other = deployment.client.post("/v1/generate", json={"prompt": "a cat"}, headers=headers)
    assert (other.status_code, other.json()["reason"]) == (409, "IdempotencyKeyReused")
    request = pb.GenerateRequest(params=pb.Params(prompt="a dog"), idempotency_key="two")
    seeds = {stub.Generate(request).images[0].seed for _ in range(2)}
    assert len(seeds) == 1


def test_four_figures_count_both_protocols(deployment: Deployment, stub: ImageServiceStub) -> None:
    before = deployment.client.get("/metrics-lite").json()
    assert before.keys() == {"requests_total", "infer_total", "sessions_total", "last_request_at"}
    deployment.post("/v1/generate", DOG)
    stub.Generate(pb.GenerateRequest(params=pb.Params(prompt="a dog")))
    counted = deployment.until(lambda a: a.json()["infer_total"] >= before["infer_total"] + 2, "/metrics-lite").json()
    assert counted["requests_total"] == before["requests_total"] + 2
    assert counted["last_request_at"] >= (before["last_request_at"] or 0)


def test_one_page_has_the_figures_of_all_replicas(deployment: Deployment) -> None:
    deployment.post("/v1/compare", DOG)
    deployment.until(lambda answer: len(figures(answer.text, "ray_diptych_engine_rows")) >= 2, "/metrics")
    deployment.until(lambda answer: drawn_by("style", answer.text) >= 1, "/metrics")


def figures(page: str, name: str) -> list[Sample]:
    return [s for family in text_string_to_metric_families(page) for s in family.samples if s.name == name]


def drawn_by(adapter: str, page: str) -> float:
    found = figures(page, "ray_diptych_pictures_total")
    return sum(sample.value for sample in found if sample.labels["adapter"] == adapter)


def notes_of(answer: Any) -> list[str]:
    """Return the notes of /ready, or none while the gateway is being replaced."""
    is_ours = answer.headers.get("content-type") == "application/json"
    return list(answer.json()["notes"]) if is_ours else []


def test_replicas_that_are_replaced_finish_their_pictures_and_what_does_not_start_is_told(
    deployment: Deployment, stub: ImageServiceStub
) -> None:
    params = pb.Params(prompt="a dog", seed=7, steps=300)
    streams = [stub.GenerateStream(pb.GenerateRequest(params=params), timeout=120) for _ in range(4)]
    for stream in streams:
        assert next(stream).WhichOneof("kind") == "progress"
    impossible = deployment.config.model_copy(update={"resources": ReplicaResources(cpus=500)})
    apply(impossible, RegistryConfig.model_validate(deployment.spec), host="127.0.0.1")
    assert [list(stream)[-1].WhichOneof("kind") for stream in streams] == ["pictures"] * 4
    deployment.until(lambda answer: any("to be scheduled" in note for note in notes_of(answer)), "/ready")


def test_a_deployment_of_no_replicas_says_so(deployment: Deployment) -> None:
    none = deployment.config.model_copy(update={"replicas": 0})
    apply(none, RegistryConfig.model_validate(deployment.spec), host="127.0.0.1")
    deployment.until(lambda answer: any("spec.replicas is 0" in note for note in notes_of(answer)), "/ready")
    deployment.until(lambda _: not engines(), "/health")
    answer = deployment.client.post("/v1/generate", json=DOG)
    assert (answer.status_code, answer.json()["reason"]) == (503, "NoReplicas")
