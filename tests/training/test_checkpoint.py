import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fsspec.implementations.local import LocalFileSystem
from safetensors.torch import load_file

from diptych_api.errors import CheckpointCorrupt
from diptych_training.checkpoint import CheckpointState, load, newest, prune, save, steps
from diptych_training.run_store import RunStore
from support.bucket import Bucket
from support.checkpoint_states import bits, folder, newest_step, same, state


@pytest.fixture
def disk(tmp_path: Path) -> RunStore:
    return RunStore(LocalFileSystem(), f"{tmp_path}/local/noto")


@pytest.fixture(params=["disk", "bucket"])
def store(request: pytest.FixtureRequest, disk: RunStore) -> RunStore:
    return disk if request.param == "disk" else RunStore(Bucket(), "bucket/local/noto")


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
