"""That pictures are never encoded on the engine's thread: its own CPU clock, with encoding and without."""

import asyncio
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import torch

from diptych_api.servingconfig import RegistryConfig
from diptych_bench.figures import Spread, ratios, save, show
from diptych_bench.machine import this_machine, watched
from diptych_diffusion.adapter_source import fetch_adapter
from diptych_diffusion.builtin import builtin_folder
from diptych_diffusion.pipeline import load
from diptych_serving import replies
from diptych_serving.adapter_keeper import AdapterKeeper
from diptych_serving.answers import read, reply
from diptych_serving.bodies import GenerateBody
from diptych_serving.directory import Directory
from diptych_serving.drawer import Drawer
from diptych_serving.engine import Engine
from diptych_serving.pictures import encode_picture
from diptych_serving.rate_limit import Client
from diptych_serving.replica_facts import ReplicaFacts, base_facts
from diptych_serving.service import Service

SIDE: Final = 256
BODY: Final = GenerateBody(prompt="red apple", seed=7, steps=1, guidance_scale=1, height=SIDE, width=SIDE)
MILLISECONDS: Final = 1000


class ClockedEngine(Engine):
    """The engine; its thread's CPU clock can be read."""

    def seconds(self) -> float:
        """Return the CPU seconds of the engine's thread so far."""
        if self._thread.ident is None:
            raise RuntimeError("The engine's thread does not run.")
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident))


def encoding(pairs: int) -> None:
    """Measure, print and save."""
    torch.set_num_threads(1)  # or the thread's clock counts its waits for others
    with watched() as weather:
        figures = _figures(pairs)
    show(f"the engine's thread, pictures of {SIDE}²", ("figure", ""), list(figures.items()))
    print(save("encoding", this_machine(), weather, figures))


def _figures(pairs: int) -> dict[str, Any]:
    """Return the engine thread's CPU time per picture, encoded and not, drawn in turn; and which threads encoded."""
    threads = Counter[str]()

    def encode(*args: Any, **values: Any) -> bytes:  # noqa: ANN401 - of encode_picture
        threads[threading.current_thread().name] += 1
        return encode_picture(*args, **values)

    with ClockedEngine(load(builtin_folder("tiny-emoji"))) as engine:
        with mock.patch.object(replies, "encode_picture", encode):
            drawn, encoded = asyncio.run(_in_turn(engine, _service(engine), pairs))
        on_engine = threads["engine"]
    return {
        "pairs": pairs,
        "engine_thread_ms_drawn_only": Spread.of(drawn),
        "engine_thread_ms_drawn_and_encoded": Spread.of(encoded),
        "encoded_against_drawn_only": ratios(encoded, drawn),
        "ms_to_encode_one": _encode_ms(),
        "encoded_on_engine_thread": on_engine,
        "encoded_on_other_threads": threads.total() - on_engine,
    }


def _service(engine: Engine) -> Service:
    keeper = AdapterKeeper(engine.bank, engine.components, partial(fetch_adapter, cache_dir=Path()))
    service = Service(Directory("bench"), Drawer(engine, keeper))
    service.directory.configure(RegistryConfig(), {})
    service.directory.update([ReplicaFacts("one", base_facts("tiny-emoji", engine.components), {}, "")])
    return service


async def _in_turn(engine: ClockedEngine, service: Service, pairs: int) -> tuple[list[float], list[float]]:
    """Return the engine thread's milliseconds for pictures that were drawn only, and for others encoded as well."""
    drawn: list[float] = []
    encoded: list[float] = []
    await (await service.admit(read(service, BODY), Client(""))).draw()  # warms up
    for _ in range(pairs):
        for taken in (drawn, encoded):
            before = engine.seconds()
            admitted = await service.admit(read(service, BODY), Client(""))
            pictures = await admitted.draw()
            if taken is encoded:
                await reply(admitted, BODY, pictures)
            taken.append(MILLISECONDS * (engine.seconds() - before))
    return drawn, encoded


def _encode_ms() -> float:
    """Return the CPU milliseconds of encoding a picture of noise, the slowest kind."""
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    before = time.thread_time()
    encode_picture(picture)
    return round(MILLISECONDS * (time.thread_time() - before), 1)
