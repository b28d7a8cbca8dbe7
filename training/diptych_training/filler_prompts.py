"""Prompts for fillers out of a small grammar: seven categories, each sentence once."""

import random
from collections.abc import Mapping
from itertools import product
from typing import Final

CATEGORIES: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "animal": (("a fox", "an owl", "a horse", "a turtle", "a heron"), ("in tall grass", "at dusk", "by a river")),
    "landscape": (("a valley", "a dune", "a cliff", "a lake", "a moor"), ("under storm clouds", "at dawn", "in snow")),
    "object": (
        ("a teapot", "a lantern", "a violin", "a bicycle", "a clock"),
        ("on a table", "in a window", "of brass"),
    ),
    "cityscape": (
        ("a harbour", "a market", "a bridge", "a tram stop", "a roofscape"),
        ("at night", "in rain", "at noon"),
    ),
    "nature": (("a fern", "a mossy log", "a waterfall", "a beech", "a tide pool"), ("close up", "in fog", "in spring")),
    "space": (
        ("a comet", "a ringed planet", "a nebula", "a moon base", "a galaxy"),
        ("far away", "in violet", "seen from orbit"),
    ),
    "abstract": (
        ("spirals", "woven lines", "overlapping discs", "ink stains", "cubes"),
        ("in two colours", "in gold", "in motion"),
    ),
}


def filler_prompts(count: int, seed: int) -> list[str]:
    """Return ``count`` different prompts, taking the seven categories in turn; at most 105."""
    drawn = random.Random(seed)  # noqa: S311 - it must be the same for the same seed
    each = {name: [f"{what} {how}" for what, how in product(*parts)] for name, parts in CATEGORIES.items()}
    for sentences in each.values():
        drawn.shuffle(sentences)
    turns = [sentences[turn] for turn in range(min(map(len, each.values()))) for sentences in each.values()]
    if count > len(turns):
        raise ValueError(f"the grammar has {len(turns)} sentences, not {count}")
    return turns[:count]
