"""The examples for GPUs are sound, and become pods that ask for a GPU and go where GPUs are."""

from pathlib import Path
from typing import Any

import pytest

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.finetunejob import FineTuneJob
from diptych_api.yaml_reader import read_resource
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.rayjob import ray_job
from diptych_operator.manifests.rayservice import ray_service

GPU = Path(__file__).resolve().parents[2] / "examples" / "gpu"
DEFAULTS = Defaults(image="diptych/ray")


def cluster(name: str) -> Manifest:
    """Return the Ray cluster that the operator makes of an example."""
    example = read_resource(GPU / name)
    stored = {"metadata": example.metadata.model_copy(update={"namespace": "art", "uid": "u"})}
    if isinstance(example, FineTuneJob):
        found: Manifest = ray_job(example.model_copy(update=stored), 1, DEFAULTS)["spec"]["rayClusterSpec"]
        return found
    assert isinstance(example, DiffusionDeployment)
    served: Manifest = ray_service(example.model_copy(update=stored), [], DEFAULTS)["spec"]["rayClusterConfig"]
    return served


def asked(template: Manifest) -> Any:
    return template["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")


@pytest.mark.parametrize("name", ["style.yaml", "serving.yaml"])
def test_workers_ask_for_a_gpu_on_nodes_that_are_kept_for_them(name: str) -> None:
    worker = cluster(name)["workerGroupSpecs"][0]
    assert asked(worker["template"]) == worker["rayStartParams"]["num-gpus"] == "1"
    assert worker["template"]["spec"]["nodeSelector"] == {
        "kubernetes.io/arch": "amd64",
        "nvidia.com/gpu.product": "NVIDIA-L4",
    }
    assert worker["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"


@pytest.mark.parametrize("name", ["style.yaml", "serving.yaml"])
def test_heads_take_no_gpu_and_may_run_on_any_type_of_node(name: str) -> None:
    head = cluster(name)["headGroupSpec"]["template"]
    assert asked(head) is None
    assert "nvidia.com/gpu.product" not in head["spec"]["nodeSelector"]
