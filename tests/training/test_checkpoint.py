import os
import random
import resource
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fsspec.implementations.local import LocalFileSystem
from safetensors.torch import load_file
from torch import Tensor

from diptych_api.errors import CheckpointCorrupt, StoreUnwritable
from diptych_training.checkpoint import CheckpointState, CheckpointWriter, load, newest, prune, save, steps
from diptych_training.run_store import RunStore
from support.bucket import Bucket
from support.kill_points import finished, fork, kill_points


@pytest.fixture
def disk(tmp_path: Path) -> RunStore:
    return RunStore(LocalFileSystem(), f"{tmp_path}/local/noto")


@pytest.fixture(params=["disk", "bucket"])
def store(request: pytest.FixtureRequest, disk: RunStore) -> RunStore:
    return disk if request.param == "disk" else RunStore(Bucket(), "/bucket/local/noto")


def state(step: int) -> CheckpointState:
    generator = torch.Generator().manual_seed(step)
    weights = torch.randn(3, 5, generator=generator)
    return CheckpointState(
        groups={
            "parameters": {"a.weight": weights, "a.half": weights.bfloat16(), "empty": torch.zeros(0, 4)},
            "optimizer": {
                "a/step": torch.tensor(step),
                "a/exp_avg": weights.t(),
                "a/flag": torch.tensor([True, False]),
            },
            "average": {},
        },
        meta={"step": step, "standing": {"best": 0.1 + step, "last": None}, "identity": {"spec": "ä"}},
    )


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, list[int]]:
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def same(left: CheckpointState, right: CheckpointState) -> bool:
    def plain(one: CheckpointState) -> object:
        return one.meta, {g: {n: bits(t) for n, t in tensors.items()} for g, tensors in one.groups.items()}

    return plain(left) == plain(right)


def folder(store: RunStore, step: int) -> Path:
    path = store.local("checkpoints", f"step-{step:06d}")
    assert path
    return path


def newest_step(store: RunStore) -> int | None:
    found = newest(store, lambda _: None)
    assert found is None or same(found[1], state(found[0]))
    return found[0] if found else None


def test_a_checkpoint_comes_back_bit_for_bit(store: RunStore) -> None:
    special = torch.tensor([float("nan"), float("-inf"), -0.0, 1e-45])
    odd = CheckpointState(
        {"parameters": {"odd": special, "half": special.half(), "n": torch.tensor(2**62)}}, {"x": [1]}
    )
    saved = save(store, 7, odd)
    assert same(load(store, 7), odd)
    assert saved.step == 7
    assert saved.uri == store.uri("checkpoints/step-000007")
    save(store, 8, state(8))
    assert same(load(store, 8), state(8))


def test_nothing_saved_is_nothing_found(store: RunStore) -> None:
    assert newest(store, pytest.fail) is None
    with pytest.raises(CheckpointCorrupt, match="step-000003"):
        load(store, 3)


def test_other_tools_read_the_tensors(disk: RunStore) -> None:
    save(disk, 1, state(1))
    stored = load_file(folder(disk, 1) / "parameters.safetensors")
    assert {name: bits(t) for name, t in stored.items()} == {
        name: bits(t) for name, t in state(1).groups["parameters"].items()
    }


def test_the_same_state_gives_the_same_bytes(disk: RunStore) -> None:
    contents = []
    for step_state in (state(1), CheckpointState(dict(sorted(state(1).groups.items())), state(1).meta)):
        save(disk, 1, step_state)
        contents.append({path.name: path.read_bytes() for path in folder(disk, 1).iterdir()})
        shutil.rmtree(folder(disk, 1))
    assert contents[0] == contents[1]
    assert contents[0].keys() == {
        "average.safetensors", "complete.json", "meta.json", "optimizer.safetensors", "parameters.safetensors",
    }  # fmt: skip


def test_tied_weights_are_saved_under_both_names(disk: RunStore) -> None:
    weight = torch.arange(6.0)
    save(disk, 1, CheckpointState({"parameters": {"in": weight, "out": weight}}, {}))
    assert load(disk, 1).groups["parameters"]["out"].tolist() == weight.tolist()


