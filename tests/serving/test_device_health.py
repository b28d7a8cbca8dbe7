"""A device that fails again and again gets its replica replaced. Memory has its own tests: test_out_of_memory."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.pipeline import load
from diptych_serving.device_health import BROKEN_AFTER, is_device_error
from diptych_serving.engine import Engine
from diptych_serving.engine_replica import EngineReplica
from diptych_serving.image_request import ImageRequest
from support.engines import draw
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

REQUEST = ImageRequest("a dog", 5, Settings(64, 64, steps=1, guidance_scale=1.0))
BROKEN = torch.AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later")

ERRORS: dict[str, tuple[Exception, bool]] = {
    "assert": (BROKEN, True),
    "old torch": (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
    "cuBLAS": (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"), True),
    "cuDNN": (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), True),
    "memory": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), False),
    "shapes": (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    "ours": (ValueError("CUDA error in a text"), False),
}


@pytest.mark.parametrize("case", ERRORS)
def test_the_devices_own_errors_are_told_from_others(case: str) -> None:
    error, expected = ERRORS[case]
    assert is_device_error(error) is expected


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(load(make_pipeline(tmp_path))) as engine:
        yield engine


def fail(engine: Engine, times: int) -> None:
    """Let the network fail as a broken GPU does."""

    def refuse(*_: Any) -> None:
        raise BROKEN

    hook = engine.components.denoiser.register_forward_pre_hook(refuse)
    for _ in range(times):
        with pytest.raises(torch.AcceleratorError):
            draw(engine, [REQUEST])
    hook.remove()


def check_health(engine: Engine) -> None:
    """Ask as Ray Serve asks a replica with this engine."""
    replica: Any = SimpleNamespace(engine=engine)
    asyncio.run(EngineReplica.check_health(replica))


def test_a_device_that_fails_in_a_row_is_unhealthy_and_says_why(engine: Engine) -> None:
    fail(engine, BROKEN_AFTER - 1)
    check_health(engine)
    fail(engine, 1)
    with pytest.raises(RuntimeError, match="failed 3 times in a row, last with: CUDA error: device-side assert"):
        check_health(engine)


def test_one_picture_makes_up_for_the_failures_before_it(engine: Engine) -> None:
    for _ in range(3):
        fail(engine, BROKEN_AFTER - 1)
        draw(engine, [REQUEST])
    check_health(engine)


def test_a_thread_that_has_ended_is_unhealthy(tmp_path: Path) -> None:
    with Engine(load(make_pipeline(tmp_path))) as engine:
        check_health(engine)
    with pytest.raises(RuntimeError, match="thread has ended"):
        check_health(engine)
