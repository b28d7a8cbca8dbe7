"""One worker against two, and what the size of pictures, the rank and the number of pictures cost. One thread each."""

import multiprocessing
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist

from diptych_bench.figures import Spread, ratios, save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.shapes import TINY, make_base
from diptych_bench.tiny_run import ROOT, Turn, Wanted, Watch, share_of
from diptych_training.building import build_loop
from diptych_training.share import Share

CPU: Final = torch.device("cpu")
ROUNDS: Final = 3
RANKS: Final = (1, 4, 16, 64)
SIDES: Final = (64, 128, 256)


def scaling(steps: int) -> None:
    """Measure, print and save."""
    torch.set_num_threads(1)
    with watched() as weather, tempfile.TemporaryDirectory() as scratch:
        workers = _workers(Wanted(batch_size=16, steps=steps), Path(scratch))
        base = str(make_base(Path(scratch) / "base", TINY))
        wanted = Wanted(base=base, steps=steps, side=TINY.pixels)
        ranks = _costs([replace(wanted, rank=rank) for rank in RANKS], Path(scratch, "ranks"))
        sides = _costs([replace(wanted, side=side, steps=max(2, steps // 2)) for side in SIDES], Path(scratch, "sides"))
    show("ms of a step, batch 16, one thread a worker", ("workers", "clock", "CPU of one"), workers["rows"])
    print("two workers are", workers["speed_up"], "times as fast")
    columns = ("", "ms of a step, CPU", "reading a picture, CPU ms", "encoding it, CPU ms")
    show(f"{TINY.name}, batch 4: rank", columns, [(w.rank, *row) for w, row in ranks])
    show(f"{TINY.name}, batch 4: side", columns, [(w.side, *row) for w, row in sides])
    figures = {
        "workers": workers,
        "rank": {str(w.rank): row for w, row in ranks},
        "side": {str(w.side): row for w, row in sides},
    }
    print(save("train-scaling", this_machine(), weather, figures))


def _costs(runs: list[Wanted], scratch: Path) -> list[tuple[Wanted, tuple[Any, ...]]]:
    """Return milliseconds of CPU: of a step, over rounds in which all take their turn, and of a picture before that."""
    prepared = {}
    for run in runs:
        folder = scratch / f"rank-{run.rank}-side-{run.side}"
        folder.mkdir(parents=True)
        prepared[run] = share_of(run, folder)
    turns: dict[Wanted, list[float]] = {run: [] for run in runs}
    for _ in range(ROUNDS):
        for run in runs:
            loop = build_loop(prepared[run][0], CPU, lambda _: False)
            turns[run].append(1000 * Watch().watch(loop).turn(run.warm_up, run.steps).cpu_s)
    os.chdir(ROOT)
    pictures = sum(1 for _ in (ROOT / "examples" / "noto" / "images").iterdir())
    per_picture = {run: [1000 * prepared[run][1][name] / pictures for name in ("read", "encode")] for run in runs}
    return [(run, (Spread.of(turns[run]), *(round(ms, 2) for ms in per_picture[run]))) for run in runs]


def _workers(wanted: Wanted, scratch: Path) -> dict[str, Any]:
    (scratch / "workers").mkdir()
    share, _ = share_of(wanted, scratch / "workers")
    turns: dict[int, list[Turn]] = {1: [], 2: []}
    for number in range(ROUNDS):
        for world in (1, 2) if number % 2 else (2, 1):
            turns[world].append(_together(share, wanted, world, scratch / f"meeting-{number}-{world}"))
    wall, cpu = ({w: [1000 * getattr(t, name) for t in turns[w]] for w in turns} for name in ("wall_s", "cpu_s"))
    rows = [(world, Spread.of(wall[world]), Spread.of(cpu[world])) for world in turns]
    return {"rows": rows, "speed_up": ratios(wall[1], wall[2])}


def _together(share: Share, wanted: Wanted, world: int, meeting: Path) -> Turn:
    """Train in ``world`` processes that share each batch; return what the first one took."""
    with multiprocessing.get_context("spawn").Pool(world) as pool:
        results = [pool.apply_async(work, (share, wanted, rank, world, meeting)) for rank in range(world)]
        turns = [result.get() for result in results]
        return turns[0]


def work(share: Share, wanted: Wanted, rank: int, world: int, meeting: Path) -> Turn:
    """Do one worker's part, with one thread."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    os.chdir(ROOT)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=world)
    try:
        loop = build_loop(share, CPU, lambda _: False, rank=rank, world=world)
        return Watch().watch(loop).turn(wanted.warm_up, wanted.steps)
    finally:
        dist.destroy_process_group()
