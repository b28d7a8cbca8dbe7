import pytest
import torch

from diptych_diffusion.lora_dropout import KeyedDropout, set_dropout_keys


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
