"""Models as ONNX graphs, run by ONNX Runtime: equal to PyTorch at any size, the adapter merged and not lost."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from diptych_api.errors import ArtifactInvalid
from diptych_api.training import LoRA
from diptych_diffusion.components import Components
from diptych_diffusion.lora import adapter_state, attach_all, inject, set_enabled, trainable
from diptych_diffusion.lora_merge import merged
from diptych_diffusion.onnx_folder import write_onnx
from diptych_diffusion.onnx_parity import Parity, compare
from diptych_diffusion.onnx_parts import Size, parts_of
from diptych_diffusion.pipeline import load
from support.adapters import random_adapter
from support.tiny_models import make_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the export takes minutes on a busy machine


@dataclass(frozen=True, slots=True)
class Written:
    """A folder, the model with an adapter that it was made of, and what was told meanwhile."""

    folder: Path
    model: Components
    adapter_before: dict[str, Tensor]
    told: list[Parity]

    def run(self, part: str, **inputs: Tensor) -> Tensor:
        """Return what a stranger's ONNX Runtime makes of the inputs."""
        session = onnxruntime.InferenceSession(self.folder / part / "model.onnx", providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})[0])


@pytest.fixture(autouse=True)
def same_inputs() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    model = load(base)
    attach_all(model.denoiser, model.text_encoder, random_adapter(base))
    before, told = adapter_state(model.denoiser), list[Parity]()
    folder = tmp_path_factory.mktemp("onnx")
    write_onnx(folder, model, {"adapter": "sha256:mine"}, told.append)
    return Written(folder, model, before, told)


@pytest.mark.parametrize(("rows", "height", "width"), [(1, 2, 2), (2, 14, 4), (7, 6, 10), (70, 2, 4)])
@torch.inference_mode()
def test_a_graph_takes_any_rows_and_sides_that_the_unet_can_halve(
    written: Written, rows: int, height: int, width: int
) -> None:
    latents, times, words = torch.randn(rows, 4, height, width), torch.rand(rows) * 999, torch.randn(rows, 16, 32)
    found = written.run("unet", sample=latents, timestep=times, encoder_hidden_states=words)
    wanted = written.model.denoiser(latents, times, words, return_dict=False)[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)
    picture = written.run("vae_decoder", latent_sample=latents)
    assert picture.shape == (rows, 3, 8 * height, 8 * width)
    torch.testing.assert_close(picture, written.model.vae.decode(latents).sample, rtol=0, atol=2e-5)
    ids = torch.randint(514, (rows, 16), dtype=torch.int32)
    embeddings = written.run("text_encoder", input_ids=ids)
    torch.testing.assert_close(embeddings, written.model.text_encoder(ids)[0], rtol=0, atol=2e-5)


@torch.inference_mode()
def test_one_timestep_serves_all_rows(written: Written) -> None:
    latents, words = torch.randn(3, 4, 8, 8), torch.randn(3, 16, 32)
    once = written.run("unet", sample=latents, timestep=torch.tensor([500.0]), encoder_hidden_states=words)
    each = written.run("unet", sample=latents, timestep=torch.full((3,), 500.0), encoder_hidden_states=words)
    torch.testing.assert_close(once, each, rtol=0, atol=0)


@torch.inference_mode()
def test_the_file_has_the_adapter_in_it_and_the_model_has_still_its_own(written: Written) -> None:
    latents, times, words = torch.randn(2, 4, 8, 8), torch.rand(2) * 999, torch.randn(2, 16, 32)
    found = written.run("unet", sample=latents, timestep=times, encoder_hidden_states=words)
    unet = cast("nn.Module", written.model.denoiser)
    with set_enabled(unet, enabled=False):
        base = unet(latents, times, words, return_dict=False)[0]
    assert (found - base).abs().max() > 0.01
    after = adapter_state(unet)
    assert after.keys() == written.adapter_before.keys()
    assert all(torch.equal(after[key], written.adapter_before[key]) for key in after)


