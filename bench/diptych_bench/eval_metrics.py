"""Whether metrics say what the programs say that people know them from, and what they take."""

import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from diptych_bench.eval_judges import add_tokenizer, make_networks, make_pictures, make_prompts
from diptych_bench.figures import Spread, ratios, save, show
from diptych_bench.foreign import answer, python_with
from diptych_bench.machine import this_machine, watched

WAYS_FILE: Final = Path(__file__).with_name("eval_ways.py")
PEERS: Final = {"sets": "torch-fidelity==0.4.0", "pairs": "lpips==0.1.4", "prompts": "open_clip_torch==3.3.0"}
WANTED: Final = 1e-4
Turns = dict[str, list[Mapping[str, Any]]]


def metrics(pictures: int, side: int, rounds: int) -> None:
    """Measure, print and save."""
    pythons = {"ours": python_with(), "theirs": python_with(f"torch=={_torch()}", *PEERS.values())}
    with watched() as weather, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _prepare(folder, pictures, side, pythons["theirs"])
        turns: dict[str, Turns] = {way: {"ours": [], "theirs": []} for way in PEERS}
        for _ in range(rounds):
            for way, by in turns.items():
                for who, done in by.items():
                    done.append(answer(pythons[who], WAYS_FILE, folder, who, way))
    values = [row for way, by in turns.items() for row in _compared(way, by)]
    times = [_times(way, by) for way, by in turns.items()]
    show(f"{pictures} pictures of {side} × {side} a side", tuple(values[0]), [tuple(row.values()) for row in values])
    show("Seconds of one core, network loaded and pictures read", tuple(times[0]), [tuple(r.values()) for r in times])
    about = {"pictures": pictures, "side": side, "peers": PEERS, "wanted": WANTED}
    print(save("eval-metrics", this_machine(), weather, {**about, "values": values, "times": times}))


def _prepare(folder: Path, pictures: int, side: int, theirs: list[str]) -> None:
    make_pictures(folder / "real", pictures, side, across=8, darkest=0)
    make_pictures(folder / "drawn", pictures, side, across=2, darkest=128)
    make_prompts(folder / "prompts.json", pictures)
    make_networks(folder)
    answer(theirs, WAYS_FILE, folder, "theirs", "words")
    add_tokenizer(folder / "clip")


def _compared(way: str, turns: Turns) -> Iterator[dict[str, object]]:
    """Yield a row for each metric: the mean over pictures, and the largest difference of any picture."""
    ours, theirs = (turns[who][0]["figures"] for who in ("ours", "theirs"))
    for name, values in ours.items():
        a, b = np.array(values), np.array(theirs[name])
        apart = np.abs(a - b)
        yield {
            "metric": name,
            "peer": PEERS[way],
            "ours": float(f"{a.mean():.8g}"),
            "theirs": float(f"{b.mean():.8g}"),
            "apart": float(f"{apart.max():.2g}"),
            "apart, of the value": float(f"{(apart / np.abs(b)).max():.2g}"),
        }


def _times(way: str, turns: Turns) -> dict[str, object]:
    ours, theirs = ([turn["cpu_s"] for turn in turns[who]] for who in ("ours", "theirs"))
    return {
        "metrics": ", ".join(turns["ours"][0]["figures"]),
        "peer": PEERS[way],
        "ours, s": Spread.of(ours),
        "theirs, s": Spread.of(theirs),
        "theirs / ours": ratios(theirs, ours),
    }


def _torch() -> str:
    """Return the version of PyTorch that computes here, without the name of its build."""
    return version("torch").partition("+")[0]
