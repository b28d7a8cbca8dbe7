"""Base and adapters in one forward pass, equal to what peft computes for each alone."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from diptych_api.artifact import BaseRecord
from diptych_api.errors import AdapterInvalid, DiptychError, UnsupportedHere
from diptych_api.training import LoRA
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.held import Run, Slot, runs_of
from diptych_diffusion.lora import adapter_state, attach, inject, trainable
from diptych_diffusion.pipeline import load
from diptych_diffusion.slot_bank import SlotBank
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

BASE = BaseRecord(source="huggingFace:somebody/model", revision="0" * 40, digest="sha256:" + "ab" * 32)
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "conv1", "conv_shortcut", "time_emb_proj"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> UNet2DConditionModel:
    return load(make_pipeline(tmp_path_factory.mktemp("base"))).denoiser


def adapter(plain: UNet2DConditionModel, seed: int, lora: LoRA) -> AdapterWeights:
    """Return a random adapter of some settings."""
    unet = deepcopy(plain)
    inject(unet, lora, seed=seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in trainable(unet):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=random))
    return AdapterWeights.of(adapter_state(unet), lora, BASE)


@pytest.fixture(scope="module")
def attention(plain: UNet2DConditionModel) -> AdapterWeights:
    return adapter(plain, 1, LoRA(rank=8, alpha=16, use_rslora=True))


@pytest.fixture(scope="module")
def everywhere(plain: UNet2DConditionModel) -> AdapterWeights:
    return adapter(plain, 2, LoRA(rank=4, alpha=2.5, target_modules=LAYERS))


@torch.no_grad()
def output(unet: UNet2DConditionModel, rows: list[int]) -> Tensor:
    """Return what the UNet makes of some rows out of six different ones."""
    random = torch.Generator().manual_seed(3)
    sample, states = torch.randn((6, 4, 8, 8), generator=random), torch.randn((6, 5, 32), generator=random)
    steps = torch.tensor([900.0, 1.0, 400.0, 333.0, 20.0, 999.0])
    result: Tensor = unet(sample[rows], steps[rows], states[rows], return_dict=False)[0]
    return result


def by_peft(plain: UNet2DConditionModel, weights: AdapterWeights, rows: list[int], strength: float = 1) -> Tensor:
    """Return the same with an adapter that peft applies to every row."""
    unet = deepcopy(plain)
    attach(unet, replace(weights, alpha=weights.alpha * strength))
    return output(unet, rows)


def test_each_row_takes_its_own_update(
    plain: UNet2DConditionModel, attention: AdapterWeights, everywhere: AdapterWeights
) -> None:
    bank = SlotBank(deepcopy(plain))
    one, other = bank.load("one", attention), bank.load("other", everywhere)
    runs = [Run(1, 3, one, 1), Run(3, 4, other, 1), Run(4, 5, other, -0.5)]
    with bank.rows(runs):
        together = output(bank.unet, [0, 1, 2, 3, 4, 5])
    alone = torch.cat(
        [
            output(plain, [0]),
            by_peft(plain, attention, [1, 2]),
            by_peft(plain, everywhere, [3]),
            by_peft(plain, everywhere, [4], -0.5),
            output(plain, [5]),
        ]
    )
    errors = (together - alone).flatten(1).norm(dim=1) / alone.flatten(1).norm(dim=1)
    assert errors.max() <= 1e-5
    effects = (alone - output(plain, [0, 1, 2, 3, 4, 5])).flatten(1).norm(dim=1) / alone.flatten(1).norm(dim=1)
    assert (effects > 1e-2).tolist() == [False, True, True, True, True, False]


@pytest.mark.parametrize("strength", [1, 0.5, -1])
@pytest.mark.parametrize("targets", [LAYERS[:4], LAYERS], ids=["attention", "everywhere"])
def test_a_dora_scales_its_own_rows_as_peft_does(
    plain: UNet2DConditionModel, attention: AdapterWeights, targets: list[str], strength: float
) -> None:
    dora = adapter(plain, 5, LoRA(rank=4, alpha=8, use_dora=True, target_modules=targets))
    bank = SlotBank(deepcopy(plain))
    slot, other = bank.load("dora", dora), bank.load("one", attention)
    with bank.rows([Run(1, 3, slot, strength), Run(3, 4, other, 1)]):
        together = output(bank.unet, [0, 1, 2, 3])
    expected = [output(plain, [0]), by_peft(plain, dora, [1, 2], strength), by_peft(plain, attention, [3])]
    errors = (together - torch.cat(expected)).flatten(1).norm(dim=1) / torch.cat(expected).flatten(1).norm(dim=1)
    assert errors.max() <= 1e-5
    assert (expected[1] - output(plain, [1, 2])).norm() / expected[1].norm() > 1e-2


def test_without_rows_the_unet_is_the_bases_bit_for_bit(plain: UNet2DConditionModel, attention: AdapterWeights) -> None:
    bank = SlotBank(deepcopy(plain))
    bank.load("one", attention)
    assert output(bank.unet, [0, 1]).equal(output(plain, [0, 1]))


def test_an_adapter_may_be_unloaded_while_rows_draw_with_it(
    plain: UNet2DConditionModel, attention: AdapterWeights, everywhere: AdapterWeights
) -> None:
    bank = SlotBank(deepcopy(plain), slots=1)
    slot = bank.load("one", attention)
    bank.unload("one")
    bank.load("one", everywhere)
    with bank.rows([Run(0, 1, slot, 1)]):
        found = output(bank.unet, [0])
    assert (found - by_peft(plain, attention, [0])).norm() / found.norm() <= 1e-5
    assert list(bank.loaded) == ["one"]


REFUSED: dict[str, tuple[type[DiptychError], Callable[[AdapterWeights], AdapterWeights], str]] = {
    "rank": (AdapterInvalid, lambda good: good, "has rank 8; the highest that is served is 4"),
    "layer": (
        AdapterInvalid,
        lambda good: replace(good, rank=4, state={f"x.{key}": value for key, value in good.state.items()}),
        "which this UNet does not have",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_refused_by_name(
    plain: UNet2DConditionModel, attention: AdapterWeights, case: str
) -> None:
    error, spoil, words = REFUSED[case]
    bank = SlotBank(deepcopy(plain), max_rank=4)
    with pytest.raises(error, match="style.*" + words):
        bank.load("style", spoil(attention))
    assert not bank.loaded


def test_a_full_bank_says_so_and_keeps_what_it_has(plain: UNet2DConditionModel, attention: AdapterWeights) -> None:
    bank = SlotBank(deepcopy(plain), slots=1)
    bank.load("one", attention)
    with pytest.raises(UnsupportedHere, match="no slot for adapter two: 1 are taken"):
        bank.load("two", attention)
    assert list(bank.loaded) == ["one"]


def test_neighbours_with_the_same_adapter_and_strength_are_one_run() -> None:
    a, b = Slot("a", "", 1, {}), Slot("b", "", 1, {})
    rows: list[tuple[Slot | None, float]] = [(None, 1), (a, 1), (a, 1), (a, 0.5), (None, 1), (b, 0.5), (b, 0), (b, 0.5)]
    assert runs_of(rows) == [Run(1, 3, a, 1), Run(3, 4, a, 0.5), Run(5, 6, b, 0.5), Run(7, 8, b, 0.5)]
