import gc
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from diptych_diffusion.loading import loading

MANY_CYCLES = """
kept = []
for _ in range(50_000):
    kept.append([kept])
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that makes many objects and is not loaded yet."""
    (tmp_path / "large_library.py").write_text(MANY_CYCLES)
    monkeypatch.syspath_prepend(tmp_path)
    yield "large_library"
    sys.modules.pop("large_library", None)
    gc.unfreeze()


def test_libraries_load_without_collections_and_are_left_alone_later(library: str) -> None:
    collected: list[str] = []
    gc.callbacks.append(lambda phase, _info: collected.append(phase))
    try:
        with loading():
            import_module(library)
    finally:
        gc.callbacks.pop()
    assert collected == []
    assert gc.isenabled()
    assert gc.get_freeze_count() > 50_000


def test_a_library_that_is_not_there_leaves_collections_on() -> None:
    with pytest.raises(ModuleNotFoundError), loading():
        import_module("no_such_library")
    assert gc.isenabled()
