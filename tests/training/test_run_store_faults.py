import os
import resource
import signal
from pathlib import Path

import pytest

from diptych_api.errors import RetryLater, StoreUnwritable
from diptych_api.sources import Output
from diptych_training.run_store import RunStore
from support.bucket import Bucket
from support.kill_points import finished, fork, kill_points

pytestmark = pytest.mark.slow


@pytest.fixture
def local(tmp_path: Path) -> RunStore:
    return RunStore.open(Output(uri="runs"), "local", "noto-12345678", tmp_path)


def files_of(store: RunStore) -> list[Path]:
    root = store.local()
    assert root
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("torn", ["thr", "x" * 200_000])
def test_a_line_after_a_torn_one_starts_fresh(local: RunStore, torn: str) -> None:
    local.append("log.jsonl", "one", "two")
    file = local.local("log.jsonl")
    assert file
    with file.open("a") as stream:
        stream.write(torn)
    assert local.read_lines("log.jsonl") == ("one", "two")
    local.append("log.jsonl", "three")
    assert local.read_lines("log.jsonl") == ("one", "two", "three")


def test_a_path_through_a_file_is_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = RunStore.open(Output(uri="file/runs"), "local", "a", tmp_path)
    with pytest.raises(StoreUnwritable, match=r"run\.json.*Not a directory.*spec\.output\.uri to a folder"):
        store.write_bytes("run.json", b"")
    with pytest.raises(StoreUnwritable, match=r"spec\.output\.uri"):
        store.append("log.jsonl", "line")
    with pytest.raises(StoreUnwritable, match=r"spec\.output\.uri"), store.lock():
        pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device.*Free some space"),
        (PermissionError(13, "Permission denied"), "Permission denied.*right to write"),
        (OSError(30, "Read-only file system"), "read-only"),
        (PermissionError(13, "no credentials were found"), "no credentials were found.*AWS_ACCESS_KEY_ID"),
        (FileNotFoundError(2, "the bucket bucket does not exist"), "does not exist.*Create the bucket"),
        (ConnectionError("http://s3 cannot be reached"), "cannot be reached.*connection"),
    ],
)
def test_an_object_store_that_refuses_is_named_with_the_reason(error: OSError, words: str) -> None:
    store = RunStore(Bucket(1, error), "bucket/local/noto")
    store.write_bytes("run.json", b"first")
    with pytest.raises(StoreUnwritable, match=f"s3://bucket/local/noto/run.json.*{words}"):
        store.write_bytes("run.json", b"second")
    assert store.read_bytes("run.json") == b"first"


def test_a_write_that_does_not_fit_leaves_the_old_file_and_nothing_else(local: RunStore) -> None:
    local.write_bytes("big", b"old")
    local.append("log", "x" * 600)

    def write_too_much() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(StoreUnwritable, match=r"big: File too large.*ulimit"):
            local.write_bytes("big", b"new" * 1000)
        with pytest.raises(StoreUnwritable, match=r"log: File too large.*ulimit"):
            local.append("log", "y" * 600)

    assert finished(fork(write_too_much))
    assert local.read_bytes("big") == b"old"
    assert local.read_lines("log") == ("x" * 600,)
    assert {path.name for path in files_of(local)} == {"big", "log"}


def test_a_second_process_is_told_who_has_the_run_until_that_one_is_killed(local: RunStore) -> None:
    is_locked, say = os.pipe()

    def hold() -> None:
        with local.lock():
            os.write(say, b"!")
            signal.pause()

    holder = fork(hold)
    os.read(is_locked, 1)
    with pytest.raises(RetryLater, match=f"Process {holder} .*kill {holder}"), local.lock():
        pass
    os.kill(holder, signal.SIGKILL)
    assert not finished(holder)
    with local.lock():
        local.write_json("run.json", {})
    assert local.read_json("run.json") == {}


def test_an_error_in_the_body_of_a_lock_is_left_as_it_is(local: RunStore) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), local.lock():
        raise FileNotFoundError("mine")


def test_taking_the_lock_clears_what_killed_writers_left(local: RunStore) -> None:
    local.write_bytes("checkpoints/step-000001/meta.json", b"{}")
    local.write_bytes("checkpoints/.tmp-1/deep/file", b"half")
    local.write_bytes("checkpoints/step-000001/.tmp-2", b"half")
    with local.lock():
        assert {path.name for path in files_of(local)} == {".lock", "meta.json"}
        assert (local.local(".lock") or Path()).read_text() == f"{os.getpid()}\n"
    assert (local.local(".lock") or Path()).read_text() == ""
    assert local.list("checkpoints") == ("step-000001",)


def test_a_writer_killed_at_any_line_leaves_the_old_file_or_the_new_one(local: RunStore) -> None:
    def content(count: int) -> bytes:
        return str(count).encode() * 100

    before = None
    for count in kill_points(lambda count: local.write_bytes("deep/file", content(count)), "/run_store", stride=3):
        after = local.read_bytes("deep/file")
        assert after in (before, content(count))
        before = after
    assert before == content(count)
    assert count > 20
