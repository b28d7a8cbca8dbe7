"""A base's UNet in ONNX Runtime, with the layers open that adapters change.

Shapes: R rows, K the ranks of all adapters of a pass together, C latent channels, h and w sides in latents, L tokens,
D text encoder width.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import _lru_cache_wrapper, lru_cache
from pathlib import Path
from threading import Lock
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from torch import Tensor

from diptych_diffusion.held import Held, Run, Slot
from diptych_diffusion.onnx_file import session
from diptych_diffusion.onnx_slots import RANKS, STRENGTHS, names_of, opened
from diptych_diffusion.unet_files import UNetWeights

MIXES: Final = 4
"""Sets of adapters that are kept ready side by side."""
Array = NDArray[np.float32]
Shape = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class _Live:
    """The graph as it is loaded now, with the layers that are open."""

    layers: frozenset[str]
    session: InferenceSession
    inputs: frozenset[str]
    updates: "_lru_cache_wrapper[dict[str, Array]]"
    """Takes a tuple of slots."""


class OnnxUNet:
    """Draws rows of a UNet and of LoRAs for it. ``open`` may be called from any thread while another one draws."""

    def __init__(self, file: Path, side_step: int, like: Callable[[UNetWeights], Self]) -> None:
        """Load a file that `write_part` has written; sides of latents are multiples of ``side_step`` there."""
        self.file, self._side_step = file, side_step
        self.like = like
        self._door = Lock()
        self._live = self._load(frozenset())

    def takes(self, held: Held | None, latents: Tensor) -> bool:
        """Whether rows can be drawn here: not those of a DoRA, nor of sides that the UNet cannot halve."""
        fits = not any(side % self._side_step for side in latents.shape[-2:])
        return fits and (not isinstance(held, Slot) or held.is_linear)

    def open(self, slot: Slot) -> None:
        """Open the layers that an adapter changes, where they are not yet; the graph is then loaded anew."""
        if slot.is_linear:
            with self._door:
                if not (layers := slot.unet_updates.keys()) <= self._live.layers:
                    self._live = self._load(self._live.layers | layers)

    def forget(self) -> None:
        """Let go the adapters that were put side by side; those that still draw are put so again."""
        self._live.updates.cache_clear()

    def __call__(self, inputs_RChw: Tensor, t_R: Tensor, embeddings_RLD: Tensor, runs: Sequence[Run]) -> Tensor:
        """Return the UNet's output; rows of no run are the base's. Every adapter's layers must be open."""
        live, updating = self._live, [run for run in runs if run.slot.unet_rank]
        slots = tuple(dict.fromkeys(run.slot for run in updating))
        s_RK = strengths(len(inputs_RChw), slots, updating)
        shaped = {STRENGTHS[2]: s_RK, STRENGTHS[3]: s_RK[:, None], STRENGTHS[4]: s_RK[:, :, None, None]}
        rows = {"sample": inputs_RChw, "timestep": t_R, "encoder_hidden_states": embeddings_RLD}
        feed = {name: tensor.float().numpy() for name, tensor in rows.items()} | live.updates(slots)
        feed |= {name: s for name, s in shaped.items() if name in live.inputs}
        return torch.from_numpy(live.session.run(None, feed)[0])

    def _load(self, layers: frozenset[str]) -> _Live:
        loaded = session(self.file, opened(self.file, layers))
        shapes = {entry.name: tuple(entry.shape) for entry in loaded.get_inputs()}
        inputs = {layer: [(name, shapes[name]) for name in names_of(layer)] for layer in layers}
        return _Live(layers, loaded, frozenset(shapes), lru_cache(MIXES)(lambda slots: _side_by_side(slots, inputs)))


def strengths(rows: int, slots: Sequence[Slot], runs: Sequence[Run]) -> Array:
    """Return each row's strength in the columns of its own adapter, ``[R, K]``; one column of zeros without any."""
    columns, end = dict[Slot, slice](), 0
    for slot in slots:
        columns[slot] = slice(end, end + slot.unet_rank)
        end += slot.unet_rank
    found = np.zeros((rows, max(end, 1)), dtype=np.float32)
    for run in runs:
        found[run.start : run.stop, columns[run.slot]] = run.strength
    return found


def _side_by_side(slots: Sequence[Slot], inputs: Mapping[str, Iterable[tuple[str, Shape]]]) -> dict[str, Array]:
    """Return A and B of every open layer, of all adapters; zeros where one does not change the layer."""
    found = {}
    for layer, named in inputs.items():
        for which, (name, shape) in zip(("a", "b"), named, strict=True):
            parts = [_part(getattr(slot.updates.get(layer), which, None), shape, slot.unet_rank) for slot in slots]
            joined = np.concatenate(parts or [_part(None, shape, 1)], shape.index(RANKS.value))
            found[name] = np.ascontiguousarray(joined)
    return found


def _part(tensor: Tensor | None, shape: Shape, rank: int) -> Array:
    """Return one adapter's A or B as the graph takes it."""
    if tensor is None:
        return np.zeros([rank if side == RANKS.value else int(side) for side in shape], dtype=np.float32)
    array: Array = (tensor.T if tensor.ndim == 2 else tensor).numpy()  # noqa: PLR2004 -- of a linear layer
    return array
