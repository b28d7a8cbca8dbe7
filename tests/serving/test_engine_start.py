"""An engine starts from a deployment's arguments, or says why it cannot."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.errors import DiptychError, UnsupportedHere
from diptych_api.servingconfig import ServingConfig
from diptych_diffusion import onnx_libraries
from diptych_diffusion.cache_folder import cache_folder
from diptych_diffusion.drawing_settings import Settings
from diptych_serving.engine_start import build_drawer
from diptych_serving.image_request import Arm, ImageRequest
from diptych_serving.starting import reason_of
from diptych_serving.supported import check_supported, ignored
from support.adapters import random_adapter
from support.engines import draw
from support.hub import COMMIT, REPO, hub_of, impatient
from support.tiny_models import add_checker, make_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a graph takes minutes to make on a busy machine


def config(folder: Path, **values: Any) -> ServingConfig:
    given = {"name": "test", "base": {"uri": str(folder)}, "resources": {"cpus": 1}, **values}
    return ServingConfig.model_validate(given)


@pytest.mark.parametrize("given", [None, 5])
def test_rows_are_as_configured_or_measured(tmp_path: Path, given: int | None) -> None:
    drawer, facts, _ = build_drawer(config(make_pipeline(tmp_path / "base"), maxRows=given), tmp_path)
    assert drawer.engine.max_rows == given or (given is None and drawer.engine.max_rows >= 4)
    assert (facts.name, facts.has_checker) == ("base", False)


def test_the_checker_of_the_base_is_used(tmp_path: Path) -> None:
    base = add_checker(make_pipeline(tmp_path / "base"), threshold=2)
    drawer, facts, start = build_drawer(config(base, maxRows=4), tmp_path)
    assert facts.has_checker
    assert min(start.weights_s, start.warmup_s) >= 0
    assert drawer.engine.decoder.checker is not None


def test_a_second_pod_with_the_same_cache_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "claim"))
    impatient(monkeypatch)
    with hub_of(make_pipeline(tmp_path / "hub")) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        wanted = config(tmp_path, base={"huggingFace": {"repo": REPO, "revision": COMMIT}}, maxRows=4)
        build_drawer(wanted, cache_folder())
        hub.refusal = 500
        build_drawer(wanted, cache_folder())


def test_onnx_runtime_draws_what_pytorch_draws(tmp_path: Path) -> None:
    base = make_pipeline(tmp_path / "base")
    request = ImageRequest("a dog", 7, Settings(64, 64, 3, 2.0), arms=(Arm(), Arm("style"), Arm("style", 0.5)))
    pictures = []
    for backend in ("ONNX", "PyTorch"):
        engine = build_drawer(config(base, maxRows=4, backend=backend), tmp_path)[0].engine
        engine.bank.load("style", random_adapter(base))
        assert (engine.bank.backend is not None) is (backend == "ONNX")
        with engine:
            (finished,) = draw(engine, [request])
        pictures.append(np.stack([image.picture for image in finished.images]).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    assert np.abs(pictures[0][0] - pictures[0][1]).max() > 10


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "TensorRT": ({"backend": "TensorRT"}, "spec.backend: TensorRT is not there yet. Set PyTorch, or ONNX on CPUs."),
    "ONNX on a GPU": (
        {"backend": "ONNX", "device": "cuda", "dtype": "bf16", "resources": {"gpus": 1}},
        (
            "spec.backend: ONNX draws on CPUs, in fp32. Set spec.device to cpu, not cuda, spec.dtype to fp32, "
            "not bf16, spec.resources.gpus to 0, not 1; or spec.backend to PyTorch."
        ),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_back_end_that_cannot_be_had_is_refused_by_name(tmp_path: Path, case: str) -> None:
    values, words = WRONG[case]
    with pytest.raises(UnsupportedHere) as caught:
        check_supported(DiffusionDeploymentSpec.model_validate({"base": {"uri": str(tmp_path)}, **values}))
    assert str(caught.value) == words
    with pytest.raises(UnsupportedHere) as caught:
        build_drawer(config(tmp_path, **values), tmp_path)
    assert str(caught.value) == words


def test_onnx_that_is_not_installed_is_told_by_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_libraries, "LIBRARIES", ("onnxruntime", "no_such_library"))
    told = "spec.backend: ONNX needs no_such_library. Install Diptych with its extra onnx."
    with pytest.raises(UnsupportedHere, match=re.escape(told)):
        build_drawer(config(tmp_path, backend="ONNX"), tmp_path)


FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "back-end": ({"backend": "TensorRT"}, "UnsupportedHere: spec.backend: TensorRT is not there yet."),
    "device": ({"device": "mps"}, "UnsupportedHere: There is no mps device here."),
    "base": ({"base": {"uri": "/no/such/base"}}, "BaseInvalid: The base /no/such/base is not a folder"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_start_that_fails_says_why(tmp_path: Path, case: str) -> None:
    values, words = FAILING[case]
    with pytest.raises(DiptychError) as caught:
        build_drawer(config(tmp_path, **values), tmp_path)
    assert reason_of(caught.value).startswith(words)


def test_what_changes_nothing_on_one_machine_is_told() -> None:
    adapter = {"name": "style", "uri": "s3://bucket/style", "credentials": {"name": "store"}}
    given = {"base": {"builtin": "tiny-emoji"}, "resources": {"memory": "4Gi"}, "adapters": [adapter]}
    told = ignored(DiffusionDeploymentSpec.model_validate(given))
    assert told == [
        "spec.resources.memory has no effect on one machine.",
        "spec.adapters: the credentials of style name a Secret of a cluster; here the environment has them.",
    ]
