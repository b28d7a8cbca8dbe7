"""`diptych export` with the artifact of a run."""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file

from diptych_diffusion.adapter_files import load_adapter
from diptych_training.run_store import RunStore
from support.recorded_run import diptych


def test_a_form_that_the_run_wrote_is_copied_byte_for_byte(run: Path) -> None:
    ended = diptych("export", "job.yaml", "--format", "diffusers", "-o", "out")
    assert ended.stdout == "✓ copied out/pytorch_lora_weights.safetensors\n"
    copied = Path("out/pytorch_lora_weights.safetensors").read_bytes()
    assert copied == (run / "artifact/diffusers/pytorch_lora_weights.safetensors").read_bytes()


def test_a_form_that_the_run_did_not_write_is_converted(run: Path) -> None:
    told = json.loads(diptych("export", run, "--format", "kohya", "-o", "a.safetensors", "--json").stdout)
    assert (told["how"], told["files"]) == ("converted", ["a.safetensors"])
    assert sum(name.endswith(".alpha") for name in load_file("a.safetensors")) == len(
        load_adapter(run / "artifact/peft").layers()
    )


def test_a_stranger_s_adapter_can_be_converted(run: Path, place: Path) -> None:
    stranger = place / "stranger"
    shutil.copytree(run / "artifact/diffusers", stranger)
    ended = diptych("export", stranger, "--format", "peft", "-o", "peft")
    assert ended.exit_code == 0, ended.output
    assert json.loads(Path("peft/adapter_config.json").read_text())["r"] == 2


def test_an_artifact_that_was_changed_is_not_exported(run: Path) -> None:
    weights = run / "artifact/peft/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    ended = diptych("export", "job.yaml", "--format", "peft", "-o", "out")
    assert ended.exit_code == 1
    assert "adapter_model.safetensors is not what the run wrote" in ended.stderr
    assert not Path("out").exists()


def test_nothing_is_replaced_without_force(run: Path) -> None:
    Path("mine.safetensors").write_bytes(b"mine")
    command = ("export", "job.yaml", "--format", "kohya", "-o", "mine.safetensors")
    assert (diptych(*command).exit_code, Path("mine.safetensors").read_bytes()) == (2, b"mine")
    assert (diptych(*command, "--force").exit_code, Path("mine.safetensors").stat().st_size > 4) == (0, True)


def test_a_run_without_artifact_has_nothing_to_export(begun: RunStore) -> None:
    ended = diptych("export", "job.yaml", "--format", "peft", "-o", "out")
    assert ended.exit_code == 2
    assert "has no artifact yet" in ended.stderr
