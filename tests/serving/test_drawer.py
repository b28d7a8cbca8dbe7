"""What a gateway hears from an engine replica: progress where somebody follows it, and always the pictures."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.pipeline import load
from diptych_serving.adapter_keeper import AdapterKeeper
from diptych_serving.degrade import Degraded
from diptych_serving.directory import Directory
from diptych_serving.drawer import Drawer
from diptych_serving.engine import Engine
from diptych_serving.image_request import Event, Finished, ImageRequest, Preview, Progress
from diptych_serving.rate_limit import Client
from diptych_serving.service import Service
from support.tiny_models import make_pipeline

REQUEST = ImageRequest("a dog", 5, Settings(64, 64, steps=3, guidance_scale=1))


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drawer]:
    with Engine(load(make_pipeline(tmp_path_factory.mktemp("base")))) as engine:
        yield Drawer(engine, AdapterKeeper(engine.bank, engine.components, Path))


def told(drawer: Drawer, request: ImageRequest) -> list[type]:
    async def all_told() -> list[Event | Degraded]:
        return [event async for event in drawer.draw(request)]

    return [type(event) for event in asyncio.run(all_told())]


def test_progress_is_told_to_those_who_follow_it(drawer: Drawer) -> None:
    assert told(drawer, REQUEST) == [Degraded, Progress, Progress, Progress, Finished]
    assert told(drawer, replace(REQUEST, is_followed=False)) == [Degraded, Finished]
    assert told(drawer, replace(REQUEST, is_followed=False, preview_every=2)) == [Degraded, Preview, Finished]


@pytest.mark.parametrize("follows", [True, False], ids=["followed", "not followed"])
def test_a_service_asks_for_progress_where_somebody_listens(drawer: Drawer, *, follows: bool) -> None:
    asked: list[bool] = []

    class Engines:
        def draw(self, request: ImageRequest) -> AsyncIterator[Event | Degraded]:
            asked.append(request.is_followed)
            return drawer.draw(request)

    async def draw() -> list[int]:
        heard: list[int] = []
        admitted = await Service(Directory("test"), Engines()).admit([REQUEST], Client("::1"))
        await admitted.draw((lambda number, _: heard.append(number)) if follows else None)
        return heard

    assert asyncio.run(draw()) == ([0, 0, 0] if follows else [])
    assert asked == [follows]
