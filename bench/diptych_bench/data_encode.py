"""How many pictures a core encodes for training in a second, against `map` of the datasets library."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL

from diptych_api.errors import RunFailed
from diptych_bench.data_rates import make_pictures
from diptych_bench.figures import Spread, ratios, save, show
from diptych_bench.foreign import answer, ours_with
from diptych_bench.machine import this_machine, watched
from diptych_bench.shapes import TINY, make_base, quieten
from diptych_diffusion.builtin import builtin_folder

WAYS_FILE: Final = Path(__file__).with_name("data_encode_ways.py")
WAYS: Final = {"ours": (), "map": ("datasets==4.4.1",)}
FEW: Final = 2
SMALL, LARGE = 64, 256
"""Sides of pictures: for tiny-emoji's VAE, and for one of Stable Diffusion's shape, which encodes an eighth as many."""
CASES: Final = {"tiny-emoji's VAE, 64²": SMALL, "VAE of Stable Diffusion's shape, 256²": LARGE}


def encode(pictures: int, rounds: int) -> None:
    """Measure, print and save."""
    with watched() as weather:
        counts = {SMALL: pictures, LARGE: max(FEW, pictures // 8)}
        cases = {case: _case(side, counts[side], rounds) for case, side in CASES.items()}
    columns = ("VAE and side", "pictures", "a second and core", "map, a second and core", "map's CPU time against ours")
    show("Encoding pictures", columns, [(case, *found.values()) for case, found in cases.items()])
    print(save("data-encode", this_machine(), weather, {"others": WAYS, "cases": cases}))


def _case(side: int, pictures: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_pictures(folder / "few", FEW, seed=1)
        make_pictures(folder / "many", pictures, seed=2)
        (folder / "side").write_text(str(side))
        _base(folder / "base", side)
        turns: dict[str, list[Mapping[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, done in turns.items():
                done.append(answer(ours_with(*WAYS[way]), WAYS_FILE, folder, way))
    seconds = {way: [turn["cpu_s"] for turn in done] for way, done in turns.items()}
    sums = [turns[way][0]["sums"] for way in WAYS]
    if not np.allclose([sums[0][name] for name in sums[1]], list(sums[1].values()), rtol=1e-3, atol=0.1):
        raise RunFailed("The ways gave other latents.", hint="Look at both; a figure would mean nothing.")
    rates = {way: Spread.of([pictures / each for each in taken]) for way, taken in seconds.items()}
    return {"pictures": pictures, **rates, "map_against_ours": ratios(seconds["map"], seconds["ours"])}


def _base(folder: Path, side: int) -> None:
    """Write the base; speed does not depend on what a VAE has learned."""
    if side == SMALL:
        shutil.copytree(builtin_folder("tiny-emoji"), folder)
        return
    quieten()
    make_base(folder, TINY)
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=side,
    )
    vae.save_pretrained(folder / "vae", safe_serialization=True)
