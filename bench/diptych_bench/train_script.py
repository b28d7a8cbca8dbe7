"""Our training against the loop of diffusers' `train_text_to_image_lora.py`, turn and turn about, each in a process."""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, Final
from unittest import mock

import torch

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_bench.figures import Spread, ratios, save, show
from diptych_bench.laps import Laps
from diptych_bench.machine import this_machine, watched
from diptych_bench.script_loop import Draws, Pair, ScriptLoop
from diptych_bench.tiny_run import Turn, Wanted, Watch, peak_gb, share_of, shares, spec_of
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.draws import noise, timestep
from diptych_diffusion.lora import adapter_state
from diptych_training import step as steps_of
from diptych_training.batch import BatchMaker
from diptych_training.building import build_loop
from diptych_training.data.entry import read_entry
from diptych_training.data.manifest import prepare
from diptych_training.data.picture import to_tensor
from diptych_training.loop import Loop
from diptych_training.order import Visit
from diptych_training.share import Share

PARITY_STEPS: Final = 20
PARITY: Final = 1e-5
"""Largest relative difference of a loss."""
CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    steps: int
    threads: int
    batch_size: int

    @property
    def wanted(self) -> Wanted:
        """The run that is measured."""
        return Wanted(batch_size=self.batch_size, steps=self.steps)


def against_script(efforts: Sequence[Effort]) -> bool:
    """Measure, print and save; return whether the losses agree."""
    with watched() as weather:
        results = [_measured(effort) for effort in efforts]
    rows = [
        (
            r["batch_size"],
            r["largest_loss_difference"],
            *(r[name][clock] for clock in ("wall_ms", "cpu_ms") for name in TURNS),
        )
        for r in results
    ]
    columns = ("batch", "loss, largest relative difference", "script: ms", "ours: ms", "script: CPU ms", "ours: CPU ms")
    show("a step, tiny-emoji, LoRA of rank 4, fp32", columns, rows)
    table = [
        (r["batch_size"], r["wall_ratio"], r["cpu_ratio"], r["script"]["peak_gb"], r["ours"]["peak_gb"])
        for r in results
    ]
    show("script against ours", ("batch", "time", "CPU", "script: peak GB", "ours: peak GB"), table)
    for result in results:
        for name in TURNS:
            print(result["batch_size"], name, result[name]["laps_ms"])
    threads = efforts[0].threads
    print(
        save(f"train-script-{threads}-thread{'s' if threads > 1 else ''}", this_machine(), weather, {"runs": results})
    )
    return all(result["largest_loss_difference"] <= PARITY for result in results)


def _measured(effort: Effort) -> dict[str, Any]:
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        pools: dict[str, Pool] = {}
        for name, begin in BEGIN.items():
            (Path(scratch) / name).mkdir()
            pools[name] = stack.enter_context(spawn.Pool(1, begin, (effort, Path(scratch) / name)))
        (Path(scratch) / "parity").mkdir()
        with spawn.Pool(1, begin_ours, (effort, Path(scratch) / "parity")) as pool:
            difference = pool.apply(parity)
        turns: dict[str, list[Turn]] = {name: [] for name in TURNS}
        for number in range(effort.rounds):
            for name in TURNS if number % 2 else reversed(TURNS):
                turns[name].append(pools[name].apply(TURNS[name]))
        peaks = {name: pool.apply(peak_gb) for name, pool in pools.items()}
    ways = {name: _figures(turns[name], peaks[name]) for name in TURNS}
    return {
        "batch_size": effort.batch_size,
        "threads": effort.threads,
        "rounds": effort.rounds,
        "steps": effort.steps,
        "largest_loss_difference": float(f"{difference:.2g}"),
        "wall_ratio": ratios([t.wall_s for t in turns["script"]], [t.wall_s for t in turns["ours"]]),
        "cpu_ratio": ratios([t.cpu_s for t in turns["script"]], [t.cpu_s for t in turns["ours"]]),
        **ways,
    }


def _figures(turns: Sequence[Turn], peak: float) -> dict[str, Any]:
    return {
        "wall_ms": Spread.of([1000 * turn.wall_s for turn in turns]),
        "cpu_ms": Spread.of([1000 * turn.cpu_s for turn in turns]),
        "laps_ms": shares(turn.laps_s for turn in turns),
        "peak_gb": peak,
    }


_held: dict[str, Any] = {}
"""What a process keeps from turn to turn."""


def begin_ours(effort: Effort, folder: Path) -> None:
    """Prepare and cache the pictures in this process."""
    torch.set_num_threads(effort.threads)
    _held.update(effort=effort, share=share_of(effort.wanted, folder)[0])


