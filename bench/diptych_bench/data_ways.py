"""Ways to look into a folder of pictures, one in a process of its own: `python data_ways.py FOLDER WAY`.

Each decodes every picture and has its SHA-256 and, but for `look`, its perceptual hash. It prints one line of JSON. It
stands alone, so that a way whose libraries are not Diptych's runs in an environment of its own.
"""

import hashlib
import importlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

Hashes = dict[str, int | None]


def ours(folder: Path, **fields: dict[str, Any]) -> Hashes:
    """Prepare the folder as a run does."""
    eyes = importlib.import_module("diptych_training.data.eyes")
    looks = importlib.import_module("diptych_training.data.looks")
    manifest = importlib.import_module("diptych_training.data.manifest")
    dataset = importlib.import_module("diptych_api.dataset").Dataset
    spec = dataset.model_validate({"source": {"uri": str(folder)}, "layout": "ClassFolders", **fields})
    seen: Hashes = {}
    with tempfile.TemporaryDirectory() as workdir:
        manifest.prepare(spec, Path(workdir), lambda _done, _total: None)
        asked = eyes.Asked.of(spec)
        journal = looks.Journal.open(Path(workdir), folder, asked)
        seen |= {key: json.loads(line).get("bits") for key, line in journal.known.items()}
    return seen


def by_imagehash(folder: Path) -> Hashes:
    """Hash one picture after the other by imagehash, which does as imagededup's PHash does."""
    imagehash = importlib.import_module("imagehash")
    return {name: _bits(imagehash, data) for name, data in _files(folder)}


def by_map(folder: Path) -> Hashes:
    """Map over a data set of the datasets library, with imagehash."""
    datasets, imagehash = importlib.import_module("datasets"), importlib.import_module("imagehash")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.jpg"))]
    made = datasets.Dataset.from_dict({"image": [str(folder / name) for name in names]})
    made = made.cast_column("image", datasets.Image())

    def look(row: dict[str, Any]) -> dict[str, str]:
        data = Path(row["image"].filename).read_bytes()
        return {"hash": str(imagehash.phash(row["image"])), "sha256": hashlib.sha256(data).hexdigest()}

    found = made.map(look, remove_columns=["image"], keep_in_memory=True)
    return {name: int(text, 16) for name, text in zip(names, found["hash"], strict=True)}


WAYS: dict[str, Callable[[Path], Hashes]] = {
    "look": ours,
    "look, hash": lambda folder: ours(folder, dedup={"enabled": True}),
    "look, hash, sharpness": lambda folder: ours(folder, dedup={"enabled": True}, filters={"minSharpness": 1}),
    "imagehash": by_imagehash,
    "datasets map, imagehash": by_map,
}


def _files(folder: Path) -> list[tuple[str, bytes]]:
    return [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in sorted(folder.rglob("*.jpg"))]


def _bits(imagehash: ModuleType, data: bytes) -> int:
    hashlib.sha256(data).hexdigest()
    with importlib.import_module("PIL.Image").open(io.BytesIO(data)) as picture:
        return int(str(imagehash.phash(picture)), 16)


def main(folder: Path, way: str) -> None:
    """Go one way twice, the first time to load libraries, and print what the second cost."""
    look = WAYS[way]
    look(folder / "few")
    cpu, clock = time.process_time(), time.perf_counter()
    hashes = look(folder / "many")
    cost = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - clock}
    print(json.dumps({**cost, "hashes": hashes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
