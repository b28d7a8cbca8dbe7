"""The files of the reference systems: sound, true to what their systems did, and pods with GPUs on Kubernetes."""

from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator

from diptych_api.crd import DEFINITIONS, resource_schema
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.rayjob import ray_job
from diptych_operator.manifests.rayservice import ray_service
from diptych_training.suites import prompts_of
from support.recorded_run import diptych
from support.reference_systems import REFERENCE, ROOT, SYSTEMS, deployment_of, job_of

FILES = sorted(REFERENCE.glob("*/*.yaml"))
SCHEMAS = {definition.kind: resource_schema(definition) for definition in DEFINITIONS}
STORED = {"namespace": "art", "uid": "u"}
DEFAULTS = Defaults(image="diptych/ray")


def resolved(system: str) -> FineTuneJobSpec:
    return resolve(job_of(system).spec)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_is_valid_here_and_for_the_api_server(path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    validated = diptych("validate", path.relative_to(ROOT))
    assert validated.exit_code == 0, validated.stderr
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    Draft4Validator(SCHEMAS[values["kind"]]).validate(values)


def test_every_system_has_a_job_and_a_deployment() -> None:
    assert {(path.parent.name, path.name) for path in FILES} == {
        (system, name) for system in SYSTEMS for name in ("job.yaml", "serving.yaml")
    }


@pytest.mark.parametrize(
    ("system", "method", "length", "batch", "rate", "pixels"),
    [
        ("astronomy", "LoRA", 3000, 4, 1e-4, 512),
        ("everyday", "FullUNet", "3 epochs", 8, 1e-6, 128),
        ("flowers", "FromScratch", "20 epochs", 8, 1e-4, 128),
        ("flickr30k", "LoRA", 1000, 1, 1e-4, 512),
        ("pencil", "LoRA", "30 epochs", 1, 1e-4, 512),
    ],
)
def test_a_job_learns_as_its_system_did(
    system: str, method: str, length: object, batch: int, rate: float, pixels: int
) -> None:
    spec = resolved(system)
    training = spec.training
    assert (spec.method, training.batch_size, training.learning_rate) == (method, batch, rate)
    assert length in (training.steps, f"{training.epochs} epochs")
    assert spec.dataset.image.size == pixels


@pytest.mark.parametrize(("system", "rank", "alpha"), [("astronomy", 16, 16), ("flickr30k", 4, 4), ("pencil", 8, 16)])
def test_an_adapter_has_the_shape_of_its_system(system: str, rank: int, alpha: float) -> None:
    lora = resolved(system).lora
    assert (lora.rank, lora.alpha) == (rank, alpha)
    assert set(lora.target_modules) == {"to_q", "to_k", "to_v", "to_out.0"}


def test_questions_are_those_of_the_systems() -> None:
    assert job_of("astronomy").spec.training.samples.prompts == list(prompts_of("astronomy"))
    assert job_of("pencil").spec.evaluation.prompts == list(prompts_of("neon-cat") * 16)
    for system, suite in (("astronomy", "astronomy"), ("everyday", "everyday"), ("flowers", "flowers")):
        assert deployment_of(system).spec.examples == list(prompts_of(suite))


def test_a_base_that_draws_in_few_steps_is_asked_so() -> None:
    asked, served = resolved("pencil").evaluation, deployment_of("pencil").spec.defaults
    assert (asked.inference_steps, asked.guidance_scale) == (served.steps, served.guidance_scale) == (4, 0)


def cluster(system: str) -> Manifest:
    job = job_of(system)
    stored = job.model_copy(update={"metadata": job.metadata.model_copy(update=STORED)})
    found: Manifest = ray_job(stored, 1, DEFAULTS)["spec"]["rayClusterSpec"]
    return found


@pytest.mark.parametrize("system", SYSTEMS)
def test_on_kubernetes_every_worker_of_a_job_asks_for_a_gpu(system: str) -> None:
    (workers,) = cluster(system)["workerGroupSpecs"]
    assert workers["replicas"] == job_of(system).spec.resources.workers
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"


def test_flowers_go_to_spot_machines_and_have_time_to_save() -> None:
    pod = cluster("flowers")["workerGroupSpecs"][0]["template"]["spec"]
    assert pod["nodeSelector"]["nvidia.com/gpu.product"] == "Tesla-T4"
    assert {"key": "spot", "operator": "Exists"} in pod["tolerations"]
    assert pod["terminationGracePeriodSeconds"] == 110


@pytest.mark.parametrize("system", SYSTEMS)
def test_on_kubernetes_engines_ask_for_a_gpu_but_for_flowers_which_draw_on_cpus(system: str) -> None:
    deployment = deployment_of(system)
    stored = deployment.model_copy(update={"metadata": deployment.metadata.model_copy(update=STORED)})
    (engines,) = ray_service(stored, [], DEFAULTS)["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    limits = engines["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits.get("nvidia.com/gpu") == (None if system == "flowers" else "1")
    assert engines["minReplicas"] == 0 or system != "astronomy", "without visitors it gives its GPU back"


def test_astronomy_keeps_the_ports_of_old() -> None:
    older = deployment_of("astronomy").spec.endpoints.compatible
    assert (older.enabled, older.port, older.ping_port) == (True, 7861, 8080)
