"""Many pictures: how much memory preparing them takes, and what a run pays that was killed in the middle."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL.Image

from diptych_bench.figures import save, show
from diptych_bench.machine import this_machine, watched

DIFFERENT: Final = 2000
"""Files that are made; the others are links to them, which are looked into like any file."""
FOLDER: Final = 1000
PROGRAM: Final = """
import json, resource, sys, time
from pathlib import Path
from diptych_api.dataset import Dataset
from diptych_training.data.manifest import prepare, write

fields = {"dedup": {"enabled": True}, "filters": {"minSharpness": 1}, "split": {"fraction": 0.01}}
spec = Dataset.model_validate({"source": {"uri": sys.argv[1]}, "layout": "ClassFolders", **fields})
stop = int(sys.argv[3])

def report(done, total):
    if done == stop:
        raise SystemExit(9)

def mebibytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before, cpu = mebibytes(), time.process_time()
manifest = prepare(spec, Path(sys.argv[2]), report)
write(manifest, Path(sys.argv[2]) / "manifest")
print(json.dumps({"train": len(manifest.train), "dropped": len(manifest.dropped), "before_mib": round(before),
    "most_mib": round(mebibytes()), "cpu_s": round(time.process_time() - cpu, 1)}))
"""


def memory(pictures: int) -> None:
    """Measure, print and save."""
    with watched() as weather, tempfile.TemporaryDirectory() as scratch:
        root, work = Path(scratch) / "pictures", Path(scratch) / "work"
        _make(root, pictures)
        _prepare(root, work, stop=pictures // 2)
        after_a_kill = _prepare(root, work, stop=0)
        again = _prepare(root, work, stop=0)
    rows = {"the half that a kill left": after_a_kill, "nothing changed": again}
    columns = ("", "kept", "left out", "MiB before", "MiB at most", "CPU s")
    show(f"{pictures:,} pictures", columns, [(name, *row.values()) for name, row in rows.items()])
    print(save("data-memory", this_machine(), weather, {"pictures": pictures, "different": DIFFERENT, **rows}))


def _make(root: Path, pictures: int) -> None:
    rng = np.random.default_rng(0)
    made: list[Path] = []
    for number in range(pictures):
        folder = root / f"{number // FOLDER:05}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number:07}.jpg"
        if number < DIFFERENT:
            soft = PIL.Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((64, 64), 3)
            soft.save(path, quality=90)
            made.append(path)
        else:
            path.hardlink_to(made[number % DIFFERENT])


def _prepare(root: Path, work: Path, stop: int) -> dict[str, Any]:
    """Run in a process of its own, which ends after ``stop`` pictures where that is set."""
    command = [sys.executable, "-c", PROGRAM, str(root), str(work), str(stop)]
    ended = subprocess.run(command, check=not stop, capture_output=True, text=True)  # noqa: S603 - our own program
    return {} if stop else dict(json.loads(ended.stdout))
