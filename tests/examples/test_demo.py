"""`make demo`, a few steps long: the run, then the server that compares what it trained."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]
ROOT = Path(__file__).resolve().parents[2]
SHORT = [
    *("training.steps=2", "training.warmupSteps=0", "training.batchSize=4", "training.validation.maxSamples=4"),
    *("evaluation.maxPrompts=3", "evaluation.inferenceSteps=2"),
]


def test_the_demo_ends_with_pictures_that_the_server_drew(tmp_path: Path) -> None:
    diptych = Path(sys.executable).with_name("diptych")
    short = [part for setting in [*SHORT, f"output.uri={tmp_path / 'runs'}"] for part in ("--set", setting)]
    run: list[str | Path] = [diptych, "run", "examples/noto-style.yaml", *short, "--evidence", tmp_path]
    subprocess.run(run, cwd=ROOT, check=True, capture_output=True)
    evaluated = (tmp_path / "compare.png").read_bytes()
    served = subprocess.run(
        [sys.executable, "examples/compare_on_server.py", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "compared 3 held-out prompts over HTTP, then over gRPC" in served.stdout
    assert (tmp_path / "compare.png").read_bytes() != evaluated
    with Image.open(tmp_path / "compare.png") as picture:
        assert picture.width > 3 * 144
