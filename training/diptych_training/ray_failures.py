"""From what Ray Train raises to errors that people know."""

import torch
import torch.distributed as dist
from ray.exceptions import OutOfMemoryError, RayError
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from diptych_api.errors import DiptychError, HostOutOfMemory, WorkerLost
from diptych_training.ray_tasks import MORE_MEMORY

PEERS = ("gloo", "NCCL")
"""Words in the errors of a worker whose peer is gone; some of them are plain RuntimeErrors."""
DEVICE = ("CUDA error", "CUDNN", "CUBLAS")
"""Words in the errors of a device that is broken or was left broken by somebody else."""


def failure_of(failed: TrainingFailedError) -> Exception:
    """Return what ended a worker group: an error of ours, or the bug that a worker met.

    When one worker dies, the others fail for want of it, so what another attempt may cure comes before a bug.
    """
    causes = _causes(failed)
    if ours := next((cause for cause in causes if isinstance(cause, DiptychError)), None):
        return ours
    if any(isinstance(cause, OutOfMemoryError) for cause in causes):
        return HostOutOfMemory("A training worker was ended because its machine ran out of memory.", hint=MORE_MEMORY)
    if causes and not any(map(_may_pass, causes)):
        return causes[0]
    hint = "The log of the run has what Ray said. A worker that is killed without a word often lacked memory."
    return WorkerLost(f"A training worker died: {_last_line(failed)}", hint=hint)


def _causes(failed: TrainingFailedError) -> list[Exception]:
    failures = failed.worker_failures.values() if isinstance(failed, WorkerGroupError) else ()
    return [getattr(failure, "health_check_failure", failure) for failure in failures]


def _may_pass(cause: Exception) -> bool:
    """Whether another worker group may get further: processes, nodes, networks and devices come and go."""
    if isinstance(cause, RayError | OSError | dist.DistError | torch.AcceleratorError):
        return True
    is_of_ray = type(cause).__module__.startswith("ray.")
    return is_of_ray or (isinstance(cause, RuntimeError) and any(word in str(cause) for word in (*PEERS, *DEVICE)))


def _last_line(failed: BaseException) -> str:
    """Return the line of a Ray error that names the cause."""
    lines = [line.strip() for line in str(failed).splitlines() if line.strip()]
    return lines[-1][:500] if lines else type(failed).__name__
