"""The training function that Ray hands from the driver by its controller to every worker."""

from typing import TypedDict

from ray.actor import ActorHandle

from diptych_training.mailbox import Mailbox
from diptych_training.share import Share


class WorkerConfig(TypedDict):
    """What Ray hands to the training function."""

    share: Share
    mailbox: ActorHandle[Mailbox]


def train_worker(config: WorkerConfig) -> bool:
    """Train one worker's share; return whether training is complete."""
    from diptych_training.worker_loop import train_share  # noqa: PLC0415 - the controller need not load torch

    return train_share(config["share"], config["mailbox"])
