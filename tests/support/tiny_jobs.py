"""A tiny job on tiny pictures with a tiny base, ready to be trained without Ray."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.presets import resolve
from diptych_diffusion.pipeline import load
from diptych_training.cache import caches_text, prepare_cache
from diptych_training.data.manifest import prepare, write
from diptych_training.run_store import RunStore
from diptych_training.share import Share
from support.tiny_models import make_pipeline

NAMES = ("red", "green", "blue", "white", "black", "grey", "brown", "pink", "gold", "teal", "navy", "lime")


def write_pictures(folder: Path, count: int = 12) -> Path:
    """Write an ImageFolder of ``count`` small pictures and return it."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "metadata.jsonl").open("w") as lines:
        for i in range(count):
            pixels = np.kron(rng.integers(0, 255, (4, 4, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
            Pictures.fromarray(pixels).save(folder / "images" / f"{i:02}.png")
            lines.write(f'{{"file_name": "images/{i:02}.png", "text": "{NAMES[i % 12]} thing"}}\n')
    return folder


def tiny_spec(base: Path, pictures: Path, **changes: Any) -> FineTuneJobSpec:
    """Return a LoRA job of a few steps, its preset resolved; ``changes`` are camelCase, dictionaries are merged."""
    fields: dict[str, Any] = {
        "base": {"uri": str(base)},
        "lora": {"rank": 2, "alpha": 2},
        "dataset": {"source": {"uri": str(pictures)}, "split": {"count": 4}, "image": {"size": 64}},
        "training": {
            "steps": 6,
            "batchSize": 4,
            "learningRate": 1e-2,
            "captionDropout": 0.25,
            "checkpoint": {"everySteps": 2},
            "validation": {"everySteps": 3, "draws": 2},
        },
        "evaluation": {"inferenceSteps": 2, "maxPrompts": 2},
    }
    return resolve(FineTuneJobSpec.model_validate(merged(fields, changes)))


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``old`` with ``new`` laid over it, dictionaries merged; None takes a key away."""
    both = dict(old)
    for key, value in new.items():
        if value is None:
            both.pop(key, None)
            continue
        both[key] = merged(both[key], value) if isinstance(value, Mapping) and key in both else value
    return both


def tiny_share(root: Path, **changes: Any) -> Share:
    """Return everything one worker needs, prepared below ``root``; a second call with the same root reuses it."""
    base = root / "base"
    if not base.exists():
        make_pipeline(base)
        write_pictures(root / "pictures")
    spec = tiny_spec(base, root / "pictures", **changes)
    manifest = prepare(spec.dataset, root / "work", lambda _done, _total: None)
    write(manifest, root / "manifest")
    text, pictures_too = caches_text(spec), spec.training.cache_latents
    prepare_cache(base, manifest, spec.dataset, root / "cache", text=text, pictures=pictures_too)
    store = RunStore.open(spec.output, "local", "tiny", root)
    components = load(base, need_unet=spec.method != "FromScratch")
    identity = {"data set": manifest.digest, "base": components.digest}
    return Share(spec, base, root / "manifest", root / "cache", store, identity)
