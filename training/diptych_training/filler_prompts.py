"""Prompts for fillers in seven categories, each once: out of a small grammar, or written by a language model."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product, zip_longest
from typing import Final

from diptych_api.after import FillerPrompts
from diptych_api.errors import DiptychError
from diptych_training.captioning.cleanup import cleaned
from diptych_training.chat import Chat, UnansweredError

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

FIELD: Final = "spec.evaluation.fillerPrompts"
GRAMMAR: Final = "grammar"
MOST: Final = 105
"""Of the grammar."""
QUESTION: Final = (
    "Write {count} different prompts for a text-to-image model, all of this kind: {category}. One on each line, each "
    "of 3 to 12 words, and nothing else."
)
MARK: Final = re.compile(r"^\s*(?:\d+\s*[.):]|[-*•])\s*")
"""How models number their lines."""
MAX_TOKENS: Final = 512
LONGEST, LONGEST_REASON = 200, 300


@dataclass(frozen=True, slots=True)
class Written:
    """Prompts, and who wrote them."""

    prompts: tuple[str, ...]
    writer: str


def write_prompts(settings: FillerPrompts | None, count: int, seed: int) -> Written:
    """Return ``count`` different prompts; what the model that is asked does not write comes from the grammar."""
    own = from_grammar(MOST, seed)
    if settings is None:
        return Written(tuple(own[:count]), GRAMMAR)
    try:
        asked = Chat.at(settings.endpoint, settings.model, FIELD)
        each = -(-count // len(CATEGORIES))
        turns = zip_longest(*(_of_category(asked, name, each) for name in CATEGORIES))
    except (DiptychError, UnansweredError) as error:
        return Written(tuple(own[:count]), f"{GRAMMAR}, because {settings.model} wrote none: {error}"[:LONGEST_REASON])
    told = [prompt for turn in turns for prompt in turn if prompt is not None]
    different = dict[str, str]()
    for prompt in (*told[:count], *own):
        different.setdefault(prompt.casefold(), prompt)
    prompts = tuple(different.values())[:count]
    missing = sum(prompt in own for prompt in prompts)
    if missing == count:
        return Written(prompts, f"{GRAMMAR}, because {settings.model} wrote no prompts")
    return Written(prompts, settings.model + (f", and {missing} of them a {GRAMMAR}" if missing else ""))


def from_grammar(count: int, seed: int) -> list[str]:
    """Return ``count`` different prompts, taking the seven categories in turn; at most 105."""
    drawn = random.Random(seed)  # noqa: S311 - it must be the same for the same seed
    each = {name: [f"{what} {how}" for what, how in product(*parts)] for name, parts in CATEGORIES.items()}
    for sentences in each.values():
        drawn.shuffle(sentences)
    turns = [sentences[turn] for turn in range(min(map(len, each.values()))) for sentences in each.values()]
    if count > len(turns):
        raise ValueError(f"the grammar has {len(turns)} sentences, not {count}")
    return turns[:count]


def _of_category(asked: Chat, category: str, count: int) -> list[str]:
    lines = asked.ask(QUESTION.format(count=count, category=category), MAX_TOKENS).splitlines()
    prompts = (cleaned(MARK.sub("", line)) for line in lines)
    return [prompt for prompt in prompts if prompt and len(prompt) <= LONGEST][:count]
