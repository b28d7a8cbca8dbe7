"""Whole runs without Ray: the loop with its checkpoints, then artifact and evaluation, as workers do them."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from diptych_api.report import ArtifactRef
from diptych_api.runstore import RUN_FILE, RunRecord
from diptych_training.building import build_loop
from diptych_training.checkpoint import CheckpointWriter, newest
from diptych_training.finish import conclude
from diptych_training.letters import Progress, Row, Tell
from diptych_training.loop import Loop
from diptych_training.saving import Keeper, restore
from diptych_training.share import Share
from support.kill_points import finished, fork
from support.real_runs import checkpoint_hashes, losses_of

CPU = torch.device("cpu")


class Listener:
    """Keeps what the loop tells and asks it to stop after a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.told: list[Progress] = []

    def __call__(self, progress: Progress) -> bool:
        """Take one progress."""
        self.told.append(progress)
        return self.stop_at is not None and progress.step >= self.stop_at

    def losses(self) -> dict[int, float]:
        """Return the training loss of every step that was told."""
        return {row.step: row.loss for row in self._rows() if row.loss is not None}

    def validations(self) -> dict[int, float]:
        """Return the validation loss by step."""
        return {row.step: row.val_loss for row in self._rows() if row.val_loss is not None}

    def _rows(self) -> list[Row]:
        return [row for progress in self.told for row in progress.rows]


def train(share: Share, listener: Tell, *, go_on: bool = False, rank: int = 0, world: int = 1, keep: int = 10) -> Loop:
    """Run one worker's loop with checkpoints, from the newest one when asked to go on."""
    loop = build_loop(share, CPU, listener, rank=rank, world=world)
    loop.report_every_s = 0
    if go_on:
        found = newest(share.store, print)
        assert found is not None
        restore(loop, found[1], share.identity)
    if rank > 0:
        loop.run()
        return loop
    with CheckpointWriter(share.store, keep) as writer:
        loop.keeper = Keeper(writer, share.identity)
        loop.run()
    return loop


def undisturbed(share: Share) -> tuple[dict[tuple[int, str], float], dict[str, Any]]:
    """Run the loop as one worker does, on a local store; return every loss, and the hashes of the last checkpoint."""
    listener = Listener()
    loop = build_loop(share, CPU, listener)
    with CheckpointWriter(share.store, keep=1) as writer:
        loop.keeper = Keeper(writer, share.identity)
        assert loop.run()
    local = share.store.local()
    assert local is not None
    return losses_of(row for progress in listener.told for row in progress.rows), checkpoint_hashes(local)


def in_workers(world: int, meeting: Path, body: Callable[[int], object]) -> None:
    """Run ``body`` with each rank in a process of its own, which know each other by gloo; wait for all."""

    def work(rank: int) -> None:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=world)
        body(rank)
        dist.destroy_process_group()

    children = [fork(partial(work, rank)) for rank in range(world)]
    assert all([finished(child) for child in children])  # noqa: C419 - every child is waited for


def same_weights(a: Loop, b: Loop) -> bool:
    """Return whether weights and averages are bitwise equal."""
    weights = all(torch.equal(p, b.trainee.parameters[name]) for name, p in a.trainee.parameters.items())
    return weights and all(torch.equal(t, b.average.shadow[name]) for name, t in a.average.shadow.items())


def finish(share: Share) -> tuple[Path, ArtifactRef]:
    """Make what a trained run leaves; return the run's folder and what its report says of the artifact."""
    done = conclude(share, "tiny", share.spec.base, lambda _: False)
    record = RunRecord(name="tiny", run=share.store.name, spec=share.spec, created=datetime.now(UTC))
    share.store.write_json(RUN_FILE, record)
    folder = share.store.local()
    assert folder is not None
    return folder, done.artifact
