"""`diptych validate` says what would run."""

import json
import sys
from pathlib import Path

import pytest

from support.recorded_run import diptych


def test_a_good_job_is_summed_up(place: Path) -> None:
    lines = diptych("validate", "job.yaml").stdout.splitlines()
    assert lines[0] == "✓ job.yaml is a valid FineTuneJob."
    assert "  method     LoRA r=8, alpha 16, on to_q, to_k, to_v, to_out.0" in lines
    assert "  training   300 steps of 16 · learning rate 0.0001 · seed 42" in lines
    assert lines[-1] == "next: diptych run job.yaml"


def test_a_data_set_on_this_machine_is_counted(place: Path) -> None:
    (place / "pictures").mkdir()
    for number in range(4):
        Path(f"pictures/{number}.png").touch()
    rows = [f"{number}.png,caption {number},{kind}" for number, kind in enumerate("abab")]
    Path("pictures/captions.csv").write_text("\n".join(["image,caption,kind", *rows, "0.png,again,a", "9.png,gone,a"]))
    changes = ("dataset.layout=CaptionTable", "dataset.where.kind=a", "dataset.split.count=1")
    ended = diptych("validate", "job.yaml", *(word for change in changes for word in ("--set", change)))
    assert "  dataset    pictures · CaptionTable · 64 px · 2 pictures · 3 captions · 1 held out" in ended.stdout
    assert (
        "note: 1 of 4 rows of the data set are unusable (25.0%, more than the 5.0% of "
        "spec.dataset.badSamples.maxFraction): 9.png (line 7): no such file.\n"
    ) in ended.stdout


def test_a_data_set_of_another_layout_is_refused(place: Path) -> None:
    (place / "pictures").mkdir()
    Path("pictures/list.jsonl").touch()
    ended = diptych("validate", "job.yaml")
    assert ended.exit_code == 2
    assert "has no metadata.jsonl, which layout ImageFolder needs." in ended.stderr
    assert "The folder holds a *.jsonl manifest: set layout: JsonLines." in ended.stderr


def test_fields_that_one_machine_cannot_honour_are_named(place: Path) -> None:
    fields = (
        "managedBy=kueue.x-k8s.io/multikueue",
        "suspend=true",
        "resources.minWorkers=1",
        "resources.pods.gpuType=A",
    )
    ended = diptych("validate", "job.yaml", *(word for field in fields for word in ("--set", field)))
    notes = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("note:")]
    assert notes == ["spec.managedBy", "spec.suspend", "spec.resources.minWorkers", "spec.resources.pods"]
    assert ended.exit_code == 0


def test_a_form_that_is_passed_over_is_told(place: Path) -> None:
    ended = diptych("validate", "job.yaml", "--set", "export.formats=[Merged, TensorRT]")
    assert ended.exit_code == 0
    assert "note: spec.export.formats: TensorRT is skipped." in ended.stdout


def test_settings_that_would_change_the_result_are_refused(place: Path) -> None:
    changes = ("evaluation.suite=mine", "dataset.captioning.provider=OpenAI")
    ended = diptych("validate", "job.yaml", *(word for change in changes for word in ("--set", change)))
    assert ended.exit_code == 2
    assert "spec.evaluation.suite: mine is no suite" in ended.stderr
    assert "spec.dataset.captioning.endpoint: provider OpenAI needs it" in ended.stderr


def test_a_script_gets_the_spec_with_its_preset_resolved(place: Path) -> None:
    text = Path("job.yaml").read_text()
    Path("job.yaml").write_text(text.replace("spec:\n", "spec:\n  preset: lora-r16\n"))
    told = json.loads(diptych("validate", "job.yaml", "--set", "training.steps=7", "--json").stdout)
    assert (told["valid"], told["spec"]["lora"]["rank"], told["spec"]["training"]["steps"]) == (True, 8, 7)
    assert told["spec"]["training"]["warmupSteps"] == 200
    assert told["summary"]["output"].startswith("runs/local/noto-style-")


def test_what_this_machine_lacks_and_what_takes_its_place_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    for library in ("xformers", "bitsandbytes"):
        monkeypatch.setitem(sys.modules, library, None)
    fields = ("training.attention=xformers", "training.compile=Regional", "training.optimizer.name=AdamW8bit")
    ended = diptych("validate", "job.yaml", *(word for field in fields for word in ("--set", field)))
    assert ended.exit_code == 0
    notes = [line for line in ended.stdout.splitlines() if line.startswith("note:")]
    assert notes[0].startswith("note: here it would be refused: spec.training.attention: xformers is not installed")
    assert notes[1].startswith("note: here it would be refused: spec.training.compile: Regional needs a C++ compiler")
    assert "AdamW takes its place" in notes[2]
