"""A LoRA of tiny-emoji on the example's pictures, ready to train without Ray, and its clocks."""

import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.pipeline import load
from diptych_training.cache import prepare_cache
from diptych_training.data.manifest import prepare, write
from diptych_training.letters import Progress
from diptych_training.loop import Loop
from diptych_training.run_store import RunStore
from diptych_training.share import Share

ROOT: Final = Path(__file__).resolve().parents[2]
NEVER: Final = 1_000_000
NO_BOUND: Final = 1e6


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the run differs from one measurement to the next."""

    batch_size: int = 4
    rank: int = 4
    side: int = 64
    steps: int = 20
    warm_up: int = 3
    """Steps before the first that is timed."""
    ema: bool = True
    base: str | None = None
    """Folder of the base; tiny-emoji by default."""


def spec_of(wanted: Wanted) -> FineTuneJobSpec:
    """Return a plain LoRA job: attention's projections, constant rate, gradients as they are, nothing beside steps."""
    fields: dict[str, Any] = {
        "base": {"builtin": "tiny-emoji"} if wanted.base is None else {"uri": wanted.base},
        "lora": {"rank": wanted.rank, "alpha": wanted.rank},
        "dataset": {
            "source": {"uri": str(ROOT / "examples" / "noto")},
            "split": {"count": 0},
            "image": {"size": wanted.side},
        },
        "training": {
            "steps": wanted.warm_up + wanted.steps,
            "batchSize": wanted.batch_size,
            "learningRate": 1e-3,
            "maxGradNorm": NO_BOUND,
            "precision": "fp32",
            "ema": {"enabled": wanted.ema},
            "checkpoint": {"everySteps": NEVER},
            "validation": {"everySteps": NEVER},
        },
    }
    return resolve(FineTuneJobSpec.model_validate(fields))


def share_of(wanted: Wanted, folder: Path) -> tuple[Share, dict[str, float]]:
    """Return the run, prepared below ``folder``, and the seconds of CPU that reading and encoding took."""
    os.chdir(ROOT)
    spec = spec_of(wanted)
    base = resolve_base(spec.base, folder)
    began = time.process_time()
    manifest = prepare(spec.dataset, folder / "data", lambda _done, _total: None)
    write(manifest, folder / "manifest")
    read = time.process_time()
    prepare_cache(base, manifest, spec.dataset, folder / "cache", text=True)
    seconds = {"read": read - began, "encode": time.process_time() - read}
    identity = {"data set": manifest.digest, "base": load(base).digest}
    store = RunStore.open(spec.output, "bench", folder.name, folder)
    return Share(spec, base, folder / "manifest", folder / "cache", store, identity), seconds


@dataclass
class Watch:
    """The clocks at every report of a loop."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def __call__(self, progress: Progress) -> bool:
        """Read the clocks; never ask to stop."""
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.losses += [row.loss for row in progress.rows if row.loss is not None]
        return False

    def watch(self, loop: Loop) -> "Watch":
        """Hear of every step of a loop and run it."""
        loop.report_every_s, loop.tell = 0, self
        loop.run()
        return self

    def turn(self, warm_up: int, steps: int) -> "Turn":
        """Return what ``steps`` steps after the first ``warm_up`` took."""
        first, last = warm_up - 1, warm_up + steps - 1
        return Turn((self.wall[last] - self.wall[first]) / steps, (self.cpu[last] - self.cpu[first]) / steps)


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds of a step, on the clock and of CPU, over one turn."""

    wall_s: float
    cpu_s: float
    laps_s: dict[str, float] = field(default_factory=dict)


def peak_gb() -> float:
    """Return the most memory that this process had, in GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3)


def shares(laps: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return milliseconds by name, means over turns."""
    turns = list(laps)
    names = dict.fromkeys(name for turn in turns for name in turn)
    return {name: round(1000 * sum(turn.get(name, 0.0) for turn in turns) / len(turns), 2) for name in names}
