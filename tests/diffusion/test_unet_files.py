"""A whole UNet is read beside a base whose other parts it shares; anything else is refused with the reason."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from diptych_api.errors import AdapterInvalid
from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import load
from diptych_diffusion.unet_files import is_unet, load_unet
from support.adapters import saved_adapter
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Components:
    return load(make_pipeline(tmp_path_factory.mktemp("base")))


@pytest.fixture
def tuned(base: Components, tmp_path: Path) -> Path:
    """A pipeline with a UNet of its own and the base's other parts."""
    folder = make_pipeline(tmp_path / "tuned", seed=3)
    for part in ("vae", "text_encoder"):
        shutil.rmtree(folder / part)
        shutil.copytree(base.folder / part, folder / part)
    return folder


@pytest.mark.parametrize("part", ["", "unet"])
def test_a_pipeline_and_its_unet_folder_give_the_same_unet(base: Components, tuned: Path, part: str) -> None:
    found, expected = load_unet(tuned / part, base), load(tuned)
    assert found.digest == expected.digests["unet"]
    for name, weight in expected.denoiser.state_dict().items():
        assert torch.equal(found.unet.state_dict()[name], weight), name
    assert not found.unet.training


def test_names_tell_a_whole_unet_from_an_adapter(base: Components, tuned: Path, tmp_path: Path) -> None:
    assert is_unet(tuned)
    assert is_unet(tuned / "unet")
    assert not is_unet(saved_adapter(tmp_path / "adapter", base.folder))


def other_part(name: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        other = make_pipeline(folder.parent / "other", seed=9)
        shutil.rmtree(folder / name)
        shutil.copytree(other / name, folder / name)

    return spoil


def with_nan(folder: Path) -> None:
    weights = load_file(folder / "unet" / WEIGHTS)
    weights["conv_in.bias"][0] = torch.nan
    save_file(weights, folder / "unet" / WEIGHTS, {"format": "pt"})


def other_schedule(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": "v_prediction"}))


def other_channels(folder: Path) -> None:
    other = make_pipeline(folder.parent / "other", latent_channels=8)
    shutil.rmtree(folder / "unet")
    shutil.copytree(other / "unet", folder / "unet")


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "VAE": (other_part("vae"), r"vae is not the base's\. Serve it as a base of its own"),
    "text encoder": (other_part("text_encoder"), "text_encoder is not the base's"),
    "schedule": (other_schedule, "another noise schedule"),
    "channels": (other_channels, "has in_channels 8, and the base 4"),
    "NaN": (with_nan, r"conv_in\.bias that are not finite"),
    "pickle": (lambda folder: (folder / "unet" / WEIGHTS).rename(folder / "unet" / "model.bin"), "can run code"),
    "renamed pickle": (lambda folder: (folder / "unet" / WEIGHTS).write_bytes(b"\x80\x04]"), "not a safetensors file"),
    "no weights": (lambda folder: (folder / "unet" / WEIGHTS).unlink(), "has no diffusion_pytorch_model"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_cannot_be_drawn_with_beside_the_base_is_refused(base: Components, tuned: Path, case: str) -> None:
    spoil, words = SPOILT[case]
    spoil(tuned)
    with pytest.raises(AdapterInvalid, match=words):
        load_unet(tuned, base)
