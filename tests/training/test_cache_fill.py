import os
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from diptych_api.dataset import Dataset, Image
from diptych_api.errors import CacheCorrupt, StoreUnwritable
from diptych_api.sources import DatasetSource
from diptych_diffusion.fingerprint import file_digest
from diptych_training.cache import Cache, Encode, fill, inline, plan
from diptych_training.cache_items import CaptionItem, Item
from diptych_training.cache_keys import CacheKeys, LatentKeys, TextKeys
from diptych_training.cache_shards import find, shards
from diptych_training.cache_sync import fetch, through
from diptych_training.run_store import RunStore
from support.bucket import Bucket
from support.kill_points import finished, fork, kill_points

pytestmark = pytest.mark.slow

SETTINGS = Dataset(source=DatasetSource(uri="."), image=Image(size=64, horizontal_flip=True))
KEYS = CacheKeys(LatentKeys("vae", SETTINGS.image), TextKeys("text"))


def captions(count: int) -> list[Item]:
    return [CaptionItem(KEYS.text(str(number)), str(number)) for number in range(count)]


def lengths(items: Sequence[Item]) -> bytes:
    """Encode without any model: a tensor that tells its item's caption."""
    return save({item.key: torch.tensor([float(item.caption)]) for item in items if isinstance(item, CaptionItem)})


def quiet(_done: int, _total: int) -> None:
    pass


def refuse(_items: Sequence[Item]) -> bytes:
    raise AssertionError("nothing was to be encoded")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip_last(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def flip_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, empty, flip_last, flip_header, Path.unlink])
def test_a_damaged_shard_is_made_again_and_no_other(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    items = captions(40)
    fill(tmp_path, items, lengths, inline, quiet)
    damaged = shards(tmp_path)[1]
    whole, lost = damaged.read_bytes(), len(find(tmp_path, [i.key for i in items]))
    damage(damaged)
    told: list[int] = []
    places = fill(tmp_path, items, lengths, inline, lambda done, _total: told.append(done))
    assert 8 <= lost - told[0] <= 16
    assert damaged.read_bytes() == whole
    assert [places[item.key].read().item() for item in items] == list(range(40))


def test_a_shard_that_shrinks_while_in_use_is_an_error_not_a_wrong_number(tmp_path: Path) -> None:
    items = captions(3)
    cache = Cache(KEYS, fill(tmp_path, items, lengths, inline, quiet))
    truncate(shards(tmp_path)[0])
    with pytest.raises(CacheCorrupt, match="Run again"):
        [cache.text(str(number)) for number in range(3)]
    Path.unlink(shards(tmp_path)[0])
    with pytest.raises(CacheCorrupt, match="No such file"):
        cache.text("0")


def test_a_plan_is_sorted_by_key_and_chunked_and_leaves_out_what_is_there() -> None:
    items = captions(40)
    chunks = plan(reversed(items), [items[0].key])
    assert [len(chunk) for chunk in chunks] == [16, 16, 7]
    assert [i.key for chunk in chunks for i in chunk] == sorted(item.key for item in items[1:])
    assert plan(items, [item.key for item in items]) == []


def test_a_fill_killed_between_shards_goes_on_where_it_stopped(tmp_path: Path) -> None:
    items = captions(48)

    def killed_in_the_third(chunk: Sequence[Item]) -> bytes:
        if len(shards(tmp_path)) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return lengths(chunk)

    assert not finished(fork(lambda: fill(tmp_path, items, killed_in_the_third, inline, quiet)))
    told: list[int] = []
    fill(tmp_path, items, lengths, inline, lambda done, _total: told.append(done))
    assert told == [32, 48]


def test_a_fill_killed_at_any_line_leaves_only_whole_shards(tmp_path: Path) -> None:
    items = captions(20)
    for _ in kill_points(lambda _: fill(tmp_path, items, lengths, inline, quiet), "diptych_training/", stride=61):
        assert all(file_digest(path) == path.stem for path in shards(tmp_path))
    assert len(fill(tmp_path, items, refuse, inline, quiet)) == 20
    assert {path.suffix for path in tmp_path.iterdir() if path.name != ".lock"} == {".safetensors"}


def test_what_a_killed_fill_left_unfinished_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".tmp-dead").write_bytes(b"half")
    fill(tmp_path, captions(1), lengths, inline, quiet)
    assert not (tmp_path / ".tmp-dead").exists()


def test_two_runs_fill_one_folder_at_the_same_time(tmp_path: Path) -> None:
    mine, theirs = captions(60)[:40], captions(60)[20:]
    fill(tmp_path, mine[:16], lengths, inline, quiet)
    flip_last(shards(tmp_path)[0])  # both find it, both remove it, both make it again
    children = [fork(lambda part=part: fill(tmp_path, part, lengths, inline, quiet)) for part in (mine, theirs, mine)]  # type: ignore[misc] # late binding
    assert all(finished(child) for child in children)
    assert all(file_digest(path) == path.stem for path in shards(tmp_path))
    places = fill(tmp_path, captions(60), refuse, inline, quiet)
    assert [places[item.key].read().item() for item in captions(60)] == list(range(60))


def test_results_may_come_in_any_order(tmp_path: Path) -> None:
    def backwards(encode: Encode, chunks: Sequence[Sequence[Item]]) -> Iterable[bytes]:
        return [encode(chunk) for chunk in reversed(chunks)]

    places = fill(tmp_path, captions(40), lengths, backwards, quiet)
    assert [places[item.key].read().item() for item in captions(40)] == list(range(40))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match=r"file/cache: Not a directory"):
        fill(tmp_path / "file" / "cache", captions(1), lengths, inline, quiet)


def test_a_full_cache_is_only_read(tmp_path: Path) -> None:
    fill(tmp_path / "made", captions(20), lengths, inline, quiet)
    for path in shards(tmp_path / "made"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert len(fill(tmp_path, captions(20), refuse, inline, quiet)) == 20
    assert {path.name for path in tmp_path.iterdir()} == {"made", *(path.name for path in shards(tmp_path))}


def test_strangers_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    fill(tmp_path, captions(1), lengths, inline, quiet)
    assert (tmp_path / "model.safetensors").read_bytes() == b"mine"


def test_what_an_object_store_has_is_not_encoded_again(tmp_path: Path) -> None:
    store = RunStore(Bucket(), "bucket/local/noto").beside("cache")
    items, encoded = captions(40), list[str]()

    def counting(encode: Encode, chunks: Sequence[Sequence[Item]]) -> Iterable[bytes]:
        encoded.extend(item.key for chunk in chunks for item in chunk)
        return inline(encode, chunks)

    fill(tmp_path / "here", items[:20], lengths, through(store, counting), quiet)
    names = store.list()
    assert names == tuple(path.name for path in shards(tmp_path / "here"))
    data = bytearray(store.read_bytes(names[0]) or b"")
    data[-1] ^= 1  # a wrong number, in a file that reads well
    store.write_bytes(names[0], bytes(data))
    store.write_bytes(f"{'0' * 64}.safetensors", b"\xff" * 100)
    encoded.clear()
    places = fill(tmp_path / "there", items, lengths, through(store, counting), quiet)
    assert [places[item.key].read().item() for item in items] == list(range(40))
    kept = find(tmp_path / "here", [item.key for item in items[:20]])
    assert len(encoded) == 40 - sum(place.path.name == names[1] for place in kept.values())
    used = {place.path.name for place in places.values()}
    assert names[0] not in store.list(), "what was damaged is gone"
    assert used < set(store.list())
    fetch(store, tmp_path / "more", used)
    assert {path.name for path in shards(tmp_path / "more")} == used
