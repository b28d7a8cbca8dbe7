"""Whole models that a tiny run has trained, as it leaves them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from diptych_api.artifact import ArtifactRecord
from diptych_api.runstore import ARTIFACT
from diptych_api.training import Method
from diptych_diffusion.pipeline import load
from diptych_training.artifact import base_record, write_pipeline_artifact
from diptych_training.building import build_loop
from diptych_training.finish import tuned_components
from support.tiny_jobs import tiny_share

NEW_UNET = {
    "blockOutChannels": [32, 64],
    "downBlockTypes": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "upBlockTypes": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layersPerBlock": 1,
    "crossAttentionDim": 32,
    "attentionHeadDim": 4,
    "normNumGroups": 8,
}


def trained_artifact(root: Path, method: Method) -> Path:
    """Train a UNet for some steps below ``root`` and return the artifact's folder; its base is ``root / "base"``."""
    changes: dict[str, Any] = {"unet": NEW_UNET, "training": {"trainTextEncoder": True}}
    share = tiny_share(root, method=method, **(changes if method == "FromScratch" else {}))
    original = load(share.base_folder, need_unet=method != "FromScratch")
    loop = build_loop(share, torch.device("cpu"), lambda _: False)
    loop.run()
    draft = ArtifactRecord(
        name="tiny",
        run=share.store.name,
        method=method,
        base=base_record(share.spec.base, original),
        trainable_parameters=sum(p.numel() for p in loop.trainee.parameters.values()),
        step=loop.step,
        created=datetime.now(UTC),
    )
    write_pipeline_artifact(share.store, tuned_components(original, loop), draft)
    folder = share.store.local()
    assert folder is not None
    return folder / ARTIFACT
