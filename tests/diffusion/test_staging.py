"""Folders that come into being whole, or not at all, whenever their maker is killed."""

from pathlib import Path

import pytest

from diptych_diffusion.staging import whole
from support.kill_points import kill_points


def fill(final: Path, content: str) -> None:
    with whole(final) as folder:
        (folder / "one").write_text(content)
        (folder / "below").mkdir()
        (folder / "below" / "two").write_text(content)


def contents(final: Path) -> list[str]:
    return [(final / name).read_text() for name in ("one", "below/two")]


def test_a_folder_is_whole_or_not_there_wherever_its_maker_was_killed(tmp_path: Path) -> None:
    final, seen = tmp_path / "out", set()
    for _ in kill_points(lambda _: fill(final, "new"), "staging.py", "test_staging.py"):
        seen.add(final.exists())
        assert not final.exists() or contents(final) == ["new", "new"]
    assert seen == {False, True}
    fill(final, "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_replaced_is_never_mixed_with_what_replaces_it(tmp_path: Path) -> None:
    final, seen = tmp_path / "out", set()
    fill(final, "old")
    for _ in kill_points(lambda _: fill(final, "new"), "staging.py", "test_staging.py"):
        seen.add(final.exists())
        fill(tmp_path / "other", "of somebody else")  # what was moved away comes back with the next export
        assert contents(final) in (["old", "old"], ["new", "new"])
        fill(final, "old")
    assert seen == {True, False}


def test_what_appeared_meanwhile_stays(tmp_path: Path) -> None:
    final = tmp_path / "out"

    def check() -> None:
        if final.exists():
            raise FileExistsError(final)

    def meanwhile() -> None:
        with whole(final, check) as folder:
            (folder / "one").write_text("new")
            final.mkdir()
            (final / "thesis.txt").write_text("of years")

    with pytest.raises(FileExistsError):
        meanwhile()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "thesis.txt"]


def test_a_maker_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    final = tmp_path / "out"
    fill(final, "old")
    with pytest.raises(FileNotFoundError), whole(final) as folder:
        (folder / "missing" / "one").write_text("half")
    assert contents(final) == ["old", "old"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_maker_that_is_at_work_is_left_alone(tmp_path: Path) -> None:
    with whole(tmp_path / "one") as folder:
        (folder / "a").write_text("a")
        with whole(tmp_path / "two"):
            pass
    assert (tmp_path / "one" / "a").read_text() == "a"
