from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from diptych_api.artifact import BaseRecord
from diptych_api.errors import ArtifactInvalid
from diptych_api.training import LoRA
from diptych_diffusion.adapter_check import check, check_saved
from diptych_diffusion.adapter_files import save_diffusers, save_kohya, save_peft
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.lora import adapter_state, inject
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

DIGEST = "sha256:" + "ab" * 32
BASE = BaseRecord(source="builtin:tiny", digest=DIGEST)
KEY = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> UNet2DConditionModel:
    folder = make_pipeline(tmp_path_factory.mktemp("base")) / "unet"
    unet: UNet2DConditionModel = UNet2DConditionModel.from_pretrained(folder)
    return unet


@pytest.fixture
def unet(base: UNet2DConditionModel) -> UNet2DConditionModel:
    return deepcopy(base)


@pytest.fixture(scope="module")
def weights(base: UNet2DConditionModel) -> AdapterWeights:
    lora = LoRA(rank=4, alpha=8)
    unet = deepcopy(base)
    inject(unet, lora, seed=1)
    random = torch.Generator().manual_seed(2)
    state = {
        key: value + 0.05 * torch.randn(value.shape, generator=random) for key, value in adapter_state(unet).items()
    }
    return AdapterWeights.of(state, lora, BASE)


def test_a_sound_adapter_passes_and_the_unet_stays_as_it_was(
    weights: AdapterWeights, unet: UNet2DConditionModel
) -> None:
    names = [(name, parameter.requires_grad) for name, parameter in unet.train().named_parameters()]
    evidence = check(weights, unet, DIGEST)
    assert evidence.layers == 32
    assert evidence.parameters == sum(value.numel() for value in weights.state.values())
    assert 0.001 < evidence.effect < 10
    assert evidence == check(weights, unet, DIGEST), "the input is always the same"
    assert [(name, parameter.requires_grad) for name, parameter in unet.named_parameters()] == names
    assert unet.training


def test_every_saved_form_passes_with_the_same_effect(
    weights: AdapterWeights, unet: UNet2DConditionModel, tmp_path: Path
) -> None:
    save_peft(tmp_path / "peft", weights)
    save_diffusers(tmp_path / "diffusers", weights)
    save_kohya(tmp_path / "kohya" / "style.safetensors", weights)
    effects = {check_saved(tmp_path / form, unet, DIGEST).effect for form in ("peft", "diffusers", "kohya")}
    assert effects == {check(weights, unet, DIGEST).effect}


def broken(weights: AdapterWeights, name: str) -> AdapterWeights:
    state = dict(weights.state)
    half = {key for key in state if key.startswith(KEY.removesuffix("A.weight"))}
    changes: dict[str, dict[str, object]] = {
        "empty": {"state": {}},
        "not finite": {"state": {**state, KEY: state[KEY] * torch.nan}},
        "lonely": {"state": {key: value for key, value in state.items() if key != KEY}},
        "layer left out": {"state": {key: value for key, value in state.items() if key not in half}},
        "strange layer": {
            "state": {**state, "no.layer.lora_A.weight": state[KEY], "no.layer.lora_B.weight": state[KEY].T}
        },
        "strange key": {"state": {**state, "mid_block.weight": state[KEY]}},
        "wrong shape": {"state": {**state, KEY: state[KEY][:, :-1]}},
        "wrong rank": {"rank": 8},
        "no effect": {"state": {key: value * ("lora_A" in key) for key, value in state.items()}},
        "another base": {"base": BaseRecord(source="builtin:tiny", digest="sha256:" + "cd" * 32)},
        "no base": {"base": None},
    }
    return replace(weights, **changes[name])  # type: ignore[arg-type]  # fields of several types


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty", "no tensors"),
        ("not finite", "not finite"),
        ("lonely", "instead of lora_A.weight and lora_B.weight"),
        ("layer left out", "no weights for the layer mid_block"),
        ("strange layer", "no.layer"),
        ("strange key", "mid_block.weight"),
        ("wrong shape", r"shape \[4, 63\] where this UNet needs \[4, 64\]"),
        ("wrong rank", "rank 8"),
        ("no effect", "no effect"),
        ("another base", "is for the base sha256:cdcd"),
        ("no base", "which base"),
    ],
)
def test_a_broken_adapter_fails_and_the_message_tells_why(
    weights: AdapterWeights, unet: UNet2DConditionModel, name: str, said: str
) -> None:
    with pytest.raises(ArtifactInvalid, match=said):
        check(broken(weights, name), unet, DIGEST)


def test_c21_an_adapter_without_tensors_cannot_pass_as_an_artifact(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    save_file({}, tmp_path / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactInvalid, match=r"no tensors \(40 bytes\)"):
        check_saved(tmp_path, unet, DIGEST)