def test_saving_a_step_again_replaces_it(store: RunStore) -> None:
    save(store, 1, state(2))
    save(store, 1, state(1))
    save(store, 1, state(1))
    assert newest_step(store) == 1
    assert store.list("checkpoints") == ("step-000001",)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, empty, flip, Path.unlink])
@pytest.mark.parametrize("name", ["parameters.safetensors", "optimizer.safetensors", "meta.json", "complete.json"])
def test_a_damaged_file_sends_the_search_to_the_one_before(
    disk: RunStore, damage: Callable[[Path], None], name: str
) -> None:
    for step in (1, 2, 3):
        save(disk, step, state(step))
    damage(folder(disk, 3) / name)
    told: list[str] = []
    found = newest(disk, told.append)
    assert found
    assert found[0] == 2
    assert len(told) == 1
    assert "step-000003" in told[0]
    with pytest.raises(CheckpointCorrupt, match="step-000003"):
        load(disk, 3)


def test_an_empty_folder_and_strange_names_are_no_checkpoints(disk: RunStore) -> None:
    save(disk, 1, state(1))
    folder(disk, 5).mkdir()
    for name in ("step-7", "step-000006.old", "notes"):
        folder(disk, 5).with_name(name).mkdir()
    assert steps(disk) == [1, 5]
    assert newest_step(disk) == 1


def test_a_marker_of_another_step_or_with_other_paths_is_refused(disk: RunStore) -> None:
    save(disk, 1, state(1))
    save(disk, 2, state(2))
    folder(disk, 1).rename(folder(disk, 4))
    marker = folder(disk, 2) / "complete.json"
    marker.write_text(marker.read_text().replace("average.", "../../average."))
    assert newest_step(disk) is None


def test_the_newest_are_kept_and_those_asked_for(store: RunStore) -> None:
    for step in range(1, 8):
        save(store, step, state(step))
    prune(store, 2, also={3})
    assert steps(store) == [3, 6, 7]
    prune(store, 1)
    assert steps(store) == [7]
    assert newest_step(store) == 7


def test_pruning_never_takes_the_newest_whole_one(disk: RunStore) -> None:
    for step in range(1, 5):
        save(disk, step, state(step))
    truncate(folder(disk, 4) / "parameters.safetensors")
    flip(folder(disk, 3) / "meta.json")
    prune(disk, 1)
    assert newest_step(disk) == 2
    save(disk, 4, state(4))
    prune(disk, 1)
    assert steps(disk) == [4]


def test_a_save_killed_at_any_line_leaves_the_step_before_or_this_one(disk: RunStore, tmp_path: Path) -> None:
    for step in (1, 2):
        save(disk, step, state(step))
    template = shutil.copytree(disk.root, tmp_path / "template")

    def save_and_prune(_: int) -> None:
        save(disk, 3, state(3))
        prune(disk, 2)

    seen, final, last = set(), [0], 0
    for count in kill_points(save_and_prune, "diptych_training/", stride=31):
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
    chosen = random.Random(0)  # noqa: S311 -- not a secret
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
    store = RunStore(bucket, "/bucket/local/noto")
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
    store = RunStore(bucket, "/bucket/local/noto")
    with CheckpointWriter(store, keep=2) as writer:
        writer.submit(1, state(1))
        with pytest.raises(StoreUnwritable, match="step-000001"):
            writer.submit(2, state(2))
        bucket.allowed = 100
        writer.submit(3, state(3))
    assert newest_step(store) == 3


def test_a_failed_save_is_raised_at_the_end_and_does_not_hide_another_error() -> None:
    store = RunStore(Bucket(allowed=0), "/bucket/local/noto")
    with pytest.raises(StoreUnwritable), CheckpointWriter(store, keep=2) as writer:
        writer.submit(1, state(1))

    def fail_beside() -> None:
        with CheckpointWriter(store, keep=2) as writer:
            writer.submit(1, state(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail_beside()
    assert "step-000001" in caught.value.__notes__[0]
