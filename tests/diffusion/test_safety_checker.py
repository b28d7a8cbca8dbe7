"""The safety checker of a base flags what an unmodified pipeline flags, and one that cannot be trusted is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file, save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from diptych_api.errors import BaseInvalid
from diptych_diffusion.fetch import wanted_files
from diptych_diffusion.pipeline import load
from diptych_diffusion.safety_checker import StableDiffusionChecker, load_safety_checker
from support.tiny_models import add_checker, make_pipeline


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_checker(make_pipeline(tmp_path_factory.mktemp("base")), threshold=0.5)


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(base, tmp_path / "copy")


def checker_of(folder: Path) -> StableDiffusionChecker:
    checker = load_safety_checker(folder)
    assert checker is not None
    return checker


def pictures() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return sixteen pictures of different colours and patterns."""
    coarse = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 3), np.uint8)
    return coarse.repeat(16, axis=1).repeat(12, axis=2)


def test_it_flags_what_an_unmodified_pipeline_flags(base: Path) -> None:
    parts, shown = load(base), pictures()
    pipeline = StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.denoiser,
        scheduler=None,
        safety_checker=StableDiffusionSafetyChecker.from_pretrained(base / "safety_checker"),
        feature_extractor=CLIPImageProcessorPil.from_pretrained(base / "feature_extractor"),
    )
    _, expected = pipeline.run_safety_checker(shown / np.float32(255), torch.device("cpu"), torch.float32)
    assert {*expected} == {True, False}
    before = shown.copy()
    assert checker_of(base).flag(shown) == [bool(one) for one in expected]
    assert np.array_equal(shown, before)


@pytest.mark.parametrize(("threshold", "flagged"), [(-2, True), (2, False)])
def test_thresholds_decide(copy: Path, threshold: float, *, flagged: bool) -> None:
    add_checker(copy, threshold=threshold)
    assert checker_of(copy).flag(pictures()) == [flagged] * 16


def test_the_names_and_settings_of_older_files_are_read(base: Path, copy: Path) -> None:
    """As in the files of Stable Diffusion 1.x."""
    file = copy / "safety_checker" / "model.safetensors"
    old = {key.replace("vision_model.", "vision_model.vision_model.", 1): x for key, x in load_file(file).items()}
    old["vision_model.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(old, file, {"format": "pt"})
    settings = copy / "feature_extractor" / "preprocessor_config.json"
    given = json.loads(settings.read_text())
    given = {key: given[key] for key in ("image_mean", "image_std", "resample", "do_normalize", "do_resize")}
    given |= {"feature_extractor_type": "CLIPFeatureExtractor", "size": 32, "crop_size": 32}
    settings.write_text(json.dumps(given))
    assert checker_of(copy).flag(pictures()) == checker_of(base).flag(pictures())


@pytest.mark.parametrize("entry", [[None, None], None])
def test_a_pipeline_that_names_no_checker_has_none(copy: Path, entry: object) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "safety_checker": entry}))
    assert load_safety_checker(copy) is None


def index_with(**changes: object) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps({**index, **changes}))

    return spoil


def with_nan(folder: Path) -> None:
    file = folder / "safety_checker" / "model.safetensors"
    weights = load_file(file)
    weights["concept_embeds_weights"][3] = torch.nan
    save_file(weights, file, {"format": "pt"})


def without_a_weight(folder: Path) -> None:
    file = folder / "safety_checker" / "model.safetensors"
    weights = load_file(file)
    del weights["concept_embeds"]
    save_file(weights, file, {"format": "pt"})


def larger_pictures(folder: Path) -> None:
    CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}).save_pretrained(
        folder / "feature_extractor"
    )


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickle": (
        lambda folder: (folder / "safety_checker" / "model.safetensors").rename(folder / "safety_checker" / "m.bin"),
        "can run code",
    ),
    "gone": (lambda folder: shutil.rmtree(folder / "safety_checker"), "safety_checker"),
    "no extractor": (lambda folder: shutil.rmtree(folder / "feature_extractor"), "preprocessor_config.json"),
    "another class": (index_with(safety_checker=["evil", "Checker"]), "as safety_checker"),
    "another extractor": (index_with(feature_extractor=[None, None]), "as feature_extractor"),
    "NaN": (with_nan, "not finite"),
    "weight": (without_a_weight, "missing keys, such as concept_embeds"),
    "size": (larger_pictures, "do not belong together"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_checker_that_cannot_be_trusted_is_refused(copy: Path, case: str) -> None:
    spoil, words = SPOILT[case]
    spoil(copy)
    with pytest.raises(BaseInvalid, match=words):
        load_safety_checker(copy)


def test_only_serving_downloads_it() -> None:
    checker = ["feature_extractor/preprocessor_config.json", "safety_checker/config.json"]
    checker += ["safety_checker/model.fp16.safetensors", "safety_checker/model.safetensors"]
    repository = ["model_index.json", "safety_checker/pytorch_model.bin", *checker]
    assert wanted_files(repository) == ["model_index.json"]
    assert wanted_files(repository, with_checker=True) == sorted(
        {"model_index.json", *checker} - {"safety_checker/model.fp16.safetensors"}
    )
