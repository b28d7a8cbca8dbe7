"""What Ray costs per training step: the same loop in a bare process and in a Ray worker, turn and turn about.

    make bench

Prints a table and writes bench/train.json. Only the ratio means something; both sides of a pair run within a minute of
each other on the same cores. The rate is that of the steps alone: start-up, validation and checkpoints are left out.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.yaml_reader import read_resource
from diptych_diffusion.pipeline import load, resolve_base
from diptych_training.building import build_loop
from diptych_training.cache import prepare_cache
from diptych_training.data.manifest import prepare, write
from diptych_training.letters import Letter, Progress
from diptych_training.mailbox import open_mailbox
from diptych_training.ray_train import fit, ray_started
from diptych_training.run_store import RunStore
from diptych_training.share import Share

ROOT = Path(__file__).resolve().parent.parent
STEPS, PAIRS = 60, 3
CHANGES = {"steps": STEPS, "validation": {"everySteps": 10_000}, "checkpoint": {"everySteps": 10_000}}


def shortened() -> FineTuneJobSpec:
    """Return the spec of the example, a few steps long, without validation."""
    job = read_resource(ROOT / "examples" / "noto-style.yaml")
    if not isinstance(job, FineTuneJob):
        raise TypeError("the example is not a FineTuneJob")
    values = job.spec.model_dump(by_alias=True, exclude_defaults=True)
    values["training"] |= CHANGES
    values["dataset"]["split"] = {"count": 0}
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


def bare(folder: Path) -> float:
    """Return steps per second of the loop in this process."""
    share = share_in(folder, "bare")
    torch.set_num_threads(share.spec.resources.cpus_per_worker)
    told: list[Progress] = []

    def tell(progress: Progress) -> bool:
        told.append(progress)
        return False

    build_loop(share, torch.device("cpu"), tell).run()
    return steps_per_second(told[-1], share)


def under_ray(folder: Path, pair: int) -> float:
    """Return steps per second of the same loop in a Ray worker."""
    share = share_in(folder, f"ray-{pair}")
    told: list[Progress] = []

    def on_letter(letter: Letter) -> None:
        if isinstance(letter, Progress):
            told.append(letter)

    fit(share, open_mailbox(), lambda: False, on_letter)
    return steps_per_second(told[-1], share)


def steps_per_second(last: Progress, share: Share) -> float:
    """Return the rate that the loop measured itself."""
    return (last.images_per_second or 0.0) / share.spec.training.batch_size


def main() -> None:
    """Measure pairs, print and write the result."""
    if sys.argv[1:2] == ["--bare"]:
        print(json.dumps(bare(Path(sys.argv[2]))))
        return
    pairs = []
    with tempfile.TemporaryDirectory() as scratch, ray_started(None, shortened().resources):
        for turn in range(PAIRS):
            command = [sys.executable, __file__, "--bare", scratch]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
            alone = json.loads(printed.splitlines()[-1])
            pairs.append({"bare_steps_per_s": alone, "ray_steps_per_s": under_ray(Path(scratch), turn)})
    ratios = [pair["bare_steps_per_s"] / pair["ray_steps_per_s"] for pair in pairs]
    table = Table("pair", "bare, steps/s", "Ray worker, steps/s", "time per step, Ray / bare")
    for number, (pair, ratio) in enumerate(zip(pairs, ratios, strict=True), 1):
        table.add_row(str(number), f"{pair['bare_steps_per_s']:.2f}", f"{pair['ray_steps_per_s']:.2f}", f"{ratio:.3f}")
    table.add_row("median", "", "", f"{statistics.median(ratios):.3f}")
    Console().print(table)
    result = {"steps": STEPS, "pairs": pairs, "median_ratio": statistics.median(ratios), "cores": os.cpu_count()}
    (ROOT / "bench" / "train.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
