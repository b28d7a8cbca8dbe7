"""The rows of a forward are those that pay: chosen from a table, which is measured on the base at hand."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import load
from diptych_serving.row_cap import FIRST, LEAST, MOST, RowProfile, measure, rows_at_once
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow


@pytest.fixture
def base(tmp_path: Path) -> Components:
    return load(make_pipeline(tmp_path))


TABLES: dict[str, tuple[RowProfile, int]] = {
    "each doubling pays": (RowProfile({2: 1.0, 4: 1.1, 8: 1.3, 16: 1.7}), 16),
    "the last one does not": (RowProfile({2: 1.0, 4: 1.1, 8: 1.3, 16: 2.55}), 8),
    "it even costs": (RowProfile({2: 1.0, 4: 1.1, 8: 1.3, 16: 5.0}), 8),
    "rows are independent": (RowProfile({2: 1.0, 4: 2.0}), LEAST),
    "there was time for one only": (RowProfile({2: 30.0}), LEAST),
    "no room for four": (RowProfile({2: 1.0}, is_cut=True), 2),
    "no room for more, and more would pay": (RowProfile({2: 1.0, 4: 1.2, 8: 1.5}, is_cut=True), 8),
    "no room at all": (RowProfile({}, is_cut=True), 1),
}


@pytest.mark.parametrize("case", TABLES)
def test_rows_are_chosen_from_the_table(case: str) -> None:
    profile, rows = TABLES[case]
    assert profile.rows == rows


@given(seconds=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=6), is_cut=st.booleans())
def test_the_choice_is_never_much_dearer_than_the_best_and_never_beyond_memory(
    seconds: list[float], *, is_cut: bool
) -> None:
    profile = RowProfile({FIRST << n: one for n, one in enumerate(seconds)}, is_cut)
    if profile.rows in profile.seconds and profile.rows > LEAST:
        assert profile.per_row()[profile.rows] <= 1.05 * min(profile.per_row().values())
    if is_cut:
        assert profile.rows <= max(profile.seconds)


def test_a_table_is_measured_up_to_where_it_stops_to_pay(base: Components) -> None:
    seconds = measure(base, budget_s=60).seconds
    assert list(seconds) == [FIRST << n for n in range(len(seconds))]
    assert FIRST in seconds
    assert max(seconds) <= MOST["cpu"]
    assert min(seconds.values()) > 0


def test_without_time_one_row_count_is_measured(base: Components) -> None:
    assert list(measure(base, budget_s=0).seconds) == [FIRST]


def test_rows_that_do_not_fit_are_not_used(base: Components, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > FIRST:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.accelerator, "empty_cache", lambda: None)
    base.denoiser.register_forward_pre_hook(refuse)
    profile = measure(base)
    assert (list(profile.seconds), profile.is_cut, profile.rows) == ([FIRST], True, FIRST)


def test_rows_that_are_wanted_are_used_and_others_told(base: Components, caplog: pytest.LogCaptureFixture) -> None:
    assert rows_at_once(base, 7) == 7
    with caplog.at_level("INFO", "diptych_serving.row_cap"):
        rows = rows_at_once(base, None)
    assert f"{rows} are used." in caplog.text
    assert "2: " in caplog.text
