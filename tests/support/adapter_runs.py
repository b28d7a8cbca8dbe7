"""An adapter of a tiny base, and the artifact that a run leaves of it."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import torch

from diptych_api.artifact import ArtifactRecord, BaseRecord, FileRecord
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.runstore import RunRecord
from diptych_api.training import LoRA
from diptych_diffusion.adapter_files import save_diffusers, save_peft
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.lora import adapter_state, inject
from diptych_diffusion.pipeline import load
from diptych_training.run_store import RunStore

SETTINGS = LoRA(rank=2, alpha=4)


def tiny_adapter(base: Path) -> AdapterWeights:
    """Return a LoRA of a base with a visible effect."""
    components = load(base)
    inject(components.denoiser, SETTINGS, seed=1)
    random = torch.Generator().manual_seed(2)
    state = {name: torch.randn(x.shape, generator=random) for name, x in adapter_state(components.denoiser).items()}
    return AdapterWeights.of(state, SETTINGS, BaseRecord(source="tiny", digest=f"sha256:{components.digest}"))


def leave_artifact(store: RunStore, spec: FineTuneJobSpec, adapter: AdapterWeights) -> Path:
    """Write run.json and an artifact in PEFT and diffusers form; return the run's folder."""
    folder = store.local()
    assert folder is not None
    artifact = folder / "artifact"
    save_peft(artifact / "peft", adapter)
    save_diffusers(artifact / "diffusers", adapter)
    files = {
        path.relative_to(artifact).as_posix(): FileRecord(
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size
        )
        for path in artifact.rglob("*")
        if path.is_file()
    }
    record = ArtifactRecord(
        name="noto-style",
        run=store.name,
        method="LoRA",
        base=adapter.base or BaseRecord(source="tiny", digest=f"sha256:{'0' * 64}"),
        trainable_parameters=1,
        step=300,
        formats=["PEFT", "Diffusers"],
        files=files,
        created=datetime.now(UTC),
    )
    store.write_json("artifact/artifact.json", record)
    store.write_json("run.json", RunRecord(name="noto-style", run=store.name, spec=spec, created=datetime.now(UTC)))
    return folder
