import numpy as np
import pytest

from diptych_api.after import Evaluation
from diptych_api.errors import SpecInvalid
from diptych_training.filler_prompts import CATEGORIES, filler_prompts
from diptych_training.mosaic import Filler, check_mosaic, compose, corner, slot_map, slots

TUNED = [np.full((8, 8, 3), 200, np.uint8)] * 16
OTHERS = [Filler(np.full((8, 8, 3), 40, np.uint8), f"{n}.png") for n in range(48)]


def test_each_block_hides_one_picture_of_the_model_among_three_fillers_where_the_map_says() -> None:
    sheet = np.asarray(compose(TUNED, OTHERS, seed=3))
    assert sheet.shape == (1196, 1196, 3)
    told = slot_map([f"prompt {n}" for n in range(16)], OTHERS, seed=3)
    seen = [source for block in told["blocks"] for source in block["fillers"]]
    assert (len(seen), len(set(seen))) == (48, 48)
    for number, block in enumerate(told["blocks"]):
        centres = [corner(number, slot) for slot in range(4)]
        bright = [slot for slot, (x, y) in enumerate(centres) if sheet[y + 70, x + 70, 0] == 200]
        assert bright == [block["slot"]]
    gaps = sheet[100, :, 0] == 255
    assert [int(part.sum()) for part in np.split(gaps, np.flatnonzero(np.diff(gaps)) + 1) if part[0]] == [
        *(15, 4, 10, 4, 10, 4, 10, 4, 15)
    ]


def test_the_slots_depend_on_the_seed_alone() -> None:
    assert slots(3) == slots(3) != slots(4)
    assert set(slots(3)) == {0, 1, 2, 3}


def test_the_grammar_gives_different_prompts_of_all_seven_categories() -> None:
    prompts = filler_prompts(48, seed=1)
    assert len(set(prompts)) == 48
    assert prompts == filler_prompts(48, seed=1) != filler_prompts(48, seed=2)
    for subjects, _ in CATEGORIES.values():
        assert sum(prompt.startswith(subjects) for prompt in prompts) >= 6


def test_a_mosaic_that_lacks_something_is_refused_before_anything_is_drawn() -> None:
    check_mosaic(Evaluation(), 0, 0)
    check_mosaic(Evaluation(mosaic="Prompts"), 16, 0)
    with pytest.raises(SpecInvalid, match="15 prompts of 16"):
        check_mosaic(Evaluation(mosaic="Prompts"), 15, 100)
    with pytest.raises(SpecInvalid, match="47 training pictures of 48"):
        check_mosaic(Evaluation(mosaic="Dataset"), 16, 47)
