"""Training states whose every bit is known, and what a run store has of them."""

from pathlib import Path

import torch
from torch import Tensor

from diptych_training import checkpoint
from diptych_training.checkpoint import CheckpointState, newest
from diptych_training.run_store import RunStore


def state(step: int) -> CheckpointState:
    """Return a state with several dtypes, an empty tensor and an empty group; every step has another."""
    generator = torch.Generator().manual_seed(step)
    weights = torch.randn(3, 5, generator=generator)
    return CheckpointState(
        groups={
            "parameters": {"a.weight": weights, "a.half": weights.bfloat16(), "empty": torch.zeros(0, 4)},
            "optimizer": {
                "a/step": torch.tensor(step),
                "a/exp_avg": weights.t(),
                "a/flag": torch.tensor([True, False]),
            },
            "average": {},
        },
        meta={"step": step, "standing": {"best": 0.1 + step, "last": None}, "identity": {"spec": "ä"}},
    )


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, list[int]]:
    """Return what two tensors share exactly when they are the same."""
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def same(left: CheckpointState, right: CheckpointState) -> bool:
    """Return whether two states are equal, every bit of every tensor."""

    def plain(one: CheckpointState) -> object:
        return one.meta, {g: {n: bits(t) for n, t in tensors.items()} for g, tensors in one.groups.items()}

    return plain(left) == plain(right)


def folder(store: RunStore, step: int) -> Path:
    """Return the folder of a checkpoint on disk."""
    path = store.local("checkpoints", f"step-{step:06d}")
    assert path
    return path


def newest_step(store: RunStore) -> int | None:
    """Return the step of the newest checkpoint, having compared its state with the one that was saved."""
    found = newest(store, lambda _: None)
    assert found is None or same(found[1], state(found[0]))
    assert checkpoint.newest_step(store, lambda _: None) == (found[0] if found else None)
    return found[0] if found else None
