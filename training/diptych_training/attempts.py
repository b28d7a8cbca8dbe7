"""What follows when a worker group fails: another one, or the end of the run."""

from dataclasses import dataclass
from typing import Self

from diptych_api.errors import GpuOutOfMemory, RunFailed, WorkerLost
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_training.out_of_memory import at_once, halved


@dataclass(frozen=True, slots=True)
class Attempt:
    """One worker group of a run."""

    spec: FineTuneJobSpec
    """How it trains."""
    sizes_pieces: bool
    """Whether the job leaves to us how many samples go through the UNet at once."""
    number: int = 1
    lost: int = 0
    """Worker groups that were lost before this one."""
    message: str = ""
    """What was different the time before, for people."""

    @classmethod
    def first(cls, spec: FineTuneJobSpec) -> Self:
        """Return the first attempt of a job."""
        return cls(spec, sizes_pieces=spec.training.micro_batch_size is None)

    def after(self, error: RunFailed) -> "Attempt":
        """Return the attempt that follows. Raises the error where the next one would fail the same way, or too often.

        A lost worker counts against `retry.backoffLimit`. Memory of a GPU that runs out does not: the next attempt
        trains in smaller pieces.
        """
        number, limit = self.number + 1, self.spec.retry.backoff_limit
        if isinstance(error, WorkerLost) and self.lost < limit:
            message = f"{error.message} Going on from the last checkpoint ({self.lost + 1} of {limit})."
            return Attempt(self.spec, self.sizes_pieces, number, self.lost + 1, message)
        smaller = halved(self.spec) if isinstance(error, GpuOutOfMemory) and self.sizes_pieces else None
        if smaller is None:
            raise error
        message = f"{error.message} Going on with {at_once(smaller)} at once."
        return Attempt(smaller, self.sizes_pieces, number, self.lost, message)
