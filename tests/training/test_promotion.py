"""What a model's name stands for on one machine, through promotions, pins and kills."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from diptych_api.diffusionmodel import ModelPointer, ModelVersion
from diptych_api.errors import RetryLater
from diptych_api.runstore import model_folder
from diptych_api.sources import Output
from diptych_training.promotion import (
    change_pointer,
    pinned,
    promote_over,
    promoted,
    read_pointer,
    rival_of,
    unpinned,
)
from diptych_training.run_store import RunStore
from support.kill_points import kill_points

DIGEST = f"sha256:{'0' * 64}"
EMPTY = ModelPointer()


def version(run: str) -> ModelVersion:
    return ModelVersion(
        run=run, uri=f"runs/{run}/artifact", digest=DIGEST, promoted_at=datetime(2026, 1, 31, tzinfo=UTC)
    )


def named(pointer: ModelPointer) -> tuple[str | None, str | None, str]:
    """Return the runs of current and previous version, and those of the history, a letter each."""
    current, previous = (None if v is None else v.run for v in (pointer.current, pointer.previous))
    return current, previous, "".join(v.run for v in pointer.history)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.open(Output(uri=str(tmp_path)), "local", "b", tmp_path)


def test_the_newest_promoted_version_is_current_and_the_one_before_is_kept() -> None:
    pointer = promoted(promoted(EMPTY, version("a")), version("b"))
    assert named(pointer) == ("b", "a", "ba")
    assert promoted(pointer, version("b")) == pointer


def test_a_pin_holds_whatever_is_promoted_until_it_is_taken_away() -> None:
    pointer = pinned(promoted(promoted(EMPTY, version("a")), version("b")), version("a"))
    pointer = promoted(pointer, version("c"))
    assert named(pointer) == ("a", "b", "cba")
    assert named(unpinned(pointer)) == ("c", "a", "cba")
    assert named(pinned(EMPTY, version("x"))) == ("x", None, "x")


def test_a_run_is_never_held_against_itself() -> None:
    pointer = promoted(promoted(EMPTY, version("a")), version("b"))
    assert [rival and rival.run for rival in (rival_of(pointer, "c"), rival_of(pointer, "b"), rival_of(None, "a"))] == [
        "b",
        "a",
        None,
    ]


def test_a_run_that_was_held_against_a_version_that_is_gone_is_not_promoted(store: RunStore) -> None:
    promote_over(store, "noto", version("a"), None)
    assert promote_over(store, "noto", version("a"), None).current is not None, "told again after a crash"
    with pytest.raises(RetryLater, match="a became the version of noto while b was evaluated"):
        promote_over(store, "noto", version("b"), None)
    promote_over(store, "noto", version("b"), "a")
    found = read_pointer(store, "noto")
    assert found is not None
    assert named(found) == ("b", "a", "ba")


@pytest.mark.slow
def test_a_kill_at_any_line_leaves_the_old_version_or_the_new_one(store: RunStore, tmp_path: Path) -> None:
    change_pointer(store, "noto", lambda pointer: promoted(pointer, version("a")))
    seen = set()
    for _ in kill_points(lambda _: promote_over(store, "noto", version("b"), "a"), "run_store", "promotion.py"):
        found = read_pointer(store, "noto")
        assert found is not None
        seen.add(named(found))
        change_pointer(store, "noto", lambda _: promoted(EMPTY, version("a")))
    assert seen == {("a", None, "a"), ("b", "a", "ba")}
    left = Path(model_folder(str(tmp_path), None, "noto"))
    assert {path.name for path in left.iterdir()} == {"current.json", ".lock"}
