"""Adapters that share one UNet: every row of a forward pass takes its own update, or none.

A LoRA update is linear (Hu et al., arXiv 2106.09685), so rows of the base and of any adapters can go through the same
frozen layers together; what an adapter adds is added to its rows alone. DoRA then scales the outputs of its rows.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from diptych_api.errors import AdapterInvalid, ArtifactInvalid, UnsupportedHere
from diptych_diffusion.adapter_weights import TEXT_PREFIX, AdapterWeights
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.held import Backend, Held, OwnUNet, Run, Slot
from diptych_diffusion.lora_layers import adaptable, find_misfit
from diptych_diffusion.lora_update import Update
from diptych_diffusion.unet_files import UNetWeights

MAX_RANK: Final = 64
_log = logging.getLogger(__name__)


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
        backend: Backend | None = None,
    ) -> None:
        self.unet, self.text_encoder, self.backend = unet, text_encoder, backend
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
        self._forget()

    def unload(self, name: str) -> None:
        """Forget an adapter; pictures that draw with it are finished with it."""
        self._loaded.pop(name, None)
        self._forget()

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
        digest, text_scale = f"sha256:{weights_digest(weights.tensors())}", None if text is None else text.scale
        slot = Slot(name, digest, rank, updates, weights.scale, text_scale)
        if self.backend is not None:
            self.backend.open(slot)
        return slot

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
        own = weights.unet.to(self.unet.device)
        return OwnUNet(name, f"sha256:{weights.digest}", own, self._backend_of(name, weights))

    def _backend_of(self, name: str, weights: UNetWeights) -> Backend | None:
        """Return the back-end of a whole UNet; PyTorch draws one that it cannot run."""
        try:
            return None if self.backend is None else self.backend.like(weights)
        except ArtifactInvalid as error:
            _log.warning("PyTorch draws adapter %s: %s", name, error.message)
            return None

    def _forget(self) -> None:
        if self.backend is not None:
            self.backend.forget()

    def _check_room(self, name: str) -> None:
        if name not in self._loaded and len(self._loaded) >= self.slots:
            raise UnsupportedHere(
                f"There is no slot for adapter {name}: {self.slots} are taken.",
                hint="Raise spec.slots, or serve fewer adapters.",
            )

    def backend_for(self, held: Held | None, latents: Tensor) -> Backend | None:
        """Return what draws rows of an adapter, or of the base, at the size of these latents; None is PyTorch."""
        backend = held.backend if isinstance(held, OwnUNet) else self.backend
        return backend if backend is not None and backend.takes(held, latents) else None

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
