"""A run store in gs://, as the client speaks to a server with Google's protocol."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from diptych_api.errors import RetryLater, StoreUnwritable
from diptych_api.sources import Output
from diptych_training import run_store_lease
from diptych_training.checkpoint import CheckpointState, load, newest_step, prune, save, steps
from diptych_training.run_store import RunStore, runs
from support.checkpoint_states import same, state
from support.google_store import GoogleStore, google_store

PLACE = Output(uri="gs://bucket/runs")


@pytest.fixture
def google() -> Iterator[GoogleStore]:
    """Yield a store with an empty bucket."""
    with google_store("bucket") as store:
        yield store


def opened() -> RunStore:
    return RunStore.open(PLACE, "local", "noto", Path())


def test_a_run_store_holds_what_was_written(google: GoogleStore, tmp_path: Path) -> None:
    store = opened()
    store.write_json("run.json", {"ä": 1})
    store.append("log.jsonl", "one", "two")
    store.append("log.jsonl", "three")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "er.txt").write_text("deeper")
    (tmp_path / "done.json").write_text("{}")
    store.put_folder(tmp_path, "artifact", last="done.json")
    assert store.read_json("run.json") == {"ä": 1}
    assert store.read_lines("log.jsonl") == ("one", "two", "three")
    assert (store.get_folder("artifact") / "deep" / "er.txt").read_text() == "deeper"
    assert [run.name for run in runs(PLACE, Path())] == ["noto"]
    store.remove("artifact")
    assert set(google.buckets["bucket"]) == {"runs/local/noto/run.json", "runs/local/noto/log.jsonl"}


def test_checkpoints_come_back_bit_for_bit_and_old_ones_go(google: GoogleStore) -> None:
    store = opened()
    for step in range(1, 4):
        save(store, step, state(step))
    prune(store, 1, also={1})
    assert steps(store) == [1, 3]
    assert same(load(store, 3), state(3))
    assert newest_step(store, pytest.fail) == 3
    assert not google.parts


def test_a_large_checkpoint_goes_in_parts(google: GoogleStore) -> None:
    store, weights = opened(), {"w": torch.arange(4 * 2**20)}
    save(store, 1, CheckpointState({"parameters": weights}, {"step": 1}))
    assert torch.equal(load(store, 1).groups["parameters"]["w"], weights["w"])
    assert max(len(one.data) for one in google.buckets["bucket"].values()) > 2**25


@pytest.mark.slow
def test_of_two_one_has_the_run(google: GoogleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_store_lease, "POLL_S", 0.01)
    with opened().lock() as hold:
        assert not hold.notice, "this store knows conditional writes"
        with pytest.raises(RetryLater, match="works on gs://bucket/runs/local/noto"), opened().lock():
            pass
    with opened().lock():
        pass
    assert google.buckets["bucket"]


def test_a_store_that_refuses_says_why(google: GoogleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych_diffusion.object_store.RETRY", {"max_retries": 0})
    google.refusal = 403
    with pytest.raises(StoreUnwritable, match=r"Cannot write gs://bucket/.*AccessDenied"):
        opened().write_bytes("run.json", b"")
    google.refusal = None
    google.buckets.clear()
    with pytest.raises(StoreUnwritable, match=r"the bucket bucket does not exist"):
        opened().write_bytes("run.json", b"")