def turn_ours() -> Turn:
    """Train from the start; time the steps after the first few."""
    effort: Effort = _held["effort"]
    wanted, laps = effort.wanted, Laps()
    loop = build_loop(_held["share"], CPU, lambda _: False)
    with _lapped(loop, laps):
        turn = Watch().watch(loop).turn(wanted.warm_up, wanted.steps)
    laps_s = {name: seconds / (wanted.warm_up + wanted.steps) for name, seconds in laps.taken().items()}
    return Turn(turn.wall_s, turn.cpu_s, laps_s)


def _lapped(loop: Loop, laps: Laps) -> ExitStack:
    """Time the parts of a loop; the batches are built on a thread of their own, beside the step."""
    stack = ExitStack()
    parts: list[tuple[Any, str, str]] = [
        (steps_of, "accumulate", "UNet"),
        (steps_of, "_clip", "optimiser"),
        (loop.optimizer, "step", "optimiser"),
        (loop.average, "update", "average"),
        (loop.meter, "read", "logging"),
        (loop, "_report", "logging"),
    ]
    for owner, name, lap in parts:
        stack.enter_context(mock.patch.object(owner, name, laps.timed(lap, getattr(owner, name))))
    built = BatchMaker.training
    stack.enter_context(mock.patch.object(BatchMaker, "training", laps.timed("data, beside the step", built)))
    return stack


def begin_script(effort: Effort, folder: Path) -> None:
    """Load the script's models in this process."""
    torch.set_num_threads(effort.threads)
    spec = spec_of(effort.wanted)
    manifest = prepare(spec.dataset, folder / "data", lambda _done, _total: None)
    pairs = [(entry.path, entry.captions[0]) for entry in manifest.train]
    script = _script(spec, resolve_base(spec.base, folder), pairs)
    _held.update(effort=effort, script=script, batches=script.batches())


def _script(spec: FineTuneJobSpec, base: Path, pairs: Sequence[Pair]) -> ScriptLoop:
    size, rate = spec.training.batch_size, spec.training.learning_rate
    return ScriptLoop(base, pairs, spec.dataset.image.size, batch_size=size, rank=spec.lora.rank, rate=rate)


def turn_script() -> Turn:
    """Do some steps, then time the next."""
    effort, script = _held["effort"], _held["script"]
    list(script.steps(effort.wanted.warm_up, _held["batches"]))
    script.laps.taken()
    wall, cpu = time.perf_counter(), time.process_time()
    list(script.steps(effort.steps, _held["batches"]))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    laps_s = {name: seconds / effort.steps for name, seconds in script.laps.taken().items()}
    return Turn(wall / effort.steps, cpu / effort.steps, laps_s)


def parity() -> float:
    """Return the largest relative difference of a loss over the first steps, on the same weights, visits and draws."""
    effort, share = _held["effort"], _held["share"]
    training = share.spec.training.model_copy(update={"steps": PARITY_STEPS})
    share = replace(share, spec=share.spec.model_copy(update={"training": training}))
    loop = build_loop(share, CPU, lambda _: False)
    script = _script(share.spec, share.base_folder, [])
    script.begin_with(adapter_state(loop.trainee.unet))
    visits = [loop.order.batch(step, effort.batch_size) for step in range(PARITY_STEPS)]
    keys = [[(share.spec.training.seed, visit.epoch, visit.key) for visit in batch] for batch in visits]
    shape = loop.maker.training(visits[0]).noisy_BCHW.shape[1:]

    def draws(step: int) -> Draws:
        posterior, added = (
            torch.stack([noise(shape, *key, part) for key in keys[step]]) for part in ("posterior", "noise")
        )
        return posterior, added, torch.tensor([timestep(1000, *key, "timestep") for key in keys[step]])

    theirs = list(script.steps(PARITY_STEPS, _ours_as_theirs(script, share, visits), draws))
    ours = Watch().watch(loop).losses
    return max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))


def _ours_as_theirs(
    script: ScriptLoop, share: Share, visits: Sequence[Sequence[Visit]]
) -> Iterator[dict[str, torch.Tensor]]:
    for batch in visits:
        pixels = torch.stack([to_tensor(read_entry(visit.entry, share.spec.dataset.image)) for visit in batch])
        tokens = script.tokenizer(
            [visit.caption for visit in batch],
            max_length=script.tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        yield {"pixel_values": pixels, "input_ids": tokens.input_ids}


BEGIN: Final = {"script": begin_script, "ours": begin_ours}
TURNS: Final = {"script": turn_script, "ours": turn_ours}
