"""`diptych export --format onnx` and `pipeline`: a folder that others draw with, whole or not there."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from diptych_api.finetunejob import FineTuneJob
from diptych_api.yaml_reader import read_resource
from diptych_diffusion import onnx_parity
from diptych_diffusion.builtin import builtin_folder
from diptych_training.run_store import RunStore
from support.adapter_runs import leave_artifact
from support.adapters import random_adapter, saved_adapter
from support.recorded_run import diptych
from support.waiting import until

ROOT = Path(__file__).parents[2]
LEFTOVERS = ".diptych-export-*"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # exports take minutes on a busy machine


def pixels(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int64)


def test_a_stranger_draws_the_tuned_picture_with_onnx_runtime_alone(place: Path) -> None:
    adapter = saved_adapter(place / "adapter", builtin_folder("tiny-emoji"))
    before = (adapter / "adapter_model.safetensors").read_bytes()
    ended = diptych("export", adapter, "--format", "onnx", "-o", "out/emoji")
    assert ended.exit_code == 0, ended.output
    told, *files = ended.stdout.splitlines()[2:]
    assert told.startswith("  vae_decoder: within ")
    assert told.endswith(" of PyTorch at 4 sizes")
    assert "✓ converted out/emoji/parity.json" in files
    assert (adapter / "adapter_model.safetensors").read_bytes() == before

    program = [sys.executable, str(ROOT / "examples/draw_with_onnx.py"), "out/emoji", "red apple", "--seed", "7"]
    subprocess.run([*program, "--steps", "12", "-o", "onnx.png"], check=True, capture_output=True)
    settings = ("red apple", "--seed", 7, "--steps", 12)
    diptych("generate", *settings, "--adapter", adapter, "-o", "tuned.png")
    diptych("generate", *settings, "-o", "base.png")
    assert abs(pixels(place / "onnx.png") - pixels(place / "tuned.png")).max() <= 1
    assert abs(pixels(place / "onnx.png") - pixels(place / "base.png")).mean() > 5


def test_a_stranger_draws_the_tuned_picture_with_a_pipeline_that_knows_no_adapter(place: Path) -> None:
    adapter = saved_adapter(place / "adapter", builtin_folder("tiny-emoji"))
    ended = diptych("export", adapter, "--format", "pipeline", "-o", "whole", "--base", "builtin:tiny-emoji")
    assert ended.exit_code == 0, ended.output
    assert "✓ converted whole/model_index.json" in ended.stdout.splitlines()
    pipeline = StableDiffusionPipeline.from_pretrained(place / "whole", local_files_only=True)
    assert not any("lora" in name for name in pipeline.unet.state_dict())
    settings = ("red apple", "--seed", 7, "--steps", 12)
    diptych("generate", *settings, "--base", "whole", "-o", "whole.png")
    diptych("generate", *settings, "--adapter", adapter, "-o", "tuned.png")
    assert abs(pixels(place / "whole.png") - pixels(place / "tuned.png")).max() <= 1


def test_a_run_s_adapter_becomes_a_pipeline_and_replaces_nothing_else(usual: Path, base: Path) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    refused = diptych("export", usual, "--format", "pipeline", "-o", "out", "--force")
    assert (refused.exit_code, "out exists and is no pipeline that was exported" in refused.stderr) == (2, True)
    assert diptych("export", usual, "--format", "pipeline", "-o", "whole").exit_code == 0
    assert diptych("export", usual, "--format", "pipeline", "-o", "whole").exit_code == 2
    assert diptych("export", usual, "--format", "pipeline", "-o", "whole", "--force").exit_code == 0
    shutil.copytree(base, "models")
    refused = diptych("export", usual, "--format", "pipeline", "-o", "models", "--force")
    assert (refused.exit_code, "models exists" in refused.stderr) == (2, True), "a base is not replaced"
    assert (usual / "artifact/peft/adapter_model.safetensors").is_file()


@pytest.fixture
def usual(begun: RunStore, place: Path, base: Path) -> Path:
    """The folder of a run whose adapter is as large as adapters are; that of `run` loses digits when it is merged."""
    job = read_resource(place / "job.yaml", ["base.builtin=null", f"base.uri={base}"])
    assert isinstance(job, FineTuneJob)
    return leave_artifact(begun, job.spec, random_adapter(base))


def test_a_run_is_exported_after_one_that_was_killed_and_replaced_only_when_asked(usual: Path) -> None:
    program = str(Path(sys.executable).with_name("diptych"))
    command = [program, "export", str(usual), "--format", "onnx", "-o", "out"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        until(lambda: any(Path().glob(f"{LEFTOVERS}/files/text_encoder/config.json")) or killed.poll() is not None)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    assert not Path("out").exists()
    assert len(list(Path().glob(LEFTOVERS))) == 1

    ended = diptych("export", usual, "--format", "onnx", "-o", "out", "--json")
    assert ended.exit_code == 0, ended.output
    told = json.loads(ended.stdout)
    assert (told["format"], told["how"]) == ("onnx", "converted")
    assert list(told["parity"]["parts"]) == ["text_encoder", "unet", "vae_decoder"]
    assert told["parity"] == json.loads(Path("out/parity.json").read_text())
    assert sorted(told["files"]) == sorted(str(path) for path in Path("out").rglob("*") if path.is_file())
    assert not list(Path().glob(LEFTOVERS))

    again = diptych("export", usual, "--format", "onnx", "-o", "out")
    assert (again.exit_code, "out exists" in again.stderr) == (2, True)


def test_graphs_that_differ_too_much_are_not_left(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").mkdir()
    (Path("out") / "parity.json").write_text("{}")
    monkeypatch.setattr(onnx_parity, "BOUND", 0.0)
    ended = diptych("export", run, "--format", "onnx", "-o", "out", "--force")
    assert ended.exit_code == 1
    assert "text_encoder: ONNX Runtime and PyTorch differ by" in ended.stderr
    assert [path.name for path in Path("out").iterdir()] == ["parity.json"]
    assert not list(Path().glob(LEFTOVERS))


def test_what_is_no_export_is_not_replaced(run: Path) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    ended = diptych("export", run, "--format", "onnx", "-o", "out", "--force")
    assert (ended.exit_code, "out exists and is no ONNX export" in ended.stderr) == (2, True)
    assert Path("out/mine.txt").read_text() == "mine"


def test_an_adapter_wants_the_base_that_it_was_made_for(run: Path) -> None:
    ended = diptych("export", run / "artifact/peft", "--format", "onnx", "-o", "out")
    assert ended.exit_code == 2
    assert "was made for another base: tiny" in ended.stderr
    assert "--base" in ended.stderr


def test_a_missing_library_is_told_with_what_to_install(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    ended = diptych("export", run, "--format", "onnx", "-o", "out")
    assert ended.exit_code == 2
    assert "--format onnx needs onnxruntime, which is not installed." in ended.stderr
    assert "pip install onnxruntime" in ended.stderr


def test_other_forms_have_no_base(run: Path) -> None:
    ended = diptych("export", run, "--format", "peft", "-o", "out", "--base", "builtin:tiny-emoji")
    assert (ended.exit_code, "--base has no meaning for peft" in ended.stderr) == (2, True)
