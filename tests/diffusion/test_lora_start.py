"""A LoRA that goes on from an adapter of any of the three forms begins with that adapter's effect."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from diptych_api.artifact import BaseRecord
from diptych_api.errors import AdapterInvalid, SpecInvalid
from diptych_api.training import LoRA
from diptych_diffusion.adapter_files import load_adapter, save_diffusers, save_kohya, save_peft
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.lora import adapter_state, attach, inject, scaling
from diptych_diffusion.lora_start import start_from
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

DIGEST = f"sha256:{'0' * 64}"
LEARNED = LoRA(rank=2, alpha=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> UNet2DConditionModel:
    folder = make_pipeline(tmp_path_factory.mktemp("base")) / "unet"
    unet: UNet2DConditionModel = UNet2DConditionModel.from_pretrained(folder)
    return unet.eval()


@torch.no_grad()
def output(unet: UNet2DConditionModel) -> torch.Tensor:
    random = torch.Generator().manual_seed(3)
    sample, states = torch.randn((1, 4, 8, 8), generator=random), torch.randn((1, 5, 32), generator=random)
    predicted: torch.Tensor = unet(sample, 400, states, return_dict=False)[0]
    return predicted


def learned(base: UNet2DConditionModel, settings: LoRA = LEARNED) -> AdapterWeights:
    unet, random = deepcopy(base), torch.Generator().manual_seed(2)
    inject(unet, settings, seed=1)
    state = {key: w + 0.1 * torch.randn(w.shape, generator=random) for key, w in adapter_state(unet).items()}
    return AdapterWeights.of(state, settings, BaseRecord(source="tiny", digest=DIGEST))


def with_adapter(base: UNet2DConditionModel, weights: AdapterWeights) -> torch.Tensor:
    unet = deepcopy(base)
    attach(unet, weights)
    return output(unet)


@pytest.mark.parametrize("form", ["peft", "diffusers", "kohya"])
@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(LEARNED, id="as it is"),
        pytest.param(LoRA(rank=5, alpha=2), id="larger rank, other alpha"),
        pytest.param(LoRA(rank=2, alpha=2, use_rslora=True), id="rslora"),
        pytest.param(LoRA(rank=2, alpha=6, target_modules=[*LEARNED.target_modules, "conv1"]), id="more layers"),
    ],
)
def test_the_first_output_is_the_adapters(base: UNet2DConditionModel, tmp_path: Path, form: str, wanted: LoRA) -> None:
    weights = learned(base)
    place = tmp_path / "adapter.safetensors" if form == "kohya" else tmp_path
    {"peft": save_peft, "diffusers": save_diffusers, "kohya": save_kohya}[form](place, weights)
    unet = deepcopy(base)
    inject(unet, wanted, seed=7)
    start_from(unet, load_adapter(place), wanted, DIGEST)
    torch.testing.assert_close(output(unet), with_adapter(base, weights), rtol=1e-5, atol=1e-5)
    assert (output(unet) - output(base)).abs().max() > 1e-3
    assert scaling(wanted) > 0


def test_a_dora_goes_on_with_its_magnitudes(base: UNet2DConditionModel) -> None:
    settings = LoRA(rank=2, alpha=6, use_dora=True)
    weights, unet = learned(base, settings), deepcopy(base)
    inject(unet, settings, seed=7)
    start_from(unet, weights, settings, DIGEST)
    torch.testing.assert_close(output(unet), with_adapter(base, weights), rtol=1e-5, atol=1e-5)


def test_what_cannot_go_on_is_refused_with_the_field_to_change(base: UNet2DConditionModel) -> None:
    weights = learned(base)
    other = replace(weights, base=BaseRecord(source="tiny", digest=f"sha256:{'1' * 64}"))
    cases: list[tuple[AdapterWeights, LoRA, type[Exception], str]] = [
        (weights, LoRA(rank=1), SpecInvalid, r"rank 2, above spec\.lora\.rank: 1\. Set spec\.lora\.rank: 2"),
        (weights, LoRA(rank=2, use_dora=True), SpecInvalid, r"is no DoRA\. Set spec\.lora\.useDora: false"),
        (weights, LoRA(rank=2, target_modules=["to_q"]), SpecInvalid, r"which spec\.lora\.targetModules does not name"),
        (other, LEARNED, AdapterInvalid, "was made for tiny .* another base"),
        (replace(weights, state={"nowhere.lora_A.weight": torch.ones(2, 2)}), LEARNED, AdapterInvalid, "nowhere"),
    ]
    for given, wanted, kind, words in cases:
        unet = deepcopy(base)
        inject(unet, wanted, seed=7)
        with pytest.raises(kind, match=words):
            start_from(unet, given, wanted, DIGEST)
