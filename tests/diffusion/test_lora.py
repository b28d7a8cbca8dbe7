import math
from copy import deepcopy

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from diptych_api.errors import AdapterInvalid, SpecInvalid
from diptych_api.training import LoRA
from diptych_diffusion.lora import (
    adapter_state,
    count_trainable,
    inject,
    load_adapter_state,
    parameter_report,
    scaling,
    set_enabled,
    trainable,
)
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

PLAIN = LoRA(rank=4, alpha=8)
DORA = LoRA(rank=4, alpha=8, use_dora=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> UNet2DConditionModel:
    folder = make_pipeline(tmp_path_factory.mktemp("base")) / "unet"
    unet: UNet2DConditionModel = UNet2DConditionModel.from_pretrained(folder)
    return unet.eval()


@pytest.fixture
def unet(base: UNet2DConditionModel) -> UNet2DConditionModel:
    return deepcopy(base)


def output(unet: UNet2DConditionModel, batch: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(3)
    sample, states = torch.randn((batch, 4, 8, 8), generator=random), torch.randn((batch, 5, 32), generator=random)
    result: Tensor = unet(sample.to(unet.dtype), 400, states.to(unet.dtype), return_dict=False)[0]
    return result


def state_of(base: UNet2DConditionModel, lora: LoRA, seed: int) -> dict[str, Tensor]:
    unet = deepcopy(base)
    inject(unet, lora, seed)
    return adapter_state(unet)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("update", [PLAIN, DORA])
def test_a_fresh_adapter_leaves_the_output_as_it_was(
    base: UNet2DConditionModel, dtype: torch.dtype, update: LoRA
) -> None:
    unet = deepcopy(base).to(dtype)
    before = output(unet)
    inject(unet, update, seed=1)
    assert torch.equal(output(unet), before)


def test_trap_2_masters_are_fp32_on_a_bf16_unet_so_every_weight_can_move(base: UNet2DConditionModel) -> None:
    unet = deepcopy(base).to(torch.bfloat16)
    inject(unet, PLAIN, seed=1)
    weights = [parameter for _, parameter in trainable(unet)]
    assert {weight.dtype for weight in weights} == {torch.float32}
    with torch.no_grad():
        for weight in weights:
            weight.add_(torch.full_like(weight, 0.01))
    before = [weight.detach().clone() for weight in weights]
    output(unet).float().square().mean().backward()
    torch.optim.AdamW(weights, lr=1e-5, weight_decay=0).step()
    moved = sum(int((new != old).sum()) for new, old in zip(weights, before, strict=True))
    assert moved > 0.99 * sum(weight.numel() for weight in weights)


def test_only_the_adapter_is_trained(unet: UNet2DConditionModel) -> None:
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    inject(unet, PLAIN, seed=1)
    output(unet).square().mean().backward()
    with_gradient = [name for name, parameter in unet.named_parameters() if parameter.grad is not None]
    assert with_gradient
    assert sorted(with_gradient) == [name for name, _ in trainable(unet)]
    assert all(".lora_" in name for name in with_gradient)
    torch.optim.SGD([parameter for _, parameter in trainable(unet)], lr=1).step()
    kept = {name.replace(".base_layer", ""): value for name, value in unet.state_dict().items() if ".lora_" not in name}
    assert all(torch.equal(kept[name], value) for name, value in before.items())


def test_trainable_can_be_walked_twice_and_agrees_with_the_counts(unet: UNet2DConditionModel) -> None:
    total = sum(parameter.numel() for parameter in unet.parameters())
    inject(unet, PLAIN, seed=1)
    found = trainable(unet)
    assert [name for name, _ in found] == sorted(name for name, _ in found)
    assert len(list(found)) == len(list(found)) > 0
    report = parameter_report(unet)
    assert report.trainable == count_trainable(unet) == sum(value.numel() for value in adapter_state(unet).values())
    assert report.total == total + report.trainable
    assert report.percent == pytest.approx(100 * report.trainable / report.total)


def test_weights_follow_from_the_seed_and_the_layer_alone(base: UNet2DConditionModel) -> None:
    torch.manual_seed(0)
    first = state_of(base, PLAIN, seed=7)
    torch.manual_seed(99)
    again = state_of(base, PLAIN, seed=7)
    fewer = state_of(base, LoRA(rank=4, alpha=8, target_modules=["to_k"]), seed=7)
    other = state_of(base, PLAIN, seed=8)
    assert all(torch.equal(again[key], value) for key, value in first.items())
    assert 0 < len(fewer) < len(first)
    assert all(torch.equal(first[key], value) for key, value in fewer.items())
    drawn = [key for key in first if key.endswith("lora_A.weight")]
    assert not any(torch.equal(other[key], first[key]) for key in drawn)
    assert len({tuple(first[key].flatten()[:4].tolist()) for key in drawn}) == len(drawn)


def test_injection_leaves_the_global_random_state_alone(unet: UNet2DConditionModel) -> None:
    before = torch.get_rng_state()
    inject(unet, LoRA(rank=4, alpha=8, dropout=0.1, use_dora=True), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_is_kaiming_uniform_as_in_peft_and_b_is_zero(base: UNet2DConditionModel) -> None:
    state = state_of(base, LoRA(rank=16, alpha=16), seed=5)
    for key, value in state.items():
        bound = 1 / math.sqrt(value.shape[1]) if key.endswith("lora_A.weight") else 0
        assert value.abs().max() <= bound
        assert value.std() == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_an_unknown_target_is_named_beside_those_that_exist(unet: UNet2DConditionModel) -> None:
    with pytest.raises(SpecInvalid) as caught:
        inject(unet, LoRA(target_modules=["to_q", "to_out"]), seed=1)
    assert "spec.lora.targetModules" in caught.value.message
    assert "to_out." in caught.value.message
    assert "to_out.0, to_q" in caught.value.hint
    assert not any(".lora_" in name for name in unet.state_dict())


def test_convolutions_can_be_targets(unet: UNet2DConditionModel) -> None:
    inject(unet, LoRA(rank=4, alpha=4, target_modules=["conv1", "ff.net.2"]), seed=1)
    state = adapter_state(unet)
    assert state["mid_block.resnets.0.conv1.lora_A.weight"].shape == (4, 64, 3, 3)
    assert state["mid_block.attentions.0.transformer_blocks.0.ff.net.2.lora_B.weight"].shape == (64, 4)


@pytest.mark.parametrize(
    ("lora", "factor"),
    [(LoRA(rank=8, alpha=16), 2), (LoRA(rank=16, alpha=4), 0.25), (LoRA(rank=16, alpha=8, use_rslora=True), 2)],
)
def test_the_factor_of_the_update_is_peft_s(unet: UNet2DConditionModel, lora: LoRA, factor: float) -> None:
    assert scaling(lora) == factor
    inject(unet, lora, seed=1)
    layer = unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")
    value = torch.randn(1, 3, 64)
    with torch.no_grad():
        layer.get_submodule("lora_B.default").get_parameter("weight").normal_()
        change = layer(value) - layer.get_submodule("base_layer")(value)
    state = adapter_state(unet)
    a, b = (state[f"mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_{side}.weight"] for side in "AB")
    torch.testing.assert_close(change, factor * value @ a.T @ b.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("update", [PLAIN, DORA])
def test_a_state_moves_to_another_unet_with_its_effect(base: UNet2DConditionModel, update: LoRA) -> None:
    one, two = deepcopy(base), deepcopy(base)
    inject(one, update, seed=1)
    inject(two, update, seed=2)
    randomise(one)
    state = adapter_state(one)
    load_adapter_state(two, state)
    assert torch.equal(output(two), output(one))
    randomise(one)
    assert all(torch.equal(state[key], value) for key, value in adapter_state(two).items()), "the state is a copy"


def randomise(unet: UNet2DConditionModel) -> None:
    with torch.no_grad():
        for _, parameter in trainable(unet):
            parameter.add_(0.05 * torch.randn_like(parameter))


def test_a_state_that_does_not_match_is_refused_whole(unet: UNet2DConditionModel) -> None:
    inject(unet, PLAIN, seed=1)
    state = adapter_state(unet)
    key = max(state)
    ones = {name: torch.ones_like(value) for name, value in state.items()}
    for wrong in (
        {name: value for name, value in ones.items() if name != key},
        {**ones, "no.such.layer.lora_A.weight": torch.ones(4, 4)},
        {**ones, key: torch.ones(1, 4)},
    ):
        with pytest.raises(AdapterInvalid):
            load_adapter_state(unet, wrong)
    assert all(torch.equal(state[name], value) for name, value in adapter_state(unet).items())


def test_switched_off_the_base_is_seen_and_training_goes_on_after(unet: UNet2DConditionModel) -> None:
    plain = output(unet)
    inject(unet, PLAIN, seed=1)
    randomise(unet)
    trainable(unet)[0][1].requires_grad = False
    adapted, names = output(unet), [name for name, _ in trainable(unet)]
    with set_enabled(unet, enabled=False):
        assert torch.equal(output(unet), plain)
        with set_enabled(unet, enabled=True):
            assert torch.equal(output(unet), adapted)
        assert torch.equal(output(unet), plain)
    assert torch.equal(output(unet), adapted)
    assert not torch.equal(adapted, plain)
    assert [name for name, _ in trainable(unet)] == names
