"""What kopf keeps of objects that it told of."""

import asyncio
from typing import Any

from diptych_operator.forgetting import Forgetful
from diptych_operator.watching import settings_for, watches

OBJECT: dict[str, Any] = {"metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": {"large": "x" * 1000}}


def test_no_record_of_an_object_outlives_its_event() -> None:
    memories = Forgetful()
    first = asyncio.run(memories.recall(OBJECT, noticed_by_listing=True))
    assert first.noticed_by_listing
    assert asyncio.run(memories.recall(OBJECT)) is not first
    assert list(memories.iter_all_memories()) == []


def test_objects_are_neither_copied_nor_compared() -> None:
    persistence = settings_for(watches(gateway_api=False), cluster_wide=True).persistence
    essence = persistence.diffbase_storage.build(body=OBJECT)  # type: ignore[arg-type]
    assert essence == {}
    assert persistence.progress_storage.clear(essence=essence) is essence


def test_it_is_heard_that_kopf_begins_to_end() -> None:
    memories = Forgetful()
    assert not memories.ending.is_set()
    assert list(memories.iter_all_daemon_memories()) == []
    assert memories.ending.is_set()
