"""The tree keeps its shape."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("api", "cli", "diffusion", "operator", "serving", "training")
PACKAGES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("__init__.py"))


@pytest.mark.parametrize("folder", ["operator", "training", "serving", "tests/operator", "tests"])
def test_no_folder_shadows_the_standard_library(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_every_room_holds_one_package_named_after_it() -> None:
    found = {room: [path.parent.name for path in (ROOT / room).glob("*/__init__.py")] for room in ROOMS}
    assert found == {room: [f"diptych_{room}"] for room in ROOMS}


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.parent.name)
def test_every_package_says_in_one_sentence_what_it_is_for(path: Path) -> None:
    sentence = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert sentence.endswith(".")
    assert len(sentence.splitlines()) == 1


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils.py", "helpers.py", "common.py", "manager.py", "misc.py"}
    assert not [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name in drawers]


def test_nothing_reads_or_writes_pickle() -> None:
    calls = ("torch.load(", "torch.save(", "import pickle", "pickle.load")
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert not [(path.name, call) for path in sources for call in calls if call in path.read_text()]
