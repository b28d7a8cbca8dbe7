"""What Ray raises, and what people read of it. No Ray is started."""

import pytest
import torch
import torch.distributed as dist
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from diptych_api.errors import DatasetInvalid, HostOutOfMemory, NaNLoss, WorkerLost
from diptych_training.ray_failures import failure_of
from diptych_training.ray_tasks import task_failures_named

GLOO = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.2]")
DIED = WorkerHealthCheckFailedError("A worker health check failed.", failure=ActorDiedError())
FULL = WorkerHealthCheckFailedError("A worker health check failed.", failure=OutOfMemoryError("low on memory"))
BUG = KeyError("unexpected")


def group(*failures: Exception) -> WorkerGroupError:
    return WorkerGroupError("\n".join(map(str, failures)), dict(enumerate(failures)))


@pytest.mark.parametrize(
    ("failed", "kind"),
    [
        (group(DIED), WorkerLost),
        (group(GLOO, DIED), WorkerLost),
        (group(GLOO), WorkerLost),
        (group(dist.DistNetworkError("reset by peer")), WorkerLost),
        (group(torch.AcceleratorError("CUDA error: an illegal memory access was encountered")), WorkerLost),
        (group(OSError("Stale file handle")), WorkerLost),
        (group(BUG, DIED), WorkerLost),
        (group(GLOO, FULL), HostOutOfMemory),
        (group(GLOO, NaNLoss("The loss became nan.")), NaNLoss),
        (group(BUG), KeyError),
        (ControllerError(RuntimeError("no controller")), WorkerLost),
    ],
)
def test_a_failed_worker_group_is_named_by_its_cause(failed: TrainingFailedError, kind: type[Exception]) -> None:
    assert type(failure_of(failed)) is kind


def test_a_lost_worker_is_told_with_rays_last_words() -> None:
    assert "A training worker died: The actor died unexpectedly" in str(failure_of(group(DIED)))


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (RayTaskError("encode", "Traceback", DatasetInvalid("cat.png changed.", hint="Start again.")), DatasetInvalid),
        (OutOfMemoryError("low on memory"), HostOutOfMemory),
        (WorkerCrashedError(), WorkerLost),
    ],
)
def test_a_failed_task_is_named_by_its_cause(raised: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind), task_failures_named("encoding pictures"):
        raise raised
