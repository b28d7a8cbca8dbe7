"""Starts Ray and the worker group, and waits for both."""

import logging
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.train import Result
from ray.train.torch import TorchConfig
from ray.train.v2.api.callback import RayTrainCallback
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.torch.torch_trainer import TorchTrainer

from diptych_api.cluster import Resources
from diptych_api.errors import DiptychError, Interrupted, RetryLater, UnsupportedHere
from diptych_training.letters import Ending, Letter
from diptych_training.mailbox import Mailbox, take
from diptych_training.ray_failures import failure_of
from diptych_training.share import Share
from diptych_training.worker import train_worker

POLL_S = 0.3
STARTS = 3
LOCAL_ENVIRONMENT = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # uv run must not ship the working directory to the workers
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_task_oom_retries": "2",  # else Ray begins a task that needs too much memory again and again, for ever
}


class _Trainer(TorchTrainer):
    """Ray Train's, without the actor that would hand out Ray Data's data sets. It takes two seconds to come."""

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        return [each for each in super()._create_default_callbacks() if type(each).__name__ != "DatasetsCallback"]


@contextmanager
def ray_started(address: str | None, resources: Resources) -> Iterator[None]:
    """Connect to ``address``, or start Ray on this machine for the time of the body; one that is connected is kept.

    A Ray that somebody else started on this machine is left alone: "local" looks neither for it nor at RAY_ADDRESS.

    Raises:
        UnsupportedHere: when this machine has fewer GPUs than the workers need.

    """
    if ray.is_initialized():
        yield
        return
    if address is None:
        os.environ.update({k: v for k, v in LOCAL_ENVIRONMENT.items() if k not in os.environ})
        cores = max(os.cpu_count() or 1, resources.workers * resources.cpus_per_worker)
        _start(address="local", num_cpus=cores, include_dashboard=False, object_store_memory=10**8)
    else:
        _start(address=address)
    try:
        if address is None:
            _check_gpus(resources)
        yield
    finally:
        ray.shutdown()


def _start(**options: Any) -> None:  # noqa: ANN401 -- of ray.init
    """Start or find Ray; its daemons have 30 seconds to come up, which a busy machine does not always grant at once."""
    for attempt in range(1, STARTS + 1):
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
        except SystemExit as error:  # how Ray answers SIGTERM while it starts
            raise Interrupted("Stopped while Ray started.", hint="Run the same command again to go on.") from error
        except Exception as error:
            ray.shutdown()
            if attempt == STARTS:
                raise RetryLater(
                    f"Ray did not start ({options['address']}): {error}", hint="Try again when less runs here."
                ) from error
        else:
            return


def _check_gpus(resources: Resources) -> None:
    workers = resources.min_workers or resources.workers
    needed, have = workers * resources.gpus_per_worker, int(ray.cluster_resources().get("GPU", 0))
    if needed > have:
        raise UnsupportedHere(
            f"spec.resources: {workers} workers of {resources.gpus_per_worker} GPUs need {needed} GPUs; "
            f"this machine has {have}.",
            hint="Set spec.resources.gpusPerWorker: 0 to train on the CPU.",
        )


def fit(
    share: Share, mailbox: ActorHandle[Mailbox], wants_stop: Callable[[], bool], on_letter: Callable[[Letter], None]
) -> Ending:
    """Run one worker group to its end; return why it ended.

    Ray's own checkpoints are not used (the run store keeps ours), so its storage is a folder of this attempt only and
    a torn snapshot of Ray's can never be met again. Where workers wait for room, or have not begun, nobody is there to
    hear a wish to stop and nothing is lost: the connection to Ray is given up, and its jobs end with it.

    Raises:
        DiptychError: the error of a worker; WorkerLost when it died without a word of ours.
        Exception: a bug that a worker met.

    """
    spec = share.spec
    with tempfile.TemporaryDirectory(prefix="diptych-ray-train-") as scratch, ThreadPoolExecutor(1) as pool:
        trainer = _Trainer(
            cast("Callable[[dict[Any, Any]], None]", train_worker),
            train_loop_config={"share": share, "mailbox": mailbox},
            torch_config=TorchConfig(backend="nccl" if spec.resources.gpus_per_worker else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=_workers(spec.resources),
                use_gpu=spec.resources.gpus_per_worker > 0,
                resources_per_worker=_per_worker(spec.resources),
            ),
            run_config=RunConfig(
                name=f"attempt-{uuid.uuid4().hex[:8]}",
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),  # attempts are ours to count
            ),
        )
        running = pool.submit(trainer.fit)
        try:
            errors = _heard(running, mailbox, wants_stop, on_letter)
        except BaseException:
            take(mailbox, stop=True)  # or the workers would train on to the end, unheard
            raise
        if errors is None:
            ray.shutdown()
            return Ending.STOPPED
        failure = running.exception()
        if errors:
            raise errors[0] from failure
        if isinstance(failure, TrainingFailedError):
            raise failure_of(failure) from failure
        return Ending(cast("Any", running.result()).return_value)


def _heard(
    running: Future[Result],
    mailbox: ActorHandle[Mailbox],
    wants_stop: Callable[[], bool],
    on_letter: Callable[[Letter], None],
) -> list[DiptychError] | None:
    """Hand letters on until the worker group has ended and return the errors among them.

    None means that it should stop, and no worker is there yet to hear of it.
    """
    errors, began = list[DiptychError](), False
    while True:
        finished, stop = running.done(), wants_stop()
        for letter in take(mailbox, stop=stop):
            began = True
            if isinstance(letter, DiptychError):
                errors.append(letter)
            else:
                on_letter(letter)
        if finished:
            return errors
        if stop and not began:
            return None
        with suppress(TimeoutError):
            running.exception(timeout=POLL_S)


def _workers(resources: Resources) -> int | tuple[int, int]:
    """Return how many workers train: as many as there is room for between two bounds, where the job names a least.

    The batch of a step and its draws do not depend on it, so a group of another size goes on exactly.
    """
    least = resources.min_workers
    return resources.workers if least in (None, resources.workers) else (least, resources.workers)


def _per_worker(resources: Resources) -> dict[str, float]:
    per_worker: dict[str, float] = {"CPU": resources.cpus_per_worker}
    return per_worker | ({"GPU": resources.gpus_per_worker} if resources.gpus_per_worker else {})
