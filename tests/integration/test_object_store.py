"""The run store in a real object store: what is there after kills, refusals and an outage."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from cluster.object_server import Bucket, ObjectServer
from diptych_api.dataset import Dataset
from diptych_api.errors import RetryLater, StoreUnwritable
from diptych_api.sources import Output
from diptych_training import run_store_lease
from diptych_training.checkpoint import CheckpointState, load, newest_step, prune, save, steps
from diptych_training.data.card import describe
from diptych_training.data.manifest import prepare
from diptych_training.data.pack import pack
from diptych_training.run_store import RunStore, runs
from support.checkpoint_states import same, state
from support.tiny_jobs import write_pictures
from support.waiting import until

pytestmark = pytest.mark.integration
MIB = 2**20
SAVER = """
import sys
from pathlib import Path
import torch
from diptych_api.sources import Output
from diptych_training.checkpoint import CheckpointState, save
from diptych_training.run_store import RunStore
store = RunStore.open(Output(uri=sys.argv[1]), "local", "noto", Path())
with store.lock():
    print("locked", flush=True)
    for step in (1, 2):
        save(store, step, CheckpointState({"parameters": {"w": torch.full((24 * 2**20,), step)}}, {"step": step}))
        print(step, flush=True)
    sys.stdin.read()
"""


def opened(bucket: Bucket) -> RunStore:
    return RunStore.open(Output(uri=f"{bucket.uri}/runs"), "local", "noto", Path())


@contextmanager
def saver(bucket: Bucket) -> Iterator[subprocess.Popen[str]]:
    """Start a process that has the run and saves two checkpoints of 96 MiB."""
    command = [sys.executable, "-c", SAVER, f"{bucket.uri}/runs"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def test_a_run_store_holds_what_was_written(bucket: Bucket, tmp_path: Path) -> None:
    store = opened(bucket)
    store.write_json("run.json", {"ä": 1})
    store.append("log.jsonl", "one", "two")
    store.append("log.jsonl", "three")
    for number, names in enumerate([("old.json", "both.json"), ("both.json", "deep/er.txt", "done.json")]):
        for name in names:
            (tmp_path / str(number) / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / str(number) / name).write_text(f"{number} {name}")
        store.put_folder(tmp_path / str(number), "artifact", last="done.json")
    assert store.read_json("run.json") == {"ä": 1}
    assert store.read_lines("log.jsonl") == ("one", "two", "three")
    found = store.get_folder("artifact")
    assert {path.name for path in found.rglob("*") if path.is_file()} == {"both.json", "er.txt", "done.json"}
    assert (found / "both.json").read_text() == "1 both.json"
    store.remove("artifact")
    assert store.list() == ("log.jsonl", "run.json")
    assert [run.name for run in runs(Output(uri=f"{bucket.uri}/runs"), Path())] == ["noto"]


def test_checkpoints_come_back_bit_for_bit_and_old_ones_go(bucket: Bucket) -> None:
    store = opened(bucket)
    for step in range(1, 6):
        save(store, step, state(step))
    prune(store, 2, also={1})
    assert steps(store) == [1, 4, 5]
    assert same(load(store, 5), state(5))
    assert newest_step(store, pytest.fail) == 5
    assert sorted(path.name for path in bucket.folder.glob("runs/local/noto/checkpoints/*")) == [
        "step-000001",
        "step-000004",
        "step-000005",
    ]


def test_a_writer_killed_in_the_middle_of_an_upload_leaves_the_checkpoint_before_and_its_lock(bucket: Bucket) -> None:
    store = opened(bucket)
    with saver(bucket) as process:
        said(process, "locked")
        said(process, "1")
        until(lambda: any(bucket.folder.glob(".sgwtmp/multipart/*/*/*")))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert newest_step(store, lambda _: None) == 1
    assert torch.equal(load(store, 1).groups["parameters"]["w"], torch.full((24 * MIB,), 1))
    with store.lock():  # at once: the process was of this machine and is no more
        save(store, 2, state(2))
    assert newest_step(store, pytest.fail) == 2


def test_of_two_processes_one_has_the_run(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_store_lease, "POLL_S", 0.1)
    with saver(bucket) as process:
        said(process, "locked")
        told = f"Process {process.pid} on .* works on s3://.*/runs/local/noto"
        with pytest.raises(RetryLater, match=told), opened(bucket).lock():
            pass
        process.communicate("")
    with opened(bucket).lock() as hold:
        assert not hold.notice, "this store knows conditional writes"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch.*AWS_ACCESS_KEY_ID"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "http://127.0.0.1:9 cannot be reached"),
    ],
)
def test_a_store_that_refuses_says_why(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr("diptych_diffusion.object_store.RETRY", {"max_retries": 0})
    with pytest.raises(StoreUnwritable, match=rf"Cannot write s3://bucket-.*: {words}"), opened(bucket).lock():
        pass


def test_a_bucket_that_is_not_there_is_named(object_server: ObjectServer) -> None:
    store = RunStore.open(Output(uri="s3://no-such-bucket/runs"), "local", "noto", Path())
    assert runs(Output(uri="s3://no-such-bucket/runs"), Path()) == []
    with pytest.raises(StoreUnwritable, match=r"the bucket no-such-bucket does not exist.*Create the bucket"):
        store.write_bytes("run.json", b"")


def test_a_store_that_goes_away_leaves_a_reason_and_what_was_whole(tmp_path: Path, bucket: Bucket) -> None:
    with pytest.MonkeyPatch.context() as patch:
        server = ObjectServer(tmp_path)
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setattr("diptych_diffusion.object_store.RETRY", {"max_retries": 1})
        server.start()
        store = opened(server.bucket("away"))
        save(store, 1, state(1))
        server.stop()
        with pytest.raises(StoreUnwritable, match=r"step-000002.* cannot be reached"):
            save(store, 2, CheckpointState({"parameters": {"w": torch.zeros(10)}}, {}))
        with pytest.raises(StoreUnwritable, match=r"Cannot read s3://away/.* cannot be reached"):
            steps(store)
        server.start()
        assert newest_step(store, pytest.fail) == 1
        server.stop()


def test_a_data_set_is_packed_there_once_and_read_from_there(tmp_path: Path, bucket: Bucket) -> None:
    spec = Dataset.model_validate(
        {"source": {"uri": str(write_pictures(tmp_path / "pictures"))}, "split": {"count": 4}}
    )
    manifest = prepare(spec, tmp_path / "work", lambda _done, _total: None)
    describe(manifest, spec, "noto", tmp_path / "card")
    first, again = (pack(manifest, tmp_path / "card", "noto", f"{bucket.uri}/data", lambda *_: None) for _ in range(2))
    assert (first.made, again.made) == (True, False)
    assert (first.uri, first.sha256) == (again.uri, again.sha256)
    archive = {"uri": first.uri, "sha256": first.sha256}
    there = Dataset.model_validate({"source": archive, "where": {"split": "validation"}})
    read = prepare(there, tmp_path / "other", lambda _done, _total: None)
    assert [entry.sha256 for entry in read.train] == [entry.sha256 for entry in manifest.held_out]
