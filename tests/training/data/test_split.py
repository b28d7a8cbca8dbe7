import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from diptych_api.dataset import Split
from diptych_api.errors import DatasetInvalid
from diptych_training.data.sample import Sample
from diptych_training.data.split import split

KEYS = st.lists(st.text("abc/._0é", min_size=1, max_size=6), max_size=40)


def samples(keys: list[str]) -> list[Sample]:
    return [Sample(key, Path(key), (f"caption {i}",)) for i, key in enumerate(keys)]


def keys_of(some: list[Sample]) -> list[str]:
    return [sample.key for sample in some]


@given(
    keys=KEYS,
    how=st.one_of(
        st.builds(Split, count=st.integers(0, 50), seed=st.integers(0, 3)),
        st.builds(Split, fraction=st.floats(0, 1), seed=st.integers(0, 3)),
    ),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_sides_are_disjoint_whole_and_the_same_in_any_order(keys: list[str], how: Split, shuffle: object) -> None:
    given_samples = samples(keys)
    train, held = split(given_samples, how)
    assert not {s.key for s in train} & {s.key for s in held}
    assert sorted(keys_of(train + held)) == sorted(keys)
    pictures = len(set(keys))
    wanted = min(how.count, pictures) if how.count is not None else (how.fraction or 0) * pictures
    assert abs(len({s.key for s in held}) - wanted) <= 0.5
    shuffled = sorted(given_samples, key=lambda _: shuffle.random())  # type: ignore[attr-defined]  # a random.Random
    assert [set(side) for side in split(shuffled, how)] == [set(train), set(held)]
    assert [keys_of(side) for side in split(shuffled, how)] == [keys_of(train), keys_of(held)]


def test_the_first_by_hash_of_seed_and_key_are_held_out() -> None:
    keys = [f"images/{i:x}.png" for i in range(240)]
    by_hash = sorted(keys, key=lambda key: hashlib.sha256(f"7/{key}".encode()).hexdigest())
    _, held = split(samples(keys), Split(count=40, seed=7))
    assert set(keys_of(held)) == set(by_hash[:40])


def test_one_more_picture_moves_no_more_than_one_other() -> None:
    keys = [f"{i}.png" for i in range(100)]
    before = set(keys_of(split(samples(keys), Split(count=20))[1]))
    after = set(keys_of(split(samples([*keys, "new.png"]), Split(count=20))[1]))
    assert len(before - after) <= 1


def test_other_seeds_hold_out_others() -> None:
    some = samples([f"{i}.png" for i in range(100)])
    held = [set(keys_of(split(some, Split(count=20, seed=seed))[1])) for seed in range(4)]
    assert len({frozenset(h) for h in held}) == 4


def test_without_a_way_nothing_is_held_out() -> None:
    assert [len(side) for side in split(samples(["a", "b"]), Split())] == [2, 0]


@pytest.mark.parametrize(
    ("train", "validation", "sides"),
    [
        ((0, 3), (3, 5), ("abc", "de")),
        ((2, 4), (0, 1), ("cd", "a")),
        ((0, 2), None, ("ab", "")),
        (None, (1, 3), ("ade", "bc")),
        ((0, 4), (4, 90), ("abcd", "e")),
    ],
)
def test_ranges_count_along_the_sorted_keys(
    train: tuple[int, int] | None, validation: tuple[int, int] | None, sides: tuple[str, str]
) -> None:
    got = split(samples(list("ebdac")), Split(train_range=train, validation_range=validation))
    assert tuple("".join(keys_of(side)) for side in got) == sides


def test_a_range_without_pictures_is_refused() -> None:
    with pytest.raises(DatasetInvalid, match=r"validationRange: \[7, 9\] holds none of the 5 usable pictures"):
        split(samples(list("abcde")), Split(train_range=(0, 5), validation_range=(7, 9)))


@pytest.mark.parametrize(("train", "validation"), [((0, 3), (2, 5)), ((3, 1), None), (None, (2, 2)), (None, (-2, 3))])
def test_ranges_that_cannot_be_meant_are_no_split(
    train: tuple[int, int] | None, validation: tuple[int, int] | None
) -> None:
    with pytest.raises(ValidationError, match=r"trainRange|train_range|validationRange|validation_range|a range is"):
        Split(train_range=train, validation_range=validation)
