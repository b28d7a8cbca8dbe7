from collections import Counter
from pathlib import Path

from diptych_training.data.captions import caption_index, expand
from diptych_training.data.manifest import Entry
from diptych_training.data.sample import Sample

MANY = Sample("a.png", Path("a.png"), ("one", "two", "three"), {"artist": "me"})
ONE = Sample("b.png", Path("b.png"), ("alone",))


def test_first_keeps_the_first_caption() -> None:
    assert [s.captions for s in expand([MANY, ONE], "First")] == [("one",), ("alone",)]


def test_all_makes_a_sample_of_each_caption() -> None:
    visits = expand([MANY, ONE], "All")
    assert [(s.key, s.captions) for s in visits] == [
        ("a.png", ("one",)), ("a.png", ("two",)), ("a.png", ("three",)), ("b.png", ("alone",)),
    ]  # fmt: skip
    assert visits[1].metadata == {"artist": "me"}


def test_per_epoch_keeps_all_captions_of_entries_too() -> None:
    entry = Entry("a.png", Path("a.png"), ("one", "two"), "0" * 64)
    assert expand([entry], "PerEpoch") == [entry]
    assert expand([entry], "All")[1].sha256 == entry.sha256


def test_per_epoch_draws_each_caption_about_as_often() -> None:
    drawn = Counter(caption_index(0, epoch, "a.png", 5, "PerEpoch") for epoch in range(2000))
    assert set(drawn) == set(range(5))
    assert all(abs(count - 400) < 5 * 18 for count in drawn.values())  # 18 is the standard deviation


def test_the_draw_depends_on_seed_epoch_and_picture() -> None:
    base = [caption_index(0, epoch, "a.png", 9, "PerEpoch") for epoch in range(50)]
    assert base != [caption_index(1, epoch, "a.png", 9, "PerEpoch") for epoch in range(50)]
    assert base != [caption_index(0, epoch, "b.png", 9, "PerEpoch") for epoch in range(50)]
    assert base != [caption_index(0, epoch + 1, "a.png", 9, "PerEpoch") for epoch in range(50)]


def test_the_draw_is_the_same_on_every_machine_and_in_every_version() -> None:
    drawn = [caption_index(3, epoch, "é.png", 7, "PerEpoch") for epoch in range(20)]
    assert drawn == [4, 4, 1, 2, 6, 5, 1, 0, 4, 3, 4, 1, 3, 5, 4, 5, 3, 1, 5, 0]


def test_first_and_all_draw_nothing() -> None:
    assert {caption_index(0, epoch, "a.png", 5, policy) for epoch in range(20) for policy in ("First", "All")} == {0}
