"""How many pictures a core looks into in a second, against others' ways, and encodes for training."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL.Image

from diptych_bench.figures import Spread, save, show
from diptych_bench.foreign import answer, python_with
from diptych_bench.machine import this_machine, watched

WAYS_FILE: Final = Path(__file__).with_name("data_ways.py")
OURS: Final = ("look", "look, hash", "look, hash, sharpness")
OTHERS: Final = {
    "imagehash": ("imagehash==4.3.2",),
    "datasets map, imagehash": ("imagehash==4.3.2", "datasets==4.4.1"),
}
SIDE: Final = 512
BITS: Final = 64


def rates(pictures: int, rounds: int) -> None:
    """Measure, print and save."""
    with watched() as weather, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_pictures(folder / "few" / "all", 10, seed=1)
        size = make_pictures(folder / "many" / "all", pictures, seed=2)
        turns: dict[str, list[Mapping[str, Any]]] = {way: [] for way in (*OURS, *OTHERS)}
        for _ in range(rounds):
            for way, done in turns.items():
                done.append(_turn(folder, way))
    figures = {way: _figures(done, pictures) for way, done in turns.items()}
    same = _same_bits(turns["look, hash"][0]["hashes"], turns["imagehash"][0]["hashes"])
    columns = ("way", "pictures a second and core", "CPU hours for 10 million")
    show(
        f"{pictures} pictures of {SIDE} × {SIDE}, {size // 1000} KB each",
        columns,
        [(w, *f) for w, f in figures.items()],
    )
    print(f"of {BITS} bits, {same:.2f} are those of imagehash on average")
    told = {way: {"per_core_second": rate, "hours_of_ten_million": hours} for way, (rate, hours) in figures.items()}
    about = {"pictures": pictures, "side": SIDE, "bytes": size, "others": OTHERS, "bits_as_imagehash": same}
    print(save("data-prepare", this_machine(), weather, {**about, "ways": told}))


def make_pictures(folder: Path, count: int, seed: int) -> int:
    """Write JPEGs of soft shapes and a little noise, as photographs have; return their mean size in bytes."""
    folder.mkdir(parents=True)
    rng, sizes = np.random.default_rng(seed), []
    for number in range(count):
        soft = PIL.Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize((SIDE, SIDE), 3)
        noisy = np.asarray(soft, np.int16) + rng.normal(0, 6, (SIDE, SIDE, 1)).astype(np.int16)
        path = folder / f"{number:06}.jpg"
        PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        sizes.append(path.stat().st_size)
    return sum(sizes) // count


def _turn(folder: Path, way: str) -> Mapping[str, Any]:
    return answer(python_with(*OTHERS.get(way, ())), WAYS_FILE, folder, way)


def _figures(turns: list[Mapping[str, Any]], pictures: int) -> tuple[Spread, float]:
    spread = Spread.of([pictures / turn["cpu_s"] for turn in turns])
    return spread, round(1e7 / spread.median / 3600, 1)


def _same_bits(ours: dict[str, int], theirs: dict[str, int]) -> float:
    return BITS - float(np.mean([(ours[name] ^ theirs[name]).bit_count() for name in theirs]))
