"""One graph that draws rows of a base and of any adapters, as PyTorch draws them; made once for each UNet."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diptych_api.errors import ArtifactInvalid
from diptych_api.training import LoRA
from diptych_diffusion import onnx_base
from diptych_diffusion.components import Components
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.drawings import advance, begin
from diptych_diffusion.held import Run
from diptych_diffusion.onnx_base import load_onnx_unet
from diptych_diffusion.onnx_file import FILE
from diptych_diffusion.onnx_parts import Part, Size
from diptych_diffusion.onnx_unet import OnnxUNet
from diptych_diffusion.pipeline import load
from diptych_diffusion.prompts import encode
from diptych_diffusion.slot_bank import SlotBank
from support.adapters import random_adapter
from support.tiny_models import make_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # graphs take minutes to make on a busy machine

KINDS = ("to_q", "ff.net.0.proj", "time_emb_proj", "conv_in", "conv1", "downsamplers.0.conv", "proj_in", "conv_out")
ROWS = 6


@dataclass(frozen=True, slots=True)
class Place:
    """A base, and the folder where graphs are kept."""

    components: Components
    cache: Path

    @property
    def base(self) -> Path:
        """The folder of the base."""
        return self.components.folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(load(make_pipeline(tmp_path_factory.mktemp("base"))), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def graph(place: Place) -> OnnxUNet:
    return load_onnx_unet(place.components, place.cache)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    latents, words = (torch.randn((ROWS, *shape), generator=random) for shape in ((4, 8, 8), (16, 32)))
    return latents, torch.tensor([900.0, 1.0, 400.0, 333.0, 20.0, 999.0]), words


@torch.inference_mode()
def difference(bank: SlotBank, graph: OnnxUNet, runs: list[Run]) -> float:
    """Return how far the graph is from PyTorch with the same rows."""
    with bank.rows(runs):
        wanted = bank.unet(*inputs(), return_dict=False)[0]
    return float((graph(*inputs(), runs) - wanted).abs().max())


def test_rows_take_adapters_of_any_rank_and_layers_and_strength(place: Place, graph: OnnxUNet) -> None:
    bank = SlotBank(load(place.base).denoiser, backend=graph)
    one = bank.load("one", random_adapter(place.base, lora=LoRA(rank=4, alpha=8)))
    assert difference(bank, graph, [Run(1, 3, one, 0.5)]) < 2e-5
    layers = LoRA(rank=7, alpha=3, use_rslora=True, target_modules=list(KINDS))
    other = bank.load("other", random_adapter(place.base, seed=2, lora=layers))
    assert difference(bank, graph, [Run(0, 1, other, 1), Run(1, 3, one, 0.5), Run(4, 5, other, -1)]) < 2e-5
    assert difference(bank, graph, [Run(1, 2, one, 1)]) < 2e-5
    assert difference(bank, graph, []) < 2e-5
    assert (graph(*inputs(), [Run(0, 1, other, 1)]) - graph(*inputs(), [])).abs().amax((1, 2, 3))[0] > 0.01


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_layer_can_be_adapted_alone(place: Place, graph: OnnxUNet, name: str) -> None:
    bank = SlotBank(load(place.base).denoiser, backend=graph)
    slot = bank.load(name, random_adapter(place.base, lora=LoRA(rank=3, alpha=6, target_modules=[name])))
    assert difference(bank, graph, [Run(2, 4, slot, 1)]) < 2e-5


def test_sizes_that_the_graph_cannot_take_are_drawn_by_pytorch(place: Place, graph: OnnxUNet) -> None:
    bank = SlotBank(place.components.denoiser, backend=graph)
    with torch.inference_mode():
        words = encode(place.components, ["", "a dog"])
    for side, is_taken in ((64, True), (72, False)):  # 9 latents a side cannot be halved
        settings = Settings(side, side, 1, 3.0, "DDIM")
        [drawing], [alone] = (begin(place.components, settings, words, 5) for _ in range(2))
        assert graph.takes(None, drawing.latents_1Chw) is is_taken
        advance(place.components.denoiser, [drawing], bank)
        advance(place.components.denoiser, [alone])
        torch.testing.assert_close(drawing.latents_1Chw, alone.latents_1Chw, rtol=0, atol=2e-5)


def test_a_graph_is_made_once_for_each_unet(place: Place, graph: OnnxUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("It is there already.")

    monkeypatch.setattr(onnx_base, "write_part", fail)
    again = load_onnx_unet(place.components, place.cache)
    torch.testing.assert_close(again(*inputs(), []), graph(*inputs(), []), rtol=0, atol=2e-5)
    with pytest.raises(AssertionError):
        load_onnx_unet(replace(place.components, digests={**place.components.digests, "unet": "another"}), place.cache)


def test_a_graph_that_computes_something_else_is_not_kept(
    place: Place, graph: OnnxUNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_other_weights(_: Part, __: Size, folder: Path) -> Path:
        for name in (FILE, f"{FILE}.data"):
            shutil.copyfile(graph.file.with_name(name), folder / name)
        weights = np.fromfile(folder / f"{FILE}.data", dtype=np.float32)
        (weights * np.float32(1.01)).tofile(folder / f"{FILE}.data")
        return folder / FILE

    monkeypatch.setattr(onnx_base, "write_part", write_other_weights)
    with pytest.raises(ArtifactInvalid, match="unet: ONNX Runtime and PyTorch differ by"):
        load_onnx_unet(place.components, tmp_path)
    assert not list((tmp_path / "onnx").iterdir())
