from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from diptych_api.training import LoRA
from diptych_diffusion.lora import inject, trainable
from diptych_diffusion.lora_dropout import KeyedDropout, set_dropout_keys
from support.tiny_models import make_pipeline


def dropped(layer: str, keys: list[int], share: float = 0.25) -> torch.Tensor:
    dropout = KeyedDropout(share, layer)
    set_dropout_keys(dropout, torch.tensor(keys))
    values: torch.Tensor = dropout(torch.ones(len(keys), 64, 128))
    return values


def test_a_sample_has_its_own_mask_whoever_shares_its_batch() -> None:
    together = dropped("to_q", [11, -22, 2**62])
    apart = [dropped("to_q", [2**62]), dropped("to_q", [11]), dropped("to_q", [-22])]
    assert torch.equal(together, torch.cat([apart[1], apart[2], apart[0]]))


def test_masks_differ_between_samples_and_layers_as_if_drawn_independently() -> None:
    masks = torch.stack(
        [mask for layer in ("to_q", "to_k") for mask in dropped(layer, [1, 2, 3, 1 << 32, 2 << 32], 0.5) > 0]
    )
    agreement = (masks[:, None] == masks[None]).float().mean(dim=(2, 3))
    assert (agreement - torch.eye(10) * 0.5 - 0.5).abs().max() < 0.03


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_share_is_dropped_and_the_mean_kept(share: float) -> None:
    values = dropped("to_q", list(range(16)), share)
    assert (values == 0).float().mean() == pytest.approx(share, abs=0.01)
    assert values.mean() == pytest.approx(1, rel=0.05)
    assert values.max() == pytest.approx(1 / (1 - share))


def test_nothing_is_dropped_outside_training() -> None:
    values = torch.randn(2, 8)
    assert KeyedDropout(0.5, "to_q").eval()(values) is values


def test_samples_without_keys_are_a_mistake() -> None:
    dropout = KeyedDropout(0.5, "to_q")
    with pytest.raises(RuntimeError, match="set_dropout_keys"):
        dropout(torch.ones(2, 8))
    set_dropout_keys(dropout, torch.tensor([1]))
    with pytest.raises(RuntimeError, match="set_dropout_keys"):
        dropout(torch.ones(2, 8))


def test_one_worker_and_two_drop_the_same_values_of_a_unet_recomputed_or_not(tmp_path: Path) -> None:
    unet: UNet2DConditionModel = UNet2DConditionModel.from_pretrained(make_pipeline(tmp_path) / "unet")
    inject(unet, LoRA(rank=4, alpha=8, dropout=0.3), seed=1)
    with torch.no_grad():
        for _, parameter in trainable(unet):
            parameter.add_(0.05)
    sample, states, keys = torch.randn(4, 4, 8, 8), torch.randn(4, 5, 32), torch.tensor([5, 6, 7, 8])

    def run(rows: slice, shift: int = 0) -> torch.Tensor:
        set_dropout_keys(unet, keys[rows] + shift)
        result: torch.Tensor = unet.train()(sample[rows], 400, states[rows], return_dict=False)[0]
        return result

    def gradient() -> torch.Tensor:
        unet.zero_grad()
        run(slice(4)).square().mean().backward()
        return torch.cat([parameter.grad.flatten() for _, parameter in trainable(unet) if parameter.grad is not None])

    whole = run(slice(4))
    torch.testing.assert_close(torch.cat([run(slice(2)), run(slice(2, 4))]), whole, rtol=1e-4, atol=1e-5)
    assert (run(slice(4), shift=1) - whole).abs().max() > 1e-3
    plain = gradient()
    unet.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(), plain, rtol=1e-4, atol=1e-6)
