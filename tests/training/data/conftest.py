"""Pictures, folders and specs for the tests of data in."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from diptych_api.dataset import Dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give an ImageFolder of 12 pictures that differ."""
    root = tmp_path / "pictures"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for i in range(12):
        pixels = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(root / "images" / f"{i:03}.png")
        lines.append(json.dumps({"file_name": f"images/{i:03}.png", "text": f"picture {i}"}))
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@pytest.fixture
def dataset() -> Callable[..., Dataset]:
    """Give a maker of specs: ``dataset(uri, layout=…, …)``, camelCase fields."""

    def make(uri: Path | str, sha256: str | None = None, **fields: object) -> Dataset:
        return Dataset.model_validate({"source": {"uri": str(uri), "sha256": sha256}, **fields})

    return make
