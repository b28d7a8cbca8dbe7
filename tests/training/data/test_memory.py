"""However many pictures there are, a few at a time are in memory."""

import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

PICTURES, SIDE = 64, 1600
PROGRAM = """
import resource, sys
from pathlib import Path
from diptych_api.dataset import Dataset
from diptych_training.data.manifest import prepare

spec = Dataset.model_validate({"source": {"uri": sys.argv[1]}, "layout": "ClassFolders"})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
manifest = prepare(spec, Path(sys.argv[2]), lambda done, total: None)
print(len(manifest.train), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_pictures_are_not_held_in_memory(tmp_path: Path) -> None:
    """64 pictures of 7.7 MB each when decoded: held together they would take 490 MB."""
    first = tmp_path / "pictures" / "class" / "0.png"
    first.parent.mkdir(parents=True)
    PIL.Image.new("RGB", (SIDE, SIDE), "teal").save(first)
    for number in range(1, PICTURES):
        (first.parent / f"{number}.png").hardlink_to(first)
    command = [sys.executable, "-c", PROGRAM, str(first.parents[1]), str(tmp_path / "work")]
    count, grown = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    unit = 1 if sys.platform == "darwin" else 1024
    assert count == PICTURES
    assert grown * unit < PICTURES * SIDE * SIDE * 3 / 3
