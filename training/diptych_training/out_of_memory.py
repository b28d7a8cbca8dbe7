"""Memory that runs out: an error that names the setting to change, and the settings that need less."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from diptych_api.errors import GpuOutOfMemory, HostOutOfMemory
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_diffusion.out_of_memory import ALLOCATOR


@contextmanager
def memory_named(doing: str, hint: str) -> Iterator[None]:
    """Turn what the body raises for want of memory into an error that says while doing what.

    Raises:
        GpuOutOfMemory: when the device has too little.
        HostOutOfMemory: when the machine has.

    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise GpuOutOfMemory(f"The GPU's memory ran out while {doing}.{_figures(error)}", hint=hint) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and ALLOCATOR not in str(error):
            raise
        raise HostOutOfMemory(f"The machine's memory ran out while {doing}.", hint=hint) from error


def at_once(spec: FineTuneJobSpec) -> int:
    """Return the samples that go through the UNet together on one worker."""
    share = -(-spec.training.batch_size // spec.resources.workers)
    return min(spec.training.micro_batch_size or share, share)


def halved(spec: FineTuneJobSpec) -> FineTuneJobSpec | None:
    """Return the same training in pieces of half the size, which only rounding can tell apart; None below one."""
    if (size := at_once(spec)) == 1:
        return None
    training = spec.training.model_copy(update={"micro_batch_size": size // 2})
    return spec.model_copy(update={"training": training})


def doing(spec: FineTuneJobSpec) -> str:
    """Say what a worker does while it trains."""
    return f"training on {at_once(spec)} pictures at once"


def advice(spec: FineTuneJobSpec) -> str:
    """Return the next setting that makes training need less: first those that change nothing else."""
    training, half = spec.training, halved(spec)
    if half is not None:
        return f"Set spec.training.microBatchSize: {at_once(half)}; a step stays {training.batch_size} pictures."
    if not training.gradient_checkpointing:
        return "Set spec.training.gradientCheckpointing: true, which takes more time instead."
    if training.precision == "fp32":
        return "Set spec.training.precision: bf16."
    return "Lower spec.dataset.image.size, or use a machine with more memory."


def _figures(error: torch.OutOfMemoryError) -> str:
    """Return PyTorch's sentences about what was asked for and what there is, without its advice."""
    sentences = str(error).split(". ")[1:3]
    return "".join(f" {sentence}." for sentence in sentences)
