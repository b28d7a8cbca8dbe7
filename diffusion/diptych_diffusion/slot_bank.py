"""Adapters that share one UNet: every row of a forward pass takes its own update, or none.

A LoRA update is linear (Hu et al., arXiv 2106.09685), so rows of the base and of any adapters can go through the same
frozen layers together; what an adapter adds is added to its rows alone. DoRA then scales the outputs of its rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from diptych_api.errors import AdapterInvalid, UnsupportedHere
from diptych_diffusion.adapter_weights import TEXT_PREFIX, AdapterWeights
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.lora_layers import adaptable, find_misfit
from diptych_diffusion.lora_update import Update
from diptych_diffusion.unet_files import UNetWeights

MAX_RANK: Final = 64


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


class SlotBank:
    """The adapters of one UNet and its text encoder, which compute what they did before without rows of an adapter.

    A whole UNet takes a slot as a LoRA does, and far more memory. ``load``, ``put`` and ``unload`` may be called from
    any thread while another one draws.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel | None = None,
        *,
        slots: int = 8,
        max_rank: int = MAX_RANK,
    ) -> None:
        self.unet, self.text_encoder = unet, text_encoder
        self.slots = slots
        self.max_rank = max_rank
        self._loaded: dict[str, Held] = {}
        self._runs: Sequence[Run] = ()
        for network, prefix in ((unet, ""), (text_encoder, TEXT_PREFIX)):
            for name, layer in adaptable(network).items() if network is not None else ():
                layer.register_forward_hook(partial(self._add, prefix + name))

    @property
    def loaded(self) -> Mapping[str, Held]:
        """The adapters by name, as of now."""
        return dict(self._loaded)

    def load(self, name: str, weights: AdapterWeights) -> Slot:
        """Take in a LoRA, in place of an adapter of the same name. Raises as prepared does."""
        slot = self.prepared(name, weights)
        self.put(slot)
        return slot

    def put(self, held: Held) -> None:
        """Serve what was prepared, in place of an adapter of the same name. Raises UnsupportedHere without a slot."""
        self._check_room(held.name)
        self._loaded[held.name] = held

    def unload(self, name: str) -> None:
        """Forget an adapter; pictures that draw with it are finished with it."""
        self._loaded.pop(name, None)

    def prepared(self, name: str, weights: AdapterWeights) -> Slot:
        """Return a LoRA checked and moved to the UNet's device, but not yet served.

        Raises:
            AdapterInvalid: when it does not fit the UNet, or its rank is above the highest that is held.
            UnsupportedHere: when every slot is taken.

        """
        self._check_room(name)
        text = weights.text_encoder
        rank = max(weights.rank, 0 if text is None else text.rank)
        if rank > self.max_rank:
            raise AdapterInvalid(
                f"Adapter {name} has rank {rank}; the highest that is served is {self.max_rank}.",
                hint="Raise spec.maxRank.",
            )
        updates = self._updates(name, self.unet, weights, "")
        if text is not None:
            if self.text_encoder is None:
                raise UnsupportedHere(f"Adapter {name} changes the text encoder.", hint="Serve one of the UNet alone.")
            updates |= self._updates(name, self.text_encoder, text, TEXT_PREFIX)
        text_scale = None if text is None else text.scale
        return Slot(name, f"sha256:{weights_digest(weights.tensors())}", rank, updates, weights.scale, text_scale)

    def _updates(
        self, name: str, network: UNet2DConditionModel | CLIPTextModel, weights: AdapterWeights, prefix: str
    ) -> dict[str, Update]:
        if misfit := find_misfit(network, weights):
            raise AdapterInvalid(f"The adapter {name} {misfit}.", hint="Use the base that it was made for.")
        layers = adaptable(network)
        return {prefix + name: Update.of(weights, name, layers[name]) for name in weights.layers()}

    def prepared_unet(self, name: str, weights: UNetWeights) -> OwnUNet:
        """Return a whole UNet moved to the base UNet's device, but not yet served. Raises UnsupportedHere."""
        self._check_room(name)
        return OwnUNet(name, f"sha256:{weights.digest}", weights.unet.to(self.unet.device))

    def _check_room(self, name: str) -> None:
        if name not in self._loaded and len(self._loaded) >= self.slots:
            raise UnsupportedHere(
                f"There is no slot for adapter {name}: {self.slots} are taken.",
                hint="Raise spec.slots, or serve fewer adapters.",
            )

    @contextmanager
    def rows(self, runs: Sequence[Run]) -> Iterator[None]:
        """Give the rows of the forward passes in the body their updates; all other rows are the base's."""
        self._runs = runs
        try:
            yield
        finally:
            self._runs = ()

    def _add(self, name: str, layer: nn.Linear | nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        for run in self._runs:
            if (update := run.slot.updates.get(name)) is not None:
                rows = slice(run.start, run.stop)
                update.add_to(output[rows], layer, inputs[0][rows], run.strength)


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
