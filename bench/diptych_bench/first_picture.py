"""An engine's first pictures in a process of its own; prints the moments at which it got so far.

The clock is one that all processes share.
"""

import json
import queue
import sys
import time
from pathlib import Path

import torch

from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.pipeline import load
from diptych_serving.engine import Engine
from diptych_serving.image_request import Event, Failed, Finished, ImageRequest


def moments(folder: Path, steps: int) -> list[float]:
    """Return when the process could begin, the weights were loaded, one step was done, and two pictures were drawn."""
    torch.set_num_threads(1)  # two would wait for each other wherever others use the cores
    ended = [time.monotonic()]
    components = load(folder)
    ended.append(time.monotonic())
    with Engine(components) as engine:
        for count in (1, steps, steps):
            _draw(engine, count)
            ended.append(time.monotonic())
    return ended


def _draw(engine: Engine, steps: int) -> None:
    inbox = queue.SimpleQueue[Event]()
    height, width = engine.components.picture_size
    engine.submit(ImageRequest("a red apple", 7, Settings(height, width, steps)), inbox.put)
    while not isinstance(event := inbox.get(timeout=600), Finished):
        if isinstance(event, Failed):
            raise event.error


if __name__ == "__main__":
    print(json.dumps(moments(Path(sys.argv[1]), int(sys.argv[2]))))
