"""When memory runs out: smaller pieces, then a refusal by name, and another replica where memory is lost."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diptych_api.errors import DeviceOutOfMemory
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.pipeline import load
from diptych_serving.device_health import BROKEN_AFTER
from diptych_serving.engine import Engine
from diptych_serving.engine_replica import EngineReplica
from diptych_serving.image_request import Arm, ImageRequest
from diptych_serving.refusals import Code, refusal_of
from support.adapters import random_adapter
from support.engines import draw
from support.services import served
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

HOW = Settings(64, 64, steps=3, guidance_scale=2.0, scheduler="DPMSolverMultistep")
FOUR = ImageRequest("a dog", 5, HOW, arms=(Arm(), Arm("style"), Arm("style", 0.5), Arm()))
LARGE = replace(FOUR, settings=replace(HOW, height=128, width=128), arms=(Arm(),))
CPU = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with Engine(load(folder), max_rows=16) as engine:
        engine.bank.load("style", random_adapter(folder))
        yield engine


@contextmanager
def memory_for(
    room: Callable[[torch.Tensor], bool], network: nn.Module, error: Exception | None = None
) -> Iterator[list[int]]:
    """Let a network raise what PyTorch raises, unless its input has room; yield the rows of each try."""
    tried: list[int] = []

    def refuse(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        tried.append(len(inputs[0]))
        if not room(inputs[0]):
            raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    hook = network.register_forward_pre_hook(refuse)
    try:
        yield tried
    finally:
        hook.remove()


def check_health(engine: Engine) -> None:
    """Ask as Ray Serve asks a replica with this engine."""
    replica: Any = SimpleNamespace(engine=engine)
    asyncio.run(EngineReplica.check_health(replica))


@pytest.mark.parametrize("error", [None, RuntimeError(CPU)], ids=["GPU", "CPU"])
def test_rows_are_halved_until_they_fit_and_the_pictures_are_the_same(engine: Engine, error: Exception | None) -> None:
    (whole,) = draw(engine, [FOUR])
    with memory_for(lambda x: len(x) <= 2, engine.components.denoiser, error) as tried:
        (pieces,) = draw(engine, [FOUR])
    assert tried == [8, 4] + [2] * 4 * HOW.steps
    for one, other in zip(whole.images, pieces.images, strict=True):
        assert np.abs(one.picture.astype(int) - other.picture).max() <= 1
    check_health(engine)


def test_decoding_is_halved_too(engine: Engine) -> None:
    (whole,) = draw(engine, [FOUR])
    with memory_for(lambda x: len(x) == 1, engine.components.vae.decoder):
        (pieces,) = draw(engine, [FOUR])
    for one, other in zip(whole.images, pieces.images, strict=True):
        assert np.abs(one.picture.astype(int) - other.picture).max() <= 1


def test_a_picture_that_is_too_large_is_refused_by_name_and_costs_no_replica(engine: Engine) -> None:
    with memory_for(lambda x: math.prod(x.shape[2:]) <= 64, engine.components.denoiser):
        for _ in range(2 * BROKEN_AFTER):
            with pytest.raises(DeviceOutOfMemory, match="too little memory for 128×128 pixels"):
                draw(engine, [LARGE])
        check_health(engine)
        assert len(draw(engine, [FOUR])[0].images) == 4


@pytest.mark.parametrize("part", ["denoiser", "vae.decoder"])
def test_a_replica_that_cannot_draw_what_it_should_is_replaced(engine: Engine, part: str) -> None:
    network = engine.components.denoiser if part == "denoiser" else engine.components.vae.decoder
    with memory_for(lambda _: False, network):
        for _ in range(BROKEN_AFTER):
            check_health(engine)
            with pytest.raises(DeviceOutOfMemory):
                draw(engine, [FOUR])
        with pytest.raises(RuntimeError, match="failed 3 times in a row, last with: The device has too little memory"):
            check_health(engine)
    draw(engine, [FOUR])
    check_health(engine)


def test_a_size_that_was_drawn_once_should_be_drawn_again(engine: Engine) -> None:
    draw(engine, [LARGE])
    with memory_for(lambda x: math.prod(x.shape[2:]) <= 64, engine.components.denoiser):
        for _ in range(BROKEN_AFTER):
            with pytest.raises(DeviceOutOfMemory):
                draw(engine, [LARGE])
    assert engine.problem is not None


def test_a_client_may_try_again_and_hears_what_to_change(folder: Path) -> None:
    with served(folder) as service:
        service.configure(defaults={"steps": 2})
        with memory_for(lambda _: False, service.engine.components.denoiser):
            answer = service.client.post("/v1/generate", json={"prompt": "a dog"})
        assert (answer.status_code, answer.json()["reason"]) == (503, "DeviceOutOfMemory")
        assert int(answer.headers["retry-after"]) > 0
        assert "smaller pictures" in answer.json()["hint"]
        assert service.client.post("/v1/generate", json={"prompt": "a dog"}).status_code == 200


def test_the_refusal_is_one_that_may_pass() -> None:
    assert refusal_of(DeviceOutOfMemory("x")).code is Code.UNAVAILABLE
