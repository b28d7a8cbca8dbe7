import os
import random
import resource
import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch
from fsspec.implementations.local import LocalFileSystem

from diptych_api.errors import StoreUnwritable
from diptych_training.checkpoint import CheckpointState, CheckpointWriter, load, prune, save, steps
from diptych_training.run_store import RunStore
from support.bucket import Bucket
from support.checkpoint_states import folder, newest_step, same, state
from support.kill_points import finished, fork, kill_points

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> RunStore:
    return RunStore(LocalFileSystem(), f"{tmp_path}/local/noto")


@pytest.fixture(params=["disk", "bucket"])
def store(request: pytest.FixtureRequest, disk: RunStore) -> RunStore:
    return disk if request.param == "disk" else RunStore(Bucket(), "bucket/local/noto")


def test_a_save_killed_at_any_line_leaves_the_step_before_or_this_one(disk: RunStore, tmp_path: Path) -> None:
    for step in (1, 2):
        save(disk, step, state(step))
    template = shutil.copytree(disk.root, tmp_path / "template")

    def save_and_prune(_: int) -> None:
        save(disk, 3, state(3))
        prune(disk, 2)

    seen, final, last = set(), [0], 0
    for count in kill_points(save_and_prune, "diptych_training/", "shutil.py", stride=31):
        seen.add(newest_step(disk))
        for step in steps(disk):  # what looks whole is whole, also while it is being removed
            assert not (folder(disk, step) / "complete.json").exists() or same(load(disk, step), state(step))
        final = steps(disk)
        with disk.lock():
            assert not [path for path in folder(disk, 2).parent.iterdir() if path.name.startswith(".")]
        shutil.rmtree(disk.root)
        shutil.copytree(template, disk.root)
        last = count
    assert seen == {2, 3}
    assert final == [2, 3]
    assert last > 100


def test_a_writer_killed_at_random_leaves_what_it_had_finished(disk: RunStore) -> None:
    chosen = random.Random(0)
    reached = 0
    for _ in range(5):
        progress, say = os.pipe()
        before = reached

        def train(before: int = before, say: int = say) -> None:
            with CheckpointWriter(disk, keep=2) as writer:
                for step in range(before + 1, before + 1000):
                    writer.submit(step, state(step))
                    os.write(say, b"!")  # the step before it is on disk

        child = fork(train)
        submitted = 0
        for _ in range(chosen.randint(1, 12)):
            submitted += len(os.read(progress, 1))
        os.kill(child, signal.SIGKILL)
        assert not finished(child)
        os.close(progress)
        os.close(say)
        reached = newest_step(disk) or 0
        assert reached >= before + submitted - 1
        assert len(steps(disk)) <= 4
    assert reached > 5


def test_a_disk_that_fills_up_leaves_the_last_good_one(disk: RunStore) -> None:
    save(disk, 1, state(1))

    def save_too_much() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        big = CheckpointState({"parameters": {"w": torch.zeros(2000)}}, {})
        with pytest.raises(StoreUnwritable, match=r"step-000002: File too large"):
            save(disk, 2, big)

    assert finished(fork(save_too_much))
    assert disk.list("checkpoints") == ("step-000001",)
    assert list(folder(disk, 1).parent.iterdir()) == [folder(disk, 1)]
    assert newest_step(disk) == 1


@pytest.mark.parametrize("allowed", range(5))
def test_an_object_store_that_fills_up_leaves_the_last_good_one(allowed: int) -> None:
    bucket = Bucket()
    store = RunStore(bucket, "bucket/local/noto")
    save(store, 1, state(1))
    bucket.allowed = allowed
    with pytest.raises(StoreUnwritable, match=r"step-000002.*No space left on device.*Free some space"):
        save(store, 2, state(2))
    assert newest_step(store) == 1
    bucket.allowed = 100
    save(store, 2, state(2))
    assert newest_step(store) == 2


def test_an_unwritable_place_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match=r"step-000001: Not a directory"):
        save(RunStore(LocalFileSystem(), f"{tmp_path}/file/run"), 1, state(1))


def test_the_writer_saves_in_the_background_and_prunes(store: RunStore) -> None:
    with CheckpointWriter(store, keep=2) as writer:
        for step in range(1, 6):
            writer.submit(step, state(step), also={2})
        writer.flush()
        assert writer.last
        assert writer.last.step == 5
        writer.submit(6, lambda: state(6), also={2})
    assert steps(store) == [2, 5, 6]
    assert newest_step(store) == 6


def test_the_writer_removes_what_a_killed_one_left(disk: RunStore) -> None:
    disk.write_bytes("checkpoints/.tmp-dead/parameters.safetensors", b"half")
    with CheckpointWriter(disk, keep=1):
        assert not (folder(disk, 1).parent / ".tmp-dead").exists()


def test_submitting_returns_before_the_save_is_done(disk: RunStore) -> None:
    go, where = threading.Event(), []

    def slow() -> CheckpointState:
        where.append(threading.current_thread())
        assert go.wait(timeout=60)
        return state(1)

    with CheckpointWriter(disk, keep=1) as writer:
        writer.submit(1, slow)
        assert steps(disk) == []
        go.set()
    assert steps(disk) == [1]
    assert where != [threading.current_thread()]


def test_a_failed_save_is_raised_once_at_the_next_submit(tmp_path: Path) -> None:
    bucket = Bucket(allowed=0)
    store = RunStore(bucket, "bucket/local/noto")
    with CheckpointWriter(store, keep=2) as writer:
        writer.submit(1, state(1))
        with pytest.raises(StoreUnwritable, match="step-000001"):
            writer.submit(2, state(2))
        bucket.allowed = 100
        writer.submit(3, state(3))
    assert newest_step(store) == 3


def test_a_failed_save_is_raised_at_the_end_and_does_not_hide_another_error() -> None:
    store = RunStore(Bucket(allowed=0), "bucket/local/noto")
    with pytest.raises(StoreUnwritable), CheckpointWriter(store, keep=2) as writer:
        writer.submit(1, state(1))

    def fail_beside() -> None:
        with CheckpointWriter(store, keep=2) as writer:
            writer.submit(1, state(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail_beside()
    assert "step-000001" in caught.value.__notes__[0]
