"""What a checkpoint holds, and how a run goes on from one."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import JsonValue
from torch import Tensor

from diptych_api.errors import CheckpointCorrupt
from diptych_api.training import Training
from diptych_training.checkpoint import CheckpointState, CheckpointWriter, load, newest
from diptych_training.letters import Row, Standing
from diptych_training.optim import restore_optimizer
from diptych_training.run_store import RunStore
from diptych_training.share import Identity

if TYPE_CHECKING:
    from diptych_training.loop import Loop


@dataclass(frozen=True)
class Keeper:
    """Saves the loop's state in the background."""

    writer: CheckpointWriter
    identity: Identity

    def save(self, loop: "Loop", moments: dict[str, Tensor], *, wait: bool) -> None:
        """Hand a copy of the state to the writer; with ``wait``, return when it is on disk.

        ``moments`` is the optimiser's state over all workers.
        """
        also = {loop.standing.best_step} if loop.training.early_stopping.enabled else set()
        self.writer.submit(loop.step, snapshot(loop, moments, self.identity), also=also)
        if wait:
            self.writer.flush()


def snapshot(loop: "Loop", moments: dict[str, Tensor], identity: Identity) -> CheckpointState:
    """Return a copy of everything the next step depends on, on the CPU. Randomness is keyed, so none is stored."""
    parameters = {name: p.detach().cpu().clone() for name, p in loop.trainee.parameters.items()}
    groups = {
        "parameters": parameters,
        "average": {name: t.cpu().clone() for name, t in loop.average.shadow.items()},
        "optimizer": moments,
    }
    meta: dict[str, JsonValue] = {
        "step": loop.step,
        "average_updates": loop.average.updates,
        "standing": asdict(loop.standing),
        "scaler": loop.scaler.state_dict(),
        "identity": dict(identity),
        "rows": [asdict(row) for row in loop.meter.recent],
    }
    return CheckpointState(groups=groups, meta=meta)


@torch.no_grad()
def restore(loop: "Loop", state: CheckpointState, identity: Identity) -> None:
    """Put the loop into the state of a checkpoint.

    Raises:
        CheckpointCorrupt: when it belongs to another job, data set or base, or lacks a parameter.

    """
    theirs = state.meta["identity"]
    differing = [name for name, digest in identity.items() if theirs.get(name) != digest]
    if differing:
        raise CheckpointCorrupt(
            f"The checkpoint of step {state.meta['step']} was made with another {' and '.join(differing)}.",
            hint="Give the job another name, or remove the run's folder to start over.",
        )
    missing = loop.trainee.parameters.keys() ^ state.groups["parameters"].keys()
    if missing:
        raise CheckpointCorrupt(f"The checkpoint and the model differ in {len(missing)} weights: {min(missing)}, ….")
    for name, parameter in loop.trainee.parameters.items():
        parameter.copy_(state.groups["parameters"][name])
        loop.average.shadow[name].copy_(state.groups["average"][name])
    restore_optimizer(loop.optimizer, loop.learning, state.groups["optimizer"])
    loop.average.updates = int(state.meta["average_updates"])
    loop.standing = Standing(**state.meta["standing"])
    loop.scaler.load_state_dict(state.meta["scaler"])
    for row in state.meta.get("rows", ()):
        loop.meter.keep(Row(**row))
    loop.step = loop.meter.start_step = loop.meter.checkpoint_step = int(state.meta["step"])


def final_state(store: RunStore, training: Training) -> CheckpointState:
    """Return the state that the artifact is made of: the best one with early stopping, else the last.

    Raises:
        CheckpointCorrupt: when there is none.

    """
    found = newest(store, lambda _: None)
    if found is None:
        raise CheckpointCorrupt(f"{store.uri()} holds no checkpoint.", hint="Run the job again.")
    step, last = found
    best = Standing(**last.meta["standing"]).best_step
    return load(store, best) if training.early_stopping.enabled and 0 < best < step else last
