from collections.abc import Callable

import numpy as np
import pytest

from diptych_api.after import Evaluation, FillerPrompts
from diptych_api.errors import RetryLater, SpecInvalid
from diptych_training.chat import Chat, UnansweredError
from diptych_training.filler_prompts import CATEGORIES, from_grammar, write_prompts
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
    prompts = from_grammar(48, seed=1)
    assert len(set(prompts)) == 48
    assert prompts == from_grammar(48, seed=1) != from_grammar(48, seed=2)
    for subjects, _ in CATEGORIES.values():
        assert sum(prompt.startswith(subjects) for prompt in prompts) >= 6


def test_a_mosaic_that_lacks_something_is_refused_before_anything_is_drawn() -> None:
    check_mosaic(Evaluation(), 0, 0)
    check_mosaic(Evaluation(mosaic="Prompts"), 16, 0)
    with pytest.raises(SpecInvalid, match="15 prompts of 16"):
        check_mosaic(Evaluation(mosaic="Prompts"), 15, 100)
    with pytest.raises(SpecInvalid, match="47 training pictures of 48"):
        check_mosaic(Evaluation(mosaic="Dataset"), 16, 47)


def a_model(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], str]) -> FillerPrompts:
    """Have a language model answer each category so, and return how it is named in a spec."""
    monkeypatch.setattr(Chat, "ask", lambda _self, content, _tokens: answer(content))
    return FillerPrompts(endpoint="http://llm/v1", model="storyteller")


def test_a_language_model_writes_the_prompts_and_the_grammar_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(question: str) -> str:
        kind = next(name for name in CATEGORIES if f"kind: {name}." in question)
        lines = [f'{n}. "{kind} number {n}"' for n in range(1, 9)]
        return "\n\n".join([*lines[:5], lines[0].upper()] if kind == "space" else lines)

    written = write_prompts(a_model(monkeypatch, answer), 48, seed=1)
    assert written.prompts[:8] == (*(f"{name} number 1" for name in CATEGORIES), "animal number 2")
    assert len(set(map(str.casefold, written.prompts))) == 48
    assert written.writer == "storyteller, and 1 of them a grammar"
    assert written.prompts[-1] in from_grammar(105, seed=1)


@pytest.mark.parametrize("error", [RetryLater("nobody answers"), SpecInvalid("401"), UnansweredError("nothing")])
def test_a_model_that_is_away_costs_no_evaluation(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def answer(_question: str) -> str:
        raise error

    written = write_prompts(a_model(monkeypatch, answer), 48, seed=1)
    assert written.prompts == tuple(from_grammar(48, seed=1))
    assert written.writer.startswith("grammar, because storyteller wrote none: ")
    assert slot_map(["p"] * 16, [Filler(TUNED[0], "x", written.writer)] * 48, 1)["promptsBy"] == written.writer


def test_a_model_that_rambles_is_cut_to_lines_that_are_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    told = a_model(monkeypatch, lambda _: "x" * 5000 + "\n- **a quiet bay**\n\n")
    written = write_prompts(told, 48, seed=1)
    assert (written.prompts[0], written.prompts[1:]) == ("a quiet bay", tuple(from_grammar(47, seed=1)))
