"""What Ray costs per training step: the same loop in a bare process and in a Ray worker, turn and turn about.

Seconds of CPU are counted between two reports of the loop: of the process that trains, and of everything that Ray runs
beside it, driver included. Start-up and the last checkpoint are left out. One thread computes, so that none burns time
by waiting for another. The wall clock is told too; on a machine that is shared it says little.
"""

import multiprocessing
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Final
from unittest import mock

import torch

from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.yaml_reader import read_resource
from diptych_bench.figures import Spread, save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.step_cost import Cost, Stamps, train_stamped, written_cost
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.pipeline import load
from diptych_training import ray_train
from diptych_training.building import build_loop
from diptych_training.cache import prepare_cache
from diptych_training.data.manifest import prepare, write
from diptych_training.letters import Progress
from diptych_training.mailbox import open_mailbox
from diptych_training.ray_train import fit, ray_started
from diptych_training.run_store import RunStore
from diptych_training.share import Share

ROOT: Final = Path(__file__).resolve().parents[2]
STEPS, FIRST, PAIRS = 70, 10, 3
CHANGES: Final = {"steps": STEPS, "validation": {"everySteps": 10_000}, "checkpoint": {"everySteps": 10_000}}


def shortened() -> FineTuneJobSpec:
    """Return the spec of the example, a few steps long, one thread wide, without validation."""
    job = read_resource(ROOT / "examples" / "noto-style.yaml")
    if not isinstance(job, FineTuneJob):
        raise TypeError("the example is not a FineTuneJob")
    values = job.spec.model_dump(by_alias=True, exclude_defaults=True)
    values["training"] |= CHANGES
    values["dataset"]["split"] = {"count": 0}
    values["resources"] = {"cpusPerWorker": 1}
    return FineTuneJobSpec.model_validate(values)


def share_in(folder: Path, name: str) -> Share:
    """Return the job, its pictures prepared and encoded below ``folder``."""
    os.chdir(ROOT)
    spec = shortened()
    base = resolve_base(spec.base, folder)
    manifest = prepare(spec.dataset, folder / "data", lambda _done, _total: None)
    write(manifest, folder / "manifest")
    prepare_cache(base, manifest, spec.dataset, folder / "cache", text=True)
    identity = {"data set": manifest.digest, "base": load(base).digest}
    store = RunStore.open(spec.output, "bench", name, folder)
    return Share(spec, base, folder / "manifest", folder / "cache", store, identity)


def bare(folder: Path) -> Cost:
    """Return what a step costs in this process, which does nothing else."""
    torch.set_num_threads(1)
    share, stamps = share_in(folder, "bare"), Stamps(os.getpid(), FIRST, STEPS)

    def tell(progress: Progress) -> bool:
        stamps.add(progress)
        return False

    build_loop(share, torch.device("cpu"), tell).run()
    return Cost.of(stamps.kept, os.getpid())


def under_ray(folder: Path, pair: int) -> Cost:
    """Return what a step costs in a Ray worker."""
    share, file = share_in(folder, f"ray-{pair}"), folder / f"stamps-{pair}.json"
    train = partial(train_stamped, stamps=Stamps(os.getpid(), FIRST, STEPS), file=file)
    with mock.patch.object(ray_train, "train_worker", train):
        fit(share, open_mailbox(), lambda: False, lambda _letter: None)
    return written_cost(file)


def measured_pairs() -> list[tuple[Cost, Cost]]:
    """Return pairs of bare and under Ray; each bare one runs in a process of its own."""
    os.environ["PYTHONPATH"] = str(ROOT / "bench")  # or Ray's workers do not find what stamps
    pairs = []
    with tempfile.TemporaryDirectory() as scratch, ray_started(None, shortened().resources):
        for turn in range(PAIRS):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                alone = pool.apply(bare, (Path(scratch),))
            pairs.append((alone, under_ray(Path(scratch), turn)))
    return pairs


def ray_cost() -> None:
    """Measure pairs, print and write the result."""
    with watched() as weather:
        pairs = measured_pairs()
    against = {
        "CPU of the worker": Spread.of([ray.trainer_cpu_ms / alone.cpu_ms for alone, ray in pairs]),
        "CPU of all processes": Spread.of([ray.cpu_ms / alone.cpu_ms for alone, ray in pairs]),
        "wall, median step": Spread.of([ray.wall_ms.median / alone.wall_ms.median for alone, ray in pairs]),
        "wall, least step": Spread.of([ray.wall_ms.least / alone.wall_ms.least for alone, ray in pairs]),
    }
    columns = ("pair", "bare: CPU", "Ray: worker's CPU", "Ray: others' CPU", "bare: wall", "Ray: wall")
    rows = [
        (number, alone.cpu_ms, ray.trainer_cpu_ms, ray.others_cpu_ms, alone.wall_ms, ray.wall_ms)
        for number, (alone, ray) in enumerate(pairs, 1)
    ]
    show("milliseconds per training step", columns, rows)
    show("per step, Ray / bare", ("clock", "median (least to most)"), list(against.items()))
    figures = {"steps": STEPS - FIRST, "threads": 1, "ray_against_bare": against}
    measured = [{"bare": alone, "ray": ray} for alone, ray in pairs]
    print(save("train", this_machine(), weather, {**figures, "pairs": measured}))
