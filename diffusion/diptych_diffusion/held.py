"""Adapters as a bank holds them, the rows that they update, and what may draw these in PyTorch's place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from diffusers import UNet2DConditionModel
from torch import Tensor

from diptych_diffusion.adapter_weights import TEXT_PREFIX
from diptych_diffusion.lora_update import Update
from diptych_diffusion.unet_files import UNetWeights


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """An adapter on the UNet's device. What draws with it keeps it alive, so it may be unloaded at any time."""

    name: str
    digest: str
    """Digest of the weights, ``sha256:…``."""
    rank: int
    updates: Mapping[str, Update]
    """By layer; names of the text encoder's layers begin with ``text_encoder.``."""
    scale: float = 1.0
    text_scale: float | None = None

    @property
    def unet_updates(self) -> Mapping[str, Update]:
        """Those of the UNet's layers."""
        return {name: update for name, update in self.updates.items() if not name.startswith(TEXT_PREFIX)}

    @property
    def unet_rank(self) -> int:
        """Rank of the UNet's updates, all of them the same."""
        return next((len(update.a) for name, update in self.updates.items() if not name.startswith(TEXT_PREFIX)), 0)

    @property
    def is_linear(self) -> bool:
        """Whether it only adds to outputs; a DoRA scales them, too."""
        return all(update.magnitude is None for update in self.updates.values())

    @property
    def adapts_text(self) -> bool:
        """Whether prompts are encoded with it, too."""
        return self.text_scale is not None

    @property
    def identity(self) -> str:
        """What its rows depend on: the weights, and the scale, which no weight tells."""
        scales = [self.scale] if self.text_scale is None else [self.scale, self.text_scale]
        return f"{self.digest} × {', '.join(map(repr, scales))}"

    @property
    def bytes(self) -> int:
        """Memory that it takes on the device."""
        return sum(tensor.nbytes for update in self.updates.values() for tensor in update.tensors())


@dataclass(frozen=True, slots=True, eq=False)
class OwnUNet:
    """An adapter that is a whole UNet on the base UNet's device: its rows take a forward pass of their own."""

    name: str
    digest: str
    unet: UNet2DConditionModel
    backend: "Backend | None" = None
    """What runs it in PyTorch's place."""

    @property
    def identity(self) -> str:
        """What its rows depend on."""
        return self.digest

    @property
    def rank(self) -> None:
        """None: it is no update."""
        return

    @property
    def bytes(self) -> int:
        """Memory that it takes on the device."""
        return sum(tensor.nbytes for tensor in (*self.unet.parameters(), *self.unet.buffers()))


Held = Slot | OwnUNet
"""What a bank holds."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring rows, ``start`` to ``stop``, that take the same update with the same strength."""

    start: int
    stop: int
    slot: Slot
    strength: float


def runs_of(adapters: Sequence[tuple[Held | None, float]]) -> list[Run]:
    """Return the runs of rows whose adapters and strengths are given, one pair a row; None is the base.

    Rows of a whole UNet take no update.
    """
    runs: list[Run] = []
    for row, (slot, strength) in enumerate(adapters):
        if not isinstance(slot, Slot) or strength == 0:
            continue
        last = runs[-1] if runs else None
        if last is not None and (last.stop, last.slot, last.strength) == (row, slot, strength):
            runs[-1] = Run(last.start, row + 1, slot, strength)
        else:
            runs.append(Run(row, row + 1, slot, strength))
    return runs


class Backend(Protocol):
    """A UNet, run by something else than PyTorch."""

    def takes(self, held: Held | None, latents: Tensor) -> bool:
        """Whether it draws rows of an adapter, or of the base, at the size of these latents, or PyTorch has to."""

    def like(self, weights: UNetWeights) -> "Backend":
        """Return the same for another UNet."""

    def open(self, slot: Slot) -> None:
        """Get ready for rows of an adapter. May be called from any thread."""

    def forget(self) -> None:
        """Let go what is kept of adapters; they may be gone. May be called from any thread."""

    def __call__(self, inputs_RChw: Tensor, t_R: Tensor, embeddings_RLD: Tensor, runs: Sequence[Run]) -> Tensor:
        """Return the UNet's output; rows of no run are the base's."""
