"""An 8×8 sheet of 16 blocks, each one picture of the tuned model among three fillers, in a seeded slot."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from diptych_api.after import Evaluation
from diptych_api.errors import SpecInvalid
from diptych_training.distances import Picture

BLOCKS: Final = 16
FILLERS: Final = 48
ACROSS: Final = 4
SLOTS: Final = 4
TILE, MARGIN, GAP, BLOCK_GAP = 140, 15, 4, 10
BLOCK: Final = 2 * TILE + GAP
SIDE: Final = 2 * MARGIN + ACROSS * BLOCK + (ACROSS - 1) * BLOCK_GAP
PAPER: Final = "#ffffff"


@dataclass(frozen=True, slots=True)
class Filler:
    """A picture that hides the others, and where it is from: a file of the data set, or a prompt."""

    picture: Picture
    source: str
    writer: str = ""
    """Of the prompt: a language model or a grammar."""


def check_mosaic(settings: Evaluation, prompts: int, pictures: int) -> None:
    """Raise SpecInvalid for a mosaic that lacks prompts or fillers."""
    lacks = f"{prompts} prompts of {BLOCKS}" if prompts < BLOCKS else ""
    if settings.mosaic == "Dataset" and pictures < FILLERS:
        lacks = f"{pictures} training pictures of {FILLERS}"
    if settings.mosaic != "Off" and lacks:
        raise SpecInvalid(f"spec.evaluation.mosaic: there are {lacks}.", hint="Set it to Off, or give more.")


def slots(seed: int) -> list[int]:
    """Return for each block which of its four slots has the tuned model's picture, counted by rows."""
    drawn = random.Random(seed)  # noqa: S311 - it must be the same for the same seed
    return [drawn.randrange(SLOTS) for _ in range(BLOCKS)]


def compose(uniques: Sequence[Picture], fillers: Sequence[Filler], seed: int) -> Image.Image:
    """Return the sheet of 16 pictures and 48 fillers."""
    sheet, left = Image.new("RGB", (SIDE, SIDE), PAPER), iter(fillers)
    for block, chosen in enumerate(slots(seed)):
        for slot in range(SLOTS):
            picture = uniques[block] if slot == chosen else next(left).picture
            tile = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, corner(block, slot))
    return sheet


def corner(block: int, slot: int) -> tuple[int, int]:
    """Return the upper left corner of a slot on the sheet."""
    column, row = block % ACROSS, block // ACROSS
    return tuple(  # type: ignore[return-value]
        MARGIN + place * (BLOCK + BLOCK_GAP) + inner * (TILE + GAP)
        for place, inner in ((column, slot % 2), (row, slot // 2))
    )


def slot_map(prompts: Sequence[str], fillers: Sequence[Filler], seed: int) -> dict[str, Any]:
    """Return what is where: for each block the prompt, its slot, and the fillers of the others in their order."""
    blocks = [
        {"prompt": prompts[block], "slot": chosen, "fillers": [f.source for f in fillers[3 * block : 3 * block + 3]]}
        for block, chosen in enumerate(slots(seed))
    ]
    writer = fillers[0].writer
    told = {"promptsBy": writer} if writer else {}
    return {"format": "diptych.mosaic/1", "seed": seed, **told, "blocks": blocks}
