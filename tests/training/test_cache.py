import hashlib
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from diptych_api.dataset import Dataset, Image
from diptych_api.errors import BaseInvalid, CacheCorrupt, DatasetInvalid, StoreUnwritable
from diptych_api.sources import DatasetSource
from diptych_diffusion import prompts
from diptych_diffusion.fingerprint import file_digest
from diptych_diffusion.pipeline import Components, load
from diptych_training.cache import Cache, Encode, fill, inline, items_of, open_cache, plan, prepare_cache
from diptych_training.cache_encode import CaptionItem, Encoder, Item, PictureItem
from diptych_training.cache_keys import CacheKeys, LatentKeys, TextKeys, latent_key, text_key
from diptych_training.cache_shards import find, shards
from diptych_training.cache_sync import pull, push
from diptych_training.data.entry import Entry, Manifest, digest_of
from diptych_training.data.picture import read_picture, to_tensor
from diptych_training.run_store import RunStore
from support.bucket import Bucket
from support.kill_points import finished, fork, kill_points
from support.tiny_models import make_pipeline

SETTINGS = Dataset(source=DatasetSource(uri="."), image=Image(size=64, horizontal_flip=True))
KEYS = CacheKeys(LatentKeys("vae", SETTINGS.image), TextKeys("text"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def live(base: Path) -> Components:
    return load(base, need_unet=False)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    entries = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 255, (48, 80, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(path)
        captions = (f"picture {number}", "a second caption")
        entries.append(Entry(path.name, path, captions, file_digest(path)))
    train, held_out = tuple(entries[:4]), tuple(entries[4:])
    return Manifest(tmp_path, train, held_out, (), digest_of(train, held_out))


def captions(count: int) -> list[Item]:
    return [CaptionItem(KEYS.text(str(number)), str(number)) for number in range(count)]


def lengths(items: Sequence[Item]) -> bytes:
    """Encode without any model: a tensor that tells its item's caption."""
    return save({item.key: torch.tensor([float(item.caption)]) for item in items if isinstance(item, CaptionItem)})


def quiet(_done: int, _total: int) -> None:
    pass


def refuse(_items: Sequence[Item]) -> bytes:
    raise AssertionError("nothing was to be encoded")


def close(left: Tensor, right: Tensor) -> bool:
    return torch.allclose(left, right, atol=1e-5, rtol=0)


def test_a_cached_latent_is_what_the_vae_gives_and_flipped_that_of_the_mirror_image(
    base: Path, live: Components, manifest: Manifest, tmp_path: Path
) -> None:
    cache = prepare_cache(base, manifest, SETTINGS, tmp_path / "cache", text=True)
    entries = [*manifest.train, *manifest.held_out]
    pictures = torch.stack([to_tensor(read_picture(entry.path, SETTINGS.image)) for entry in entries])
    for flipped in (False, True):
        with torch.no_grad():
            expected = live.vae.encode(pictures.flip(-1) if flipped else pictures).latent_dist
        for row, entry in enumerate(entries):
            mean, logvar = cache.latent(entry.sha256, flipped)
            assert mean.shape == (4, 8, 8)
            assert mean.dtype == torch.float32
            assert close(mean, expected.mean[row])
            assert close(logvar, expected.logvar[row])


def test_a_cached_caption_is_what_the_text_encoder_gives_and_the_empty_one_is_there(
    base: Path, live: Components, manifest: Manifest, tmp_path: Path
) -> None:
    cache = prepare_cache(base, manifest, SETTINGS, tmp_path / "cache", text=True)
    texts = ["", *(f"picture {number}" for number in range(5))]
    with torch.no_grad():
        expected = prompts.encode(live, texts)
    for row, text in enumerate(texts):
        assert close(cache.text(text), expected[row])


@pytest.mark.parametrize(("policy", "count"), [("First", 6), ("All", 7), ("PerEpoch", 7)])
def test_only_captions_that_may_be_used_are_encoded_each_once(manifest: Manifest, policy: str, count: int) -> None:
    items = items_of(manifest, SETTINGS.model_copy(update={"caption_policy": policy}), KEYS, text=True)
    assert len([item for item in items if isinstance(item, CaptionItem)]) == count
    assert len([item for item in items if isinstance(item, PictureItem)]) == 5
    assert all(isinstance(item, PictureItem) for item in items_of(manifest, SETTINGS, KEYS, text=False))


def test_a_second_run_encodes_nothing_and_another_process_opens_the_same(
    base: Path, live: Components, manifest: Manifest, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    prepare_cache(base, manifest, SETTINGS, tmp_path / "c", text=True, on_progress=lambda *n: told.append(n))
    assert told == [(0, 11), (5, 11), (11, 11)]
    before = [(path, path.stat().st_mtime_ns) for path in shards(tmp_path / "c")]
    told.clear()
    prepare_cache(base, manifest, SETTINGS, tmp_path / "c", text=True, on_progress=lambda *n: told.append(n))
    assert told == [(11, 11)]
    assert [(path, path.stat().st_mtime_ns) for path in shards(tmp_path / "c")] == before
    sha256 = manifest.train[0].sha256
    cache = open_cache(live, manifest, SETTINGS, tmp_path / "c", text=True)
    assert cache.latent(sha256)[0].equal(
        prepare_cache(base, manifest, SETTINGS, tmp_path / "c", text=True).latent(sha256)[0]
    )


def test_a_tensor_has_the_same_bits_whatever_it_is_encoded_with(base: Path, manifest: Manifest, tmp_path: Path) -> None:
    alone = replace(manifest, train=manifest.train[2:3], held_out=())
    together = prepare_cache(base, manifest, SETTINGS, tmp_path / "all", text=True)
    apart = prepare_cache(base, alone, SETTINGS, tmp_path / "one", text=True)
    sha256 = alone.train[0].sha256
    assert all(a.equal(b) for a, b in zip(together.latent(sha256, True), apart.latent(sha256, True), strict=True))
    assert together.text("picture 2").equal(apart.text("picture 2"))


def test_what_is_not_cached_is_asked_for_by_name(
    base: Path, live: Components, manifest: Manifest, tmp_path: Path
) -> None:
    plain = SETTINGS.model_copy(update={"image": Image(size=64)})
    with pytest.raises(CacheCorrupt, match=r"lacks 5 of 5.*Run again"):
        open_cache(live, manifest, plain, tmp_path / "cache", text=False)
    cache = prepare_cache(base, manifest, plain, tmp_path / "cache", text=False)
    with pytest.raises(CacheCorrupt, match="not made for 'unknown caption'"):
        cache.text("unknown caption")
    with pytest.raises(IndexError):
        cache.latent(manifest.train[0].sha256, True)


def test_a_key_changes_with_everything_a_latent_depends_on() -> None:
    image = Image(size=64)
    others = [
        image.model_copy(update=change)
        for change in ({"size": 72}, {"crop": "Stretch"}, {"horizontal_flip": True}, {"background": "#000000"})
    ]
    keys = {
        latent_key("picture", "vae", image),
        latent_key("picture", "vae", image, code_version=2),
        latent_key("other", "vae", image),
        latent_key("picture", "other", image),
        *(latent_key("picture", "vae", other) for other in others),
        text_key("picture", "vae"),
        text_key("other", "vae"),
        text_key("picture", "other"),
    }
    assert len(keys) == 11
    assert latent_key("picture", "vae", Image(size=64)) in keys


def test_another_base_or_transform_is_stale_and_encoded_beside(base: Path, manifest: Manifest, tmp_path: Path) -> None:
    first = prepare_cache(base, manifest, SETTINGS, tmp_path / "cache", text=True)
    other_base = make_pipeline(tmp_path / "other", seed=1)
    stretched = SETTINGS.model_copy(update={"image": Image(size=64, crop="Stretch", horizontal_flip=True)})
    sha256 = manifest.train[0].sha256
    for folder, settings in ((other_base, SETTINGS), (base, stretched)):
        cache = prepare_cache(folder, manifest, settings, tmp_path / "cache", text=True)
        assert not cache.latent(sha256)[0].equal(first.latent(sha256)[0])
    again = prepare_cache(base, manifest, SETTINGS, tmp_path / "cache", text=True)
    assert again.places == first.places


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


def test_a_full_cache_is_used_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match=r"file/cache: Not a directory"):
        fill(tmp_path / "file" / "cache", captions(1), lengths, inline, quiet)


def test_strangers_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    fill(tmp_path, captions(1), lengths, inline, quiet)
    assert (tmp_path / "model.safetensors").read_bytes() == b"mine"


def test_a_picture_that_changed_or_a_base_that_was_replaced_stops_the_fill(
    base: Path, live: Components, manifest: Manifest, tmp_path: Path
) -> None:
    entry = manifest.train[0]
    keys = CacheKeys.of(live, SETTINGS.image)
    item = PictureItem(keys.latent(entry.sha256), entry)
    entry.path.write_bytes(manifest.train[1].path.read_bytes())
    with pytest.raises(DatasetInvalid, match="changed"):
        Encoder(base, keys)([item])
    with pytest.raises(BaseInvalid, match="other weights"):
        Encoder(make_pipeline(tmp_path / "other", seed=1), keys)([item])


def test_numbers_that_are_not_finite_are_refused(base: Path, manifest: Manifest, tmp_path: Path) -> None:
    broken = make_pipeline(tmp_path / "broken", seed=2)
    weights = load(broken, need_unet=False).vae
    torch.nn.init.constant_(weights.quant_conv.bias, float("nan"))
    weights.save_pretrained(broken / "vae")
    with pytest.raises(BaseInvalid, match=r"0\.png.* not finite"):
        prepare_cache(
            broken, replace(manifest, train=manifest.train[:1], held_out=()), SETTINGS, tmp_path / "c", text=False
        )


def test_shards_travel_to_an_object_store_and_back(tmp_path: Path) -> None:
    store = RunStore(Bucket(), "/bucket/local/noto").beside("cache")
    items = captions(40)
    fill(tmp_path / "here", items, lengths, inline, quiet)
    push(store, tmp_path / "here")
    names = store.list()
    assert len(names) == 3
    data = bytearray(store.read_bytes(names[0]) or b"")
    data[-1] ^= 1  # a wrong number, in a file that reads well
    store.write_bytes(names[0], bytes(data))
    pull(store, tmp_path / "there")
    assert {path.name for path in shards(tmp_path / "there")} == set(names[1:])
    places = fill(tmp_path / "there", items, lengths, inline, quiet)
    assert [places[item.key].read().item() for item in items] == list(range(40))
    push(store, tmp_path / "there")
    assert hashlib.sha256(store.read_bytes(names[0]) or b"").hexdigest() == Path(names[0]).stem
