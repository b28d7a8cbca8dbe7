"""`diptych validate --deep` tells what a job takes before any weight is loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch

from diptych_diffusion.pipeline import load
from diptych_diffusion.skeleton import load_skeleton
from diptych_training.memory import Memory, memory_of, saved_bytes
from diptych_training.trainee import build_trainee
from support.recorded_run import diptych
from support.tiny_jobs import tiny_spec, write_pictures
from support.tiny_models import make_pipeline
from support.trained_models import NEW_UNET

pytestmark = pytest.mark.slow

JOB = """\
apiVersion: diptych.dev/v1alpha1
kind: FineTuneJob
metadata: {name: deep}
spec:
  base: {uri: base}
  dataset: {source: {uri: pictures}, image: {size: 64}, split: {count: 4}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep")
    make_pipeline(folder / "base")
    write_pictures(folder / "pictures")
    (folder / "job.yaml").write_text(JOB)
    return folder


def memory(folder: Path, **changes: Any) -> Memory:
    spec = tiny_spec(folder / "base", folder / "pictures", **changes)
    return memory_of(spec, load_skeleton(folder / "base"))[0]


@pytest.mark.parametrize("method", ["LoRA", "FullUNet"])
def test_what_is_kept_for_the_backward_pass_is_what_a_real_pass_keeps(folder: Path, method: str) -> None:
    spec = tiny_spec(folder / "base", folder / "pictures", method=method)
    unet: Any = build_trainee(spec, load(folder / "base"), torch.device("cpu")).unet
    noisy, text, t = torch.randn(4, 4, 8, 8), torch.randn(4, 16, 32), torch.full((4,), 500)
    real, _ = saved_bytes(unet.train(), lambda: unet(noisy, t, text, return_dict=False))
    told = memory(folder, method=method)
    assert told.activations == pytest.approx(real, rel=0.01)
    assert told.weights == sum(p.nbytes for p in unet.parameters())


def test_memory_follows_the_settings(folder: Path) -> None:
    whole = memory(folder, method="FullUNet")
    assert whole.gradients == whole.average == whole.weights
    assert whole.optimizer == 2 * whole.weights
    assert memory(folder, method="FullUNet", training={"gradientCheckpointing": True}).activations < whole.activations
    assert memory(folder, method="FullUNet", training={"microBatchSize": 1}).activations < 0.3 * whole.activations
    shared = {"resources": {"workers": 2}, "training": {"sharding": "OptimizerAndGradients"}}
    assert memory(folder, method="FullUNet", **shared).optimizer == pytest.approx(whole.optimizer / 2, rel=0.01)
    adapter = memory(folder)
    assert adapter.gradients < 0.05 * whole.gradients
    eight = memory(folder, method="FullUNet", training={"optimizer": {"name": "AdamW8bit"}})
    assert eight.optimizer == whole.optimizer / 4


def test_the_command_tells_parameters_memory_pictures_and_captions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    told = diptych("validate", "job.yaml", "--deep")
    assert told.exit_code == 0, told.output
    facts = {line.split()[0]: line for line in told.stdout.splitlines() if line.startswith("  ")}
    unet = sum(p.numel() for p in load(folder / "base").denoiser.parameters())
    assert f"UNet {unet:,} ·" in facts["parameters"] or f"UNet {unet / 1e6:,.1f} M" in facts["parameters"]
    assert "% of the UNet" in facts["trained"]
    assert "GB for each worker, 4 samples at once" in facts["memory"]
    assert facts["pictures"].endswith("8 to learn from · 4 held out")
    assert facts["captions"].endswith("12")


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (
            {"crossAttentionDim": 512},
            "spec.unet.crossAttentionDim: 512 does not fit the text encoder, whose output is 32",
        ),
        ({"normNumGroups": 7}, "spec.unet: the network cannot be built or run"),
        ({"downBlockTypes": ["CrossAttnDownBlock2D", "Nonsense"]}, "spec.unet: the network cannot be built or run"),
    ],
)
def test_a_shape_that_would_fail_is_refused_with_the_reason(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: dict[str, Any], told: str
) -> None:
    """C13: the flowers template's cross-attention of 512 does not fit its text encoder."""
    monkeypatch.chdir(folder)
    spec = "\n".join(f"    {name}: {value}" for name, value in (NEW_UNET | shape).items())
    (tmp_path / "job.yaml").write_text(f"{JOB}  method: FromScratch\n  unet:\n{spec}\n")
    ended = diptych("validate", tmp_path / "job.yaml", "--deep")
    assert ended.exit_code == 2, ended.output
    assert told in ended.stderr
