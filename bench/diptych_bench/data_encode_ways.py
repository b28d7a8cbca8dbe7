"""Ways to encode a folder of pictures by a VAE, one in a process of its own: `python data_encode_ways.py FOLDER WAY`.

Each decodes every JPEG, crops it to the side that the base was made for, and keeps mean and log-variance of its
latents on the disk, in float32. It prints one line of JSON.
"""

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from diptych_api.dataset import Dataset, Image
from diptych_api.sources import DatasetSource
from diptych_diffusion.fingerprint import file_digest
from diptych_training.cache import prepare_cache
from diptych_training.cache_encode import encoders
from diptych_training.data.entry import Entry, Manifest
from diptych_training.data.picture import read_picture, to_tensor

BATCH: Final = 8
"""Pictures that `map` hands over together."""
Latents = Mapping[str, Tensor]


def ours(base: Path, pictures: Path, side: int) -> Latents:
    """Fill a cache as a run does, in one process."""
    entries = [Entry(path.name, path, (), file_digest(path)) for path in sorted(pictures.glob("*.jpg"))]
    dataset = Dataset(source=DatasetSource(uri=str(pictures)), image=Image(size=side))
    with tempfile.TemporaryDirectory() as folder:
        manifest = Manifest(pictures, tuple(entries), (), (), "")
        cache = prepare_cache(base, manifest, dataset, Path(folder), text=False)
        return {entry.key: torch.stack(cache.latent(entry.sha256)) for entry in entries}


def by_map(base: Path, pictures: Path, side: int) -> Latents:
    """Map over a data set of the datasets library, a batch at a time, as diffusers' scripts prepare embeddings."""
    datasets: Any = importlib.import_module("datasets")
    vae, image = encoders(base, "cpu").vae, Image(size=side)
    names = [path.name for path in sorted(pictures.glob("*.jpg"))]

    @torch.no_grad()
    def encode(rows: dict[str, list[str]]) -> dict[str, Any]:
        batch = torch.stack([to_tensor(read_picture(pictures / name, image)) for name in rows["name"]])
        drawn_from = vae.encode(batch).latent_dist
        return {"latents": torch.stack([drawn_from.mean, drawn_from.logvar], 1).numpy()}

    with tempfile.TemporaryDirectory() as folder:
        made = datasets.Dataset.from_dict({"name": names})
        made = made.map(encode, batched=True, batch_size=BATCH, cache_file_name=f"{folder}/latents.arrow")
        latents = made.with_format("torch")["latents"]
        return {name: latents[number] for number, name in enumerate(names)}


WAYS: dict[str, Callable[[Path, Path, int], Latents]] = {"ours": ours, "map": by_map}


def main(folder: Path, way: str) -> None:
    """Go one way twice, the first time to load what it needs, and print what the second cost."""
    base, side = folder / "base", int((folder / "side").read_text())
    WAYS[way](base, folder / "few", side)
    cpu, clock = time.process_time(), time.perf_counter()
    latents = WAYS[way](base, folder / "many", side)
    cost = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - clock}
    print(json.dumps({**cost, "sums": {name: float(tensor.sum()) for name, tensor in latents.items()}}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
