"""What Ray hands from the driver to workers. Free of torch, so that the processes between them start fast."""

from typing import TypedDict

from ray.actor import ActorHandle

from diptych_api.sources import Base
from diptych_diffusion.loading import loading
from diptych_training.letters import Ending, Finished
from diptych_training.mailbox import Mailbox
from diptych_training.share import Share


class WorkerConfig(TypedDict):
    """What Ray Train hands to the training function."""

    share: Share
    mailbox: ActorHandle[Mailbox]


def train_worker(config: WorkerConfig) -> Ending:
    """Train one worker's share; return why it ended."""
    with loading():
        from diptych_training.worker_loop import train_share  # noqa: PLC0415 - the controller need not load torch

    return train_share(config["share"], config["mailbox"])


def finish_run(share: Share, name: str, base: Base, mailbox: ActorHandle[Mailbox]) -> Finished:
    """Make the artifact of the final checkpoint and evaluate it."""
    with loading():
        from diptych_training.finish import finish  # noqa: PLC0415 - nor need the driver load all of it

    return finish(share, name, base, mailbox)
