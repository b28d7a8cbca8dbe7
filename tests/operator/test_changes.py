"""Merge patches carry what differs and nothing else."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from diptych_operator.changes import merge_patch

VALUES = st.recursive(
    st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("pqr"), VALUES, max_size=3)


def patched(found: Any, patch: Any) -> Any:
    """Apply a merge patch as RFC 7386 says."""
    if not isinstance(patch, dict):
        return patch
    kept = dict(found) if isinstance(found, dict) else {}
    for name, value in patch.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = patched(kept.get(name), value)
    return kept


@given(OBJECTS, OBJECTS)
def test_a_patch_leads_from_one_to_the_other(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert patched(found, merge_patch(found, wanted)) == wanted


@given(OBJECTS)
def test_there_is_no_patch_between_equals(found: dict[str, Any]) -> None:
    assert merge_patch(found, found) == {}


def test_only_what_differs_is_sent() -> None:
    found = {"a": {"b": 1, "c": 2}, "gone": 1, "list": [1]}
    assert merge_patch(found, {"a": {"b": 1, "c": 3}, "list": [1]}) == {"a": {"c": 3}, "gone": None}
