import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from diptych_api.errors import RetryLater
from diptych_diffusion.object_store import Version
from diptych_training import run_store_lease
from diptych_training.run_store import RunStore
from diptych_training.run_store_lease import LEASE_FILE, Lease, this_host
from support.bucket import Bucket
from support.waiting import until

RUN = "bucket/local/noto"
PATH = f"{RUN}/{LEASE_FILE}"
ELSEWHERE = Lease(holder="other", host="another machine", process=7, told="Process 7 on gpu-1")


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def store(bucket: Bucket) -> RunStore:
    return RunStore(bucket, RUN)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("RENEW_S", 0.01), ("LEASE_S", 0.3), ("POLL_S", 0.01)):
        monkeypatch.setattr(run_store_lease, name, seconds)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a lease to run out waits longer than the test may take."""
    monkeypatch.setattr(run_store_lease, "LEASE_S", 10_000)


def written(bucket: Bucket, lease: Lease) -> None:
    bucket.pipe_file(PATH, lease.model_dump_json(by_alias=True, exclude_defaults=True).encode())


def holder(bucket: Bucket) -> str:
    return Lease.model_validate_json(bucket.cat_file(PATH)).holder


def test_who_comes_second_is_told_who_has_the_run(store: RunStore, hurried: None) -> None:
    with store.lock() as hold:
        assert not hold.notice
        with pytest.raises(RetryLater, match=r"Process \d+ on .* works on s3://bucket/local/noto"), store.lock():
            pass
    with store.lock():
        pass


def test_a_run_that_was_left_is_free_at_once(store: RunStore, patient: None) -> None:
    with store.lock():
        assert store.leaseholder()
    assert store.leaseholder() is None
    with store.lock():
        pass


def test_a_killed_process_of_this_machine_leaves_its_run_at_once(
    store: RunStore, bucket: Bucket, patient: None
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    written(bucket, ELSEWHERE.model_copy(update={"host": this_host(), "process": ended.pid}))
    assert store.leaseholder() is None
    with store.lock():
        assert holder(bucket) != "other"


def test_a_lease_that_nobody_renews_runs_out(store: RunStore, bucket: Bucket, hurried: None) -> None:
    written(bucket, ELSEWHERE)
    assert store.leaseholder() == ELSEWHERE
    with store.lock():
        assert holder(bucket) != "other"


def test_a_damaged_lease_belongs_to_nobody(store: RunStore, bucket: Bucket, patient: None) -> None:
    bucket.pipe_file(PATH, b"\xff{")
    with store.lock():
        assert store.leaseholder()


def test_who_slept_too_long_learns_who_took_over_and_leaves_it_alone(
    store: RunStore, bucket: Bucket, hurried: None
) -> None:
    told = threading.Event()
    with store.lock() as hold:
        hold.on_lost = told.set
        written(bucket, ELSEWHERE)
        until(told.is_set)
        assert hold.lost == "Process 7 on gpu-1"
    assert holder(bucket) == "other"


def test_a_store_that_is_away_for_a_while_takes_no_lease_from_its_holder(store: RunStore, hurried: None) -> None:
    bucket = store.fs
    with store.lock() as hold:
        before = store.leaseholder()
        bucket.error, bucket.allowed = ConnectionError("away"), 0
        until(lambda: bucket.allowed < -3)
        bucket.allowed = 10**6
        until(lambda: store.leaseholder() != before)
        assert not hold.lost


class Deaf(Bucket):
    """Loses the answer to every write of a new object: the client asks again and learns that the object is there."""

    def _put(self, path: str, value: bytes | Path, mode: Any = "overwrite") -> Version:
        version = super()._put(path, value, mode)
        if mode == "create":
            raise FileExistsError(17, "PreconditionFailed")
        return version


def test_who_never_heard_that_it_has_the_lease_finds_out(patient: None) -> None:
    with RunStore(Deaf(), RUN).lock() as hold:
        assert not hold.notice


class Careless(Bucket):
    """Takes every write, whatever its condition, as stores did before they knew conditional writes."""

    def _put(self, path: str, value: bytes | Path, mode: Any = "overwrite") -> Version:
        return super()._put(path, value)


class Honest(Bucket):
    """Refuses conditions with 501."""

    def _put(self, path: str, value: bytes | Path, mode: Any = "overwrite") -> Version:
        if mode != "overwrite":
            raise OSError(95, "NotImplemented")
        return super()._put(path, value)


@pytest.mark.parametrize("kind", [Careless, Honest])
def test_a_store_without_conditional_writes_is_used_and_said_so(kind: type[Bucket]) -> None:
    with RunStore(kind(), RUN).lock() as hold:
        assert "does not know conditional writes" in hold.notice


def test_of_many_that_start_together_one_gets_the_run(store: RunStore, hurried: None) -> None:
    inside, most, refused = set[int](), list[int](), list[str]()
    start, leave = threading.Barrier(6), threading.Event()

    def contend(number: int) -> None:
        start.wait()
        try:
            with store.lock():
                inside.add(number)
                most.append(len(inside))
                leave.wait(30)
                inside.discard(number)
        except RetryLater as error:
            refused.append(error.message)

    threads = [threading.Thread(target=contend, args=[number]) for number in range(6)]
    with ExitStack() as stack:
        stack.callback(leave.set)
        for thread in threads:
            thread.start()
        until(lambda: len(refused) == 5)
    for thread in threads:
        thread.join()
    assert most == [1]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    until(lambda: not any(thread.name == "lease" for thread in threading.enumerate()))
