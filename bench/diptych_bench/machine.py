"""The machine that figures were measured on, and how busy others kept it meanwhile."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil
import torch

LIBRARIES: Final = ("torch", "diffusers", "peft", "ray")
GIGABYTE: Final = 1e9


@dataclass(frozen=True, slots=True)
class Machine:
    """What figures depend on. It names nobody's machine."""

    processor: str
    cores: int
    memory_gb: float
    gpu: str | None
    python: str
    libraries: dict[str, str]


@dataclass
class Weather:
    """How busy the machine was while something was measured."""

    load_before: float = 0.0
    load_after: float = 0.0
    stolen_percent: float = 0.0
    """Share of the cores' time that the hypervisor gave to other machines."""


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / GIGABYTE, 1),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
    )


@contextmanager
def watched() -> Iterator[Weather]:
    """Yield the weather of the body; complete when the body has ended."""
    weather, before = Weather(load_before=round(os.getloadavg()[0], 2)), psutil.cpu_times()
    yield weather
    spent = [after - earlier for after, earlier in zip(psutil.cpu_times(), before, strict=True)]
    stolen = getattr(psutil.cpu_times(), "steal", 0.0) - getattr(before, "steal", 0.0)
    weather.load_after = round(os.getloadavg()[0], 2)
    weather.stolen_percent = round(100 * stolen / max(sum(spent), 1e-9), 1)


def told(machine: Machine, weather: Weather) -> dict[str, object]:
    """Return both as plain values."""
    return {"machine": asdict(machine), "weather": asdict(weather)}


def _processor() -> str:
    """Return the name of the processor, as Linux tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
