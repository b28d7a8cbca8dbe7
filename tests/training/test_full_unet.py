"""FullUNet: every weight of the UNet learns, nothing else does; what is left is a whole model."""

import json
from pathlib import Path

import pytest
import torch

from diptych_diffusion.adapter_source import fetch_adapter
from diptych_diffusion.base_files import STEMS
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.pipeline import load
from diptych_diffusion.unet_files import load_unet
from diptych_training.artifact import verify_artifact
from support.bare_runs import Listener, finish, same_weights, train
from support.recorded_run import diptych
from support.tiny_jobs import tiny_share

pytestmark = pytest.mark.slow

SHRUNK = {
    "training": {"learningRate": 1e-3, "warmupSteps": 1},
    "dataset": {"layout": "ImageFolder", "imageColumn": "file_name", "captionColumn": "text"},
}


def test_the_preset_leaves_a_model_that_draws_serves_and_differs_from_its_base_in_the_unet_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    share = tiny_share(tmp_path, preset="flickr30k-full", **SHRUNK)
    assert share.spec.training.gradient_checkpointing
    loop = train(share, Listener())
    folder, artifact = finish(share)
    base, tuned = load(share.base_folder), load(folder / "artifact/pipeline")
    assert [part for part in STEMS if tuned.digests[part] != base.digests[part]] == ["unet"]
    assert artifact.trainable_parameters == sum(p.numel() for p in base.denoiser.parameters())
    for name, weight in tuned.denoiser.named_parameters():
        assert torch.equal(weight, loop.trainee.parameters[f"unet.{name}"])
    assert (verify_artifact(folder / "artifact").method, artifact.size_bytes > 0) == ("FullUNet", True)
    report = json.loads((folder / "evaluation/report.json").read_text())
    loss = next(metric for metric in report["metrics"] if metric["name"] == "ValidationLoss")
    assert loss["base"] != loss["tuned"]
    assert all(pair["base"] and pair["tuned"] for pair in report["pairs"])
    arm = load_unet(fetch_adapter(str(folder / "artifact"), tmp_path), base)
    assert weights_digest(arm.unet) == weights_digest(tuned.denoiser)
    for options in (("--run", folder, "-o", "tuned.png"), ("--base", share.base_folder, "-o", "base.png")):
        drawn = diptych("generate", "red thing", "--seed", 7, "--steps", 2, *options)
        assert drawn.exit_code == 0, drawn.output
    assert Path("tuned.png").read_bytes() != Path("base.png").read_bytes()
    exported = diptych("export", folder, "--format", "pipeline", "-o", "model")
    assert exported.exit_code == 0, exported.output
    assert load(Path("model")).digest == tuned.digest


def test_stop_and_go_on_equals_an_undisturbed_run(tmp_path: Path) -> None:
    whole, part, rest = Listener(), Listener(stop_at=3), Listener()
    undisturbed = train(tiny_share(tmp_path / "a", method="FullUNet"), whole)
    share = tiny_share(tmp_path / "b", method="FullUNet")
    assert train(share, part).step < 6
    resumed = train(share, rest, go_on=True)
    assert part.losses() | rest.losses() == whole.losses()
    assert part.validations() | rest.validations() == whole.validations()
    assert same_weights(undisturbed, resumed)


def test_settings_of_an_adapter_are_named_as_without_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(
        "apiVersion: diptych.dev/v1alpha1\nkind: FineTuneJob\nmetadata: {name: whole}\n"
        "spec:\n  base: {builtin: tiny-emoji}\n  method: FullUNet\n  lora: {rank: 8}\n"
        "  dataset: {source: {uri: pictures}}\n  export: {formats: [Kohya]}\n"
    )
    told = diptych("validate", "job.yaml")
    assert told.exit_code == 0
    assert "note: spec.lora has no effect with method FullUNet." in told.stdout
    assert "note: spec.export.formats has no effect with method FullUNet." in told.stdout
