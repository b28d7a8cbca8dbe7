"""Networks that judge pictures, against transformers' own way and formulas written another way."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from diptych_api.errors import SpecInvalid
from diptych_training.distances import Pictures
from diptych_training.vision.alexnet import SCALE, SHIFT
from diptych_training.vision.inception import enlarged
from diptych_training.vision.networks import embedder, perceptual, picture_and_text
from support.judges import make_clip, make_dinov2, make_inception, make_lpips

pytestmark = pytest.mark.slow

TEXTS = ("a red thing", "blue", "a prompt that is far longer than sixteen tokens of one byte each")


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip"))


def test_clip_scores_are_the_cosines_that_transformers_gives(clip_folder: Path, pictures: Pictures) -> None:
    clip = picture_and_text(str(clip_folder))
    cosines = clip.pictures(pictures) @ clip.texts(TEXTS).T
    model: Any = CLIPModel.from_pretrained(clip_folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pixels = processor(images=list(pictures), return_tensors="pt")["pixel_values"]
    tokens = CLIPTokenizer.from_pretrained(clip_folder)(
        list(TEXTS), padding=True, truncation=True, max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        expected = model(pixel_values=pixels, **tokens).logits_per_image / model.logit_scale.exp()
    np.testing.assert_allclose(cosines, expected.numpy(), atol=1e-5)
    assert clip.network.digest.startswith("sha256:")


def test_clip_and_dinov2_give_features_for_sets(clip_folder: Path, pictures: Pictures, tmp_path: Path) -> None:
    for folder, kind, size in ((clip_folder, "clip", 16), (make_dinov2(tmp_path), "dinov2", 24)):
        network = embedder(str(folder))
        features = network.features(pictures)
        assert (network.network.kind, features.shape, network.probabilities) == (kind, (3, size), None)
        np.testing.assert_allclose(network.features(pictures[2:]), features[2:], atol=1e-6)


def test_inception_enlarges_as_tensorflow_1_did_and_tells_classes(pictures: Pictures, tmp_path: Path) -> None:
    row = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    expected = np.interp(np.arange(8) / 2, np.arange(4), np.arange(4))  # pixel i is read at i · 4 / 8, the last repeats
    np.testing.assert_allclose(enlarged(row, 8)[0, 0, 0].numpy(), expected)
    network = embedder(str(make_inception(tmp_path)))
    assert network.probabilities is not None
    features = network.features(pictures[:1])
    assert features.shape == (1, 2048)
    chances = network.probabilities(features)
    assert chances.shape == (1, 1008)
    assert chances.sum() == pytest.approx(1)


def test_lpips_weighs_the_differences_of_alexnets_layers(pictures: Pictures, tmp_path: Path) -> None:
    net = perceptual(str(make_lpips(tmp_path)))
    noise = np.random.default_rng(1).normal(0, 1, pictures.shape)
    noisy = [np.clip(pictures + strength * noise, 0, 255).astype(np.uint8) for strength in (0, 10, 60)]
    equal, near, far = (net.distance(pictures, other) for other in noisy)
    assert equal == [0, 0, 0]
    assert all(0 < a < b for a, b in zip(near, far, strict=True))
    state = load_file(tmp_path / "model.safetensors")
    assert far[0] == pytest.approx(by_hand(state, pictures[0], noisy[2][0]), rel=1e-4)


def by_hand(state: dict[str, torch.Tensor], a: Any, b: Any) -> float:
    """Return LPIPS of two pictures, layer by layer."""
    x = torch.from_numpy(np.stack([a, b])).permute(0, 3, 1, 2) / 255 * 2 - 1
    x, total = (x - torch.tensor(SHIFT).view(3, 1, 1)) / torch.tensor(SCALE).view(3, 1, 1), 0.0
    strides, paddings = {"0": 4}, {"0": 2, "3": 2}
    for number, name in enumerate(("0", "3", "6", "8", "10")):
        weight, bias = state[f"features.{name}.weight"], state[f"features.{name}.bias"]
        x = F.conv2d(x, weight, bias, stride=strides.get(name, 1), padding=paddings.get(name, 1)).clamp(min=0)
        unit = F.normalize(x, dim=1)
        head = state[f"lin{number}.model.1.weight"][0]
        total += float(((unit[0] - unit[1]).square() * head).sum(0).mean())
        if name in {"0", "3"}:
            x = F.max_pool2d(x, 3, 2)
    return total


def test_a_folder_that_does_not_fit_is_refused_by_field_and_file(clip_folder: Path, tmp_path: Path) -> None:
    cases = {
        "https://x/clip": "not on this machine",
        str(tmp_path): "no config.json",
    }
    for place, told in cases.items():
        with pytest.raises(SpecInvalid, match=told):
            picture_and_text(place)
    shutil.copytree(clip_folder, tmp_path / "odd")
    (tmp_path / "odd/preprocessor_config.json").write_text('{"image_mean": "bright"}')
    with pytest.raises(SpecInvalid, match=r"image_mean or image_std of .*odd are not three numbers"):
        picture_and_text(str(tmp_path / "odd"))
    with pytest.raises(SpecInvalid, match=r"extractors.lpips: .* is of kind clip; lpips_alex are known"):
        perceptual(str(clip_folder))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "lpips_alex"}))
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(SpecInvalid, match=r"lacks 14 tensors, such as features\.0\.bias"):
        perceptual(str(tmp_path))
