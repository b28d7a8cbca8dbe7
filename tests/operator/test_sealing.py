"""Children carry what was applied to them: edits by others show, additions by others do not."""

import copy
from typing import Any

import pytest

from diptych_operator.child import Child, settle
from diptych_operator.sealing import APPLIED_ANNOTATION, drifted, manifest_hash, sealed, unsealed

WANTED: dict[str, Any] = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {"name": "noto", "namespace": "art", "labels": {"a": "b"}},
    "spec": {"suspend": False, "groups": [{"name": "workers", "tolerations": [{"key": "gpu"}]}], "limits": {"cpu": 1}},
}


def stored(**changes: Any) -> dict[str, Any]:
    found = copy.deepcopy(sealed(WANTED))
    found["metadata"] |= {"uid": "1", "resourceVersion": "7"}
    found["spec"] |= changes
    return found


def test_what_was_applied_can_be_read_back() -> None:
    assert unsealed(stored()) == WANTED


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"added": 1},
        {"limits": {"cpu": 1, "memory": "1Gi"}},
        {"groups": [{"name": "workers", "size": 1, "tolerations": [{"key": "quota"}, {"key": "gpu"}]}]},
    ],
)
def test_what_others_add_is_no_drift(changes: dict[str, Any]) -> None:
    assert not drifted(stored(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"suspend": True},
        {"limits": {}},
        {"groups": []},
        {"groups": [{"name": "workers", "tolerations": []}]},
        {"groups": [{"name": "workers", "tolerations": [{"key": "gpu"}]}, {"name": "strangers"}]},
    ],
)
def test_an_edit_by_others_is_drift(changes: dict[str, Any]) -> None:
    assert drifted(stored(**changes))


@pytest.mark.parametrize("text", ["", "no base64!", "AAAA", "eJwDAAAAAAE="])
def test_a_damaged_annotation_is_drift(text: str) -> None:
    found = stored()
    found["metadata"]["annotations"][APPLIED_ANNOTATION] = text
    assert unsealed(found) is None
    assert drifted(found)


def test_an_annotation_that_unpacks_to_very_much_is_not_believed() -> None:
    found = stored()
    bomb = sealed({**WANTED, "spec": {"text": "a" * (1 << 22)}})
    found["metadata"]["annotations"] = bomb["metadata"]["annotations"]
    assert drifted(found)


def test_a_child_that_is_as_wanted_is_left_alone() -> None:
    assert settle(Child.of(stored()), WANTED) == ()


def test_a_child_that_is_missing_is_made() -> None:
    [apply] = settle(None, WANTED)
    assert apply.manifest == sealed(WANTED)
    assert not apply.repairs


def test_a_child_that_drifted_is_repaired_and_counted() -> None:
    [apply] = settle(Child.of(stored(suspend=True)), WANTED)
    assert apply.repairs


def test_a_child_of_another_manifest_is_changed() -> None:
    other = {**WANTED, "spec": {"suspend": True}}
    [apply] = settle(Child.of(stored()), other)
    assert apply.manifest["metadata"]["annotations"]["diptych.dev/config-hash"] == manifest_hash(other)
    assert not apply.repairs


def test_a_child_that_is_being_deleted_is_waited_for() -> None:
    found = stored(suspend=True)
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert settle(Child.of(found), WANTED) == ()
