"""`diptych generate` and `diptych export` with a tiny base, a real adapter and the artifact of a run."""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from diptych_api.artifact import ArtifactRecord, BaseRecord, FileRecord
from diptych_api.finetunejob import FineTuneJob
from diptych_api.runstore import RunRecord
from diptych_api.training import LoRA
from diptych_api.yaml_reader import read_resource
from diptych_diffusion.adapter_files import save_diffusers, save_peft
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.lora import adapter_state, inject
from diptych_diffusion.pipeline import load
from diptych_training.run_store import RunStore
from support.recorded_run import diptych
from support.tiny_models import make_pipeline

SHORT = ("--steps", "2", "--guidance", "3")
SETTINGS = LoRA(rank=2, alpha=4)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random pipeline."""
    return make_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def adapter(base: Path) -> AdapterWeights:
    """A LoRA of the base with a visible effect."""
    components = load(base)
    inject(components.denoiser, SETTINGS, seed=1)
    random = torch.Generator().manual_seed(2)
    state = {name: torch.randn(x.shape, generator=random) for name, x in adapter_state(components.denoiser).items()}
    return AdapterWeights.of(state, SETTINGS, BaseRecord(source="tiny", digest=f"sha256:{components.digest}"))


@pytest.fixture
def run(begun: RunStore, place: Path, base: Path, adapter: AdapterWeights) -> Path:
    """The folder of a run that left a PEFT and a diffusers form."""
    folder = begun.local()
    assert folder is not None
    save_peft(folder / "artifact" / "peft", adapter)
    save_diffusers(folder / "artifact" / "diffusers", adapter)
    written = {p: p.read_bytes() for p in (folder / "artifact").rglob("*") if p.is_file()}
    files = {
        path.relative_to(folder / "artifact").as_posix(): FileRecord(
            sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)
        )
        for path, data in written.items()
    }
    record = ArtifactRecord(
        name="noto-style",
        run=begun.name,
        method="LoRA",
        base=BaseRecord(source="tiny", digest=f"sha256:{'0' * 64}"),
        trainable_parameters=1,
        step=300,
        formats=["PEFT", "Diffusers"],
        files=files,
        created=datetime.now(UTC),
    )
    begun.write_json("artifact/artifact.json", record)
    job = read_resource(place / "job.yaml", ["base.builtin=null", f"base.uri={base}", "evaluation.inferenceSteps=3"])
    assert isinstance(job, FineTuneJob)
    made = RunRecord(name="noto-style", run=begun.name, spec=job.spec, created=datetime.now(UTC))
    begun.write_json("run.json", made)
    return folder


def picture(path: str) -> Image.Image:
    """Return a picture that was read to its end, its file closed."""
    with Image.open(path) as opened:
        opened.load()
    return opened


def test_the_same_seed_gives_the_same_picture_and_says_how_it_was_made(place: Path, base: Path) -> None:
    for name in ("one.png", "two.png"):
        ended = diptych("generate", "red apple", "--base", base, "--seed", 7, *SHORT, "-o", name)
        assert ended.exit_code == 0, ended.output
    one, two = picture("one.png"), picture("two.png")
    assert one.tobytes() == two.tobytes()
    assert one.size == (64, 64)
    assert (one.info["prompt"], one.info["seed"]) == ("red apple", "7")
    assert json.loads(one.info["settings"])["steps"] == 2


def test_a_seed_that_was_not_given_is_told_and_draws_the_same_again(place: Path, base: Path) -> None:
    told = json.loads(diptych("generate", "owl", "--base", base, *SHORT, "-o", "one.png", "--json").stdout)
    seed = told["pictures"][0]["seed"]
    diptych("generate", "owl", "--base", base, "--seed", seed, *SHORT, "-o", "two.png")
    assert picture("one.png").tobytes() == picture("two.png").tobytes()


def test_several_pictures_have_their_seeds_in_their_names(place: Path, base: Path) -> None:
    ended = diptych("generate", "Red Apple!", "--base", base, "--seed", 5, *SHORT, "-n", 2, "--size", "48x64")
    assert ended.stdout.splitlines() == ["✓ red-apple-5.png · seed 5", "✓ red-apple-6.png · seed 6"]
    assert picture("red-apple-6.png").size == (48, 64)


def test_a_run_gives_base_adapter_and_settings(run: Path, base: Path) -> None:
    tuned = diptych("generate", "red apple", "--run", "job.yaml", "--seed", 7, "-o", "tuned.png")
    assert tuned.exit_code == 0, tuned.output
    diptych("generate", "red apple", "--base", base, "--seed", 7, "--steps", 3, "-o", "base.png")
    tuned_picture = picture("tuned.png")
    assert tuned_picture.tobytes() != picture("base.png").tobytes()
    assert json.loads(tuned_picture.info["settings"])["steps"] == 3
    assert tuned_picture.info["adapter"].startswith("sha256:")


def test_an_adapter_of_another_base_is_refused(run: Path, tmp_path: Path) -> None:
    other = make_pipeline(tmp_path / "other", seed=1)
    ended = diptych("generate", "owl", "--adapter", run / "artifact/peft", "--base", other, *SHORT)
    assert ended.exit_code == 2
    assert "was made for another base: tiny" in ended.stderr


def test_what_cannot_be_drawn_is_an_error_of_the_user(place: Path, base: Path) -> None:
    for wrong, said in ((("--size", "big"), "no size"), (("--base", "builtin:nothing"), "--base builtin:nothing")):
        ended = diptych("generate", "owl", "--base", base, *SHORT, *wrong)
        assert (ended.exit_code, said in ended.stderr) == (2, True)


def test_a_form_that_the_run_wrote_is_copied_byte_for_byte(run: Path) -> None:
    ended = diptych("export", "job.yaml", "--format", "diffusers", "-o", "out")
    assert ended.stdout == "✓ copied out/pytorch_lora_weights.safetensors\n"
    copied = Path("out/pytorch_lora_weights.safetensors").read_bytes()
    assert copied == (run / "artifact/diffusers/pytorch_lora_weights.safetensors").read_bytes()


def test_a_form_that_the_run_did_not_write_is_converted(run: Path, adapter: AdapterWeights) -> None:
    told = json.loads(diptych("export", run, "--format", "kohya", "-o", "a.safetensors", "--json").stdout)
    assert (told["how"], told["files"]) == ("converted", ["a.safetensors"])
    assert sum(name.endswith(".alpha") for name in load_file("a.safetensors")) == len(adapter.layers())


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
