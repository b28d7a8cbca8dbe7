"""An engine starts from a deployment's arguments, or says why it cannot."""

from pathlib import Path
from typing import Any

import pytest

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.errors import DiptychError, UnsupportedHere
from diptych_api.servingconfig import ServingConfig
from diptych_diffusion.cache_folder import cache_folder
from diptych_serving.devices import choose_device
from diptych_serving.engine_start import build_drawer
from diptych_serving.starting import reason_of
from diptych_serving.supported import check_supported, ignored
from support.hub import COMMIT, REPO, hub_of, impatient
from support.tiny_models import add_checker, make_pipeline

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize("backend", ["ONNX", "TensorRT"])
def test_a_back_end_that_is_missing_is_refused_by_name(tmp_path: Path, backend: str) -> None:
    with pytest.raises(UnsupportedHere, match=f"Back-end {backend} is not there yet"):
        choose_device("auto", backend)
    spec = DiffusionDeploymentSpec.model_validate({"base": {"uri": str(tmp_path)}, "backend": backend})
    with pytest.raises(UnsupportedHere, match=rf"spec\.backend: {backend} is not supported yet"):
        check_supported(spec)


FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "back-end": ({"backend": "ONNX"}, "UnsupportedHere: Back-end ONNX is not there yet. Set spec.backend to PyTorch."),
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
