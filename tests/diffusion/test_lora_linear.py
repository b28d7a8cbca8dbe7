"""A LoRA layer in one step computes what peft's steps do, with the same gradients, and steps aside where it must."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from diptych_api.training import LoRA
from diptych_diffusion import lora
from diptych_diffusion.lora_linear import LoraProduct, fuse
from diptych_diffusion.pipeline import load
from support.tiny_models import make_pipeline

Predict = Callable[[UNet2DConditionModel], Tensor]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., UNet2DConditionModel]:
    def made(dtype: torch.dtype = torch.float32, **settings: object) -> UNet2DConditionModel:
        unet = load(make_pipeline(tmp_path / "base")).denoiser.to(dtype)
        lora.inject(unet, LoRA.model_validate({"rank": 3, "alpha": 6} | settings), seed=0)
        for _, parameter in lora.trainable(unet):
            nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
        return unet

    return made


def predicted(unet: UNet2DConditionModel, dtype: torch.dtype = torch.float32) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    noisy, text = torch.randn(2, 4, 8, 8, generator=draw), torch.randn(2, 16, 32, generator=draw)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype == torch.bfloat16):
        result: Tensor = unet(noisy.to(dtype), torch.tensor([3, 700]), text.to(dtype), return_dict=False)[0]
    return result


def gradients(unet: UNet2DConditionModel, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    unet.zero_grad()
    predicted(unet, dtype).square().mean().backward()
    return {name: parameter.grad.clone() for name, parameter in lora.trainable(unet) if parameter.grad is not None}


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Return the largest difference, relative to the largest gradient of its weight."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[n] - theirs[n]).abs().max() / theirs[n].abs().max()) for n in theirs)


@pytest.mark.parametrize("settings", [{}, {"useRslora": True}, {"targetModules": ["to_k", "proj_in", "ff.net.0.proj"]}])
def test_predictions_and_gradients_are_those_of_peft(
    make: Callable[..., UNet2DConditionModel], settings: dict[str, object]
) -> None:
    theirs = make(**settings).double()
    ours = deepcopy(theirs)
    assert fuse(ours) > 0
    torch.testing.assert_close(predicted(ours, torch.float64), predicted(theirs, torch.float64))
    assert distance(gradients(ours, torch.float64), gradients(theirs, torch.float64)) < 1e-10
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_in_bfloat16_it_is_as_near_to_fp32_as_peft_is(make: Callable[..., UNet2DConditionModel]) -> None:
    exact = gradients(make())
    theirs = make(torch.bfloat16)
    ours = deepcopy(theirs)
    fuse(ours)
    found = gradients(ours, torch.bfloat16)
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    assert distance(found, exact) < 1.5 * distance(gradients(theirs, torch.bfloat16), exact)


def test_its_gradient_is_the_slope() -> None:
    draw = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64, requires_grad=True)

    base = nn.Linear(5, 4, dtype=torch.float64).requires_grad_(requires_grad=False)
    x, a, b = drawn(2, 3, 5), drawn(2, 5), drawn(4, 2)

    def product(*given: Tensor) -> Tensor:
        result: Tensor = LoraProduct.apply(*given, base, 0.5)  # type: ignore[no-untyped-call]
        return result

    assert torch.autograd.gradcheck(product, (x, a, b))


def test_with_checkpointed_blocks_the_gradients_are_the_same(make: Callable[..., UNet2DConditionModel]) -> None:
    unet = make().train()
    fuse(unet)
    plain = gradients(unet)
    unet.enable_gradient_checkpointing()
    assert distance(gradients(unet), plain) < 1e-6


def test_switched_off_it_is_the_base_and_taken_away_it_is_gone(make: Callable[..., UNet2DConditionModel]) -> None:
    unet = make()
    fuse(unet)
    tuned = predicted(unet).detach()
    with lora.set_enabled(unet, enabled=False):
        base = predicted(unet).detach()
    assert not torch.allclose(base, tuned, atol=1e-3)
    assert torch.equal(predicted(unet).detach(), tuned)
    lora.detach(unet)
    assert torch.equal(predicted(unet).detach(), base)


@pytest.mark.parametrize("settings", [{"dropout": 0.1}, {"useDora": True}, {"targetModules": ["conv1"]}])
def test_what_it_does_not_know_stays_as_peft_has_it(
    make: Callable[..., UNet2DConditionModel], settings: dict[str, object]
) -> None:
    assert fuse(make(**settings)) == 0


def test_a_merged_layer_adds_nothing_twice(make: Callable[..., UNet2DConditionModel]) -> None:
    unet = make()
    fuse(unet)
    before = predicted(unet).detach()
    unet.fuse_lora()
    torch.testing.assert_close(predicted(unet).detach(), before, rtol=1e-3, atol=1e-3)