def test_weights_lie_outside_the_graph_which_protobuf_bounds(written: Written) -> None:
    for part in ("text_encoder", "unet", "vae_decoder"):
        place = written.folder / part / "model.onnx"
        graph = onnx.load(place, load_external_data=False).graph
        outside = [tensor for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
        inside = [int(np.prod(tensor.dims)) for tensor in graph.initializer if tensor not in outside]
        assert outside
        assert max(inside, default=0) < 1000
        assert b".py" not in place.read_bytes(), "the exporter's notes of where each node comes from"
        onnx.checker.check_model(place)


def test_the_report_tells_every_comparison(written: Written) -> None:
    report = json.loads((written.folder / "parity.json").read_text())
    assert (report["adapter"], report["picture_sides_are_multiples_of"]) == ("sha256:mine", 16)
    assert list(report["parts"]) == [parity.part for parity in written.told] == ["text_encoder", "unet", "vae_decoder"]
    for part in report["parts"].values():
        rows = [next(iter(case["inputs"].values()))[0] for case in part["cases"]]
        assert rows == [2, 1, 3, 5]
        assert part["max_abs_diff"] == max(case["max_abs_diff"] for case in part["cases"]) < 2e-5
        assert part["bytes"] > 10_000


def test_a_file_whose_weights_changed_is_refused(written: Written, tmp_path: Path) -> None:
    part = parts_of(written.model)[0]
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / name).write_bytes((written.folder / part.name / name).read_bytes())
    weights = np.fromfile(tmp_path / "model.onnx.data", dtype=np.float32)
    (weights * np.float32(1.001)).tofile(tmp_path / "model.onnx.data")
    with pytest.raises(ArtifactInvalid, match="text_encoder: ONNX Runtime and PyTorch differ by"):
        compare(part, tmp_path / "model.onnx", (Size(2, 8, 8),))


def test_outputs_that_are_no_numbers_are_never_alike(written: Written, tmp_path: Path) -> None:
    part = parts_of(load(written.model.folder))[0]
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / name).write_bytes((written.folder / part.name / name).read_bytes())
    np.full((tmp_path / "model.onnx.data").stat().st_size // 4, np.nan, np.float32).tofile(tmp_path / "model.onnx.data")
    with pytest.raises(ArtifactInvalid, match="differ by nan"):
        compare(part, tmp_path / "model.onnx", (Size(2, 8, 8),))


@torch.inference_mode()
def test_a_text_encoder_s_adapter_is_merged_too(written: Written) -> None:
    model = load(written.model.folder)
    words = torch.randint(514, (2, 16))
    base = model.text_encoder(words)[0]
    inject(model.text_encoder, LoRA(rank=4, alpha=8, target_modules=["q_proj", "v_proj"]), seed=1)
    for _, parameter in trainable(model.text_encoder):
        parameter.add_(0.1 * torch.randn(parameter.shape))
    attached = model.text_encoder(words)[0]
    found = parts_of(model)[0].network
    torch.testing.assert_close(merged(found)(words), attached, rtol=0, atol=2e-5)
    assert (attached - base).abs().max() > 0.01


KINDS: dict[str, Callable[[], LoRA]] = {
    "LoRA": lambda: LoRA(rank=4, alpha=8),
    "rsLoRA": lambda: LoRA(rank=4, alpha=8, use_rslora=True),
    "DoRA": lambda: LoRA(rank=4, alpha=8, use_dora=True),
    "convolutions": lambda: LoRA(rank=4, alpha=8, target_modules=["to_q", "conv1", "proj_in"]),
}


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_what_is_merged_computes_what_was_attached(written: Written, kind: str) -> None:
    base = written.model.folder
    model = load(base)
    attach_all(model.denoiser, model.text_encoder, random_adapter(base, lora=KINDS[kind]()))
    inputs = (torch.randn(2, 4, 8, 8), torch.rand(2) * 999, torch.randn(2, 16, 32))
    unet = cast("nn.Module", model.denoiser)
    copy = merged(unet)
    assert not any("lora" in name for name, _ in copy.named_parameters())
    found, wanted = (network(*inputs, return_dict=False)[0] for network in (copy, unet))
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)
