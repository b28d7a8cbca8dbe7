"""AdapterWeights: what a LoRA is, whichever file it came from."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from diptych_api.artifact import BaseRecord
from diptych_api.training import LoRA

A: Final = "lora_A.weight"
B: Final = "lora_B.weight"
MAGNITUDE: Final = "lora_magnitude_vector"
TEXT_PREFIX: Final = "text_encoder."
"""Stands before the names of the text encoder's layers where one mapping holds both networks' tensors."""
_KEY: Final = re.compile(rf"(?P<layer>[^.]+(\.[^.]+)*)\.(?P<part>{re.escape(A)}|{re.escape(B)}|{MAGNITUDE})")


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """A LoRA of one network: a UNet, with that of its text encoder where both were trained, or a text encoder.

    ``state`` has peft's names without prefix: `LAYER.lora_A.weight` (rank, in, …), `LAYER.lora_B.weight` (out, rank, …)
    and, for DoRA, `LAYER.lora_magnitude_vector`; float32 on the CPU. ``base`` is None for files that do not say it.
    """

    state: Mapping[str, Tensor]
    rank: int
    alpha: float
    rslora: bool
    dora: bool
    target_modules: tuple[str, ...]
    base: BaseRecord | None
    text_encoder: "AdapterWeights | None" = None

    @classmethod
    def of(
        cls,
        state: Mapping[str, Tensor],
        lora: LoRA,
        base: BaseRecord,
        text_state: Mapping[str, Tensor] | None = None,
    ) -> Self:
        """Return the weights that were trained for ``base`` under the settings ``lora``."""
        return cls(
            state=dict(sorted(state.items())),
            rank=lora.rank,
            alpha=lora.alpha,
            rslora=lora.use_rslora,
            dora=lora.use_dora,
            target_modules=tuple(lora.target_modules),
            base=base,
            text_encoder=cls.of(text_state, text_settings(lora), base) if text_state else None,
        )

    @property
    def scale(self) -> float:
        """Return the factor of B·A."""
        return lora_scale(self.alpha, self.rank, rslora=self.rslora)

    def layers(self) -> list[str]:
        """Return the names of the adapted layers, sorted."""
        return sorted({match["layer"] for key in self.state if (match := _KEY.fullmatch(key))})

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of both networks by name, the text encoder's with ``text_encoder.`` before them."""
        text = {} if self.text_encoder is None else self.text_encoder.state
        return {**self.state, **{TEXT_PREFIX + key: tensor for key, tensor in text.items()}}


def text_settings(lora: LoRA) -> LoRA:
    """Return the settings of the text encoder's LoRA: its own rank, the attention's projections, the UNet's scale."""
    ratio = lora.text_encoder_rank / lora.rank
    changes = {
        "rank": lora.text_encoder_rank,
        "alpha": lora.alpha * (math.sqrt(ratio) if lora.use_rslora else ratio),
        "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj"],
        "text_encoder_rank": 0,
    }
    return lora.model_copy(update=changes)


def lora_scale(alpha: float, rank: int, *, rslora: bool) -> float:
    """Return alpha / rank, or alpha / sqrt(rank) for rsLoRA (arXiv 2312.03732)."""
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def find_fault(weights: AdapterWeights) -> str | None:
    """Return what is wrong with the weights as they stand, in words that complete "the adapter …", or None."""
    text = None if weights.text_encoder is None else next(_faults(weights.text_encoder), None)
    return next(_faults(weights), None) or (text and f"{text}, in its part for the text encoder")


def find_unpaired(state: Mapping[str, Tensor], *, dora: bool) -> str | None:
    """Return which key is no part of a LoRA or which layer lacks a part, in words that complete "the adapter …"."""
    parts: dict[str, set[str]] = {}
    for key in state:
        if not (match := _KEY.fullmatch(key)):
            return f"has the key {key}, which is no part of a LoRA"
        parts.setdefault(match["layer"], set()).add(match["part"])
    needed = {A, B, MAGNITUDE} if dora else {A, B}
    for layer, present in parts.items():
        if present != needed:
            return f"has {_listed(present)} for layer {layer} instead of {_listed(needed)}"
    return None


def _faults(weights: AdapterWeights) -> Iterator[str]:
    if not weights.state:
        yield "holds no tensors"
    if unpaired := find_unpaired(weights.state, dora=weights.dora):
        yield unpaired
    for key, tensor in weights.state.items():
        if not (tensor.is_floating_point() and torch.isfinite(tensor).all()):
            yield f"holds numbers in {key} that are not finite fractions ({tensor.dtype})"
    if not 0 < weights.alpha < math.inf:
        yield f"has alpha {weights.alpha}"
    for layer in weights.layers():
        a, b = weights.state[f"{layer}.{A}"], weights.state[f"{layer}.{B}"]
        if a.shape[:1] != (weights.rank,) or b.shape[1:2] != (weights.rank,):
            yield f"says rank {weights.rank}, but layer {layer} has A {list(a.shape)} and B {list(b.shape)}"


def _listed(parts: set[str]) -> str:
    return " and ".join(sorted(parts))
