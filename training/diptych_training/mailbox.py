"""A small Ray actor between workers and driver: progress one way, the wish to stop the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from diptych_training.letters import Letter


class Mailbox:
    """Keeps letters until the driver takes them."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.stop = False

    def put(self, letter: Letter) -> bool:
        """Keep a letter; return whether the run should stop."""
        self.letters.append(letter)
        return self.stop

    def take(self, *, stop: bool) -> Sequence[Letter]:
        """Return and forget all letters; ``stop`` stays set once it was."""
        letters, self.letters = self.letters, []
        self.stop = self.stop or stop
        return letters


def open_mailbox() -> ActorHandle[Mailbox]:
    """Start a mailbox beside the driver: no other node's end takes it away. It costs no CPU slot."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    placed = cast("Any", ray.remote)(num_cpus=0, scheduling_strategy=here)
    mailbox: ActorHandle[Mailbox] = placed(Mailbox).remote()
    return mailbox


def take(mailbox: ActorHandle[Mailbox], *, stop: bool) -> Sequence[Letter]:
    """Return the letters that came since the last call, and tell whether the run should stop."""
    letters: Sequence[Letter] = ray.get(mailbox.take.remote(stop=stop))
    return letters


@dataclass
class Sender:
    """A worker's side of the mailbox. Sending never waits for the driver."""

    mailbox: ActorHandle[Mailbox]
    sent: list[Any] = field(default_factory=list)
    stop: bool = False

    def __call__(self, letter: Letter) -> bool:
        """Send a letter; return whether an answer so far asked the run to stop."""
        self.sent.append(self.mailbox.put.remote(letter))
        answered, self.sent = ray.wait(self.sent, num_returns=len(self.sent), timeout=0)
        self.stop = self.stop or any(ray.get(answered))
        return self.stop

    def send_and_wait(self, letter: Letter) -> None:
        """Send a letter and return when it has arrived."""
        ray.get(self.mailbox.put.remote(letter))
