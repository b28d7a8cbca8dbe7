"""What a Ray worker does: its share of the training, from the newest checkpoint on."""

import os

import ray.train
import torch
import torch.distributed as dist
from ray.actor import ActorHandle
from ray.train.torch import get_device

from diptych_api.errors import DiptychError
from diptych_training.bringing import brought
from diptych_training.building import build_loop
from diptych_training.checkpoint import CheckpointState, CheckpointWriter, load, newest
from diptych_training.leaving import a_node_leaves, heeding_nodes
from diptych_training.letters import Ending, Tell
from diptych_training.loop import Loop
from diptych_training.mailbox import Mailbox, Sender
from diptych_training.out_of_memory import advice, doing, memory_named
from diptych_training.saving import Keeper, restore
from diptych_training.share import Share
from diptych_training.station import heeding


def train_share(share: Share, mailbox: ActorHandle[Mailbox]) -> Ending:
    """Train this worker's share from the newest checkpoint on; return why it ended.

    An error of ours goes to the driver by the mailbox before it ends the worker group, so that no other worker waits
    for this one and the driver learns the reason.
    """
    sender = Sender(mailbox)
    try:
        return _train(brought(share), sender)
    except DiptychError as error:
        sender.send_and_wait(error)
        raise


def _train(share: Share, sender: Sender) -> Ending:
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    heard = heeding(heeding_nodes(sender) if rank == 0 else _deaf, os.environ)
    with memory_named(doing(share.spec), advice(share.spec)), heard as tell:
        if _train_loop(share, build_loop(share, get_device(), tell, rank=rank, world=world)):
            return Ending.COMPLETE
    return Ending.LEAVING if a_node_leaves() else Ending.STOPPED


def _train_loop(share: Share, loop: Loop) -> bool:
    rank, world = loop.rank, loop.world
    state = _newest_state(share, rank, world)
    if state is not None:
        restore(loop, state, share.identity)
    if rank > 0:
        return loop.run()
    with CheckpointWriter(share.store, share.spec.training.checkpoint.keep) as writer:
        loop.keeper = Keeper(writer, share.identity)
        return loop.run()


def _newest_state(share: Share, rank: int, world: int) -> CheckpointState | None:
    """Return the state to go on from, chosen by the first worker for all; None at the very start."""
    step, state = (newest(share.store, print) if rank == 0 else None) or (0, None)
    if world > 1:
        chosen = torch.tensor([step], device=get_device())
        dist.broadcast(chosen, src=0)
        step = int(chosen.item())
    return load(share.store, step) if step and state is None else state


_deaf: Tell = lambda _: False  # noqa: E731 -- the workers that report nothing
