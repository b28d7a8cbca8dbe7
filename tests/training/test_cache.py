from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from diptych_api.dataset import Dataset, Image
from diptych_api.errors import BaseInvalid, CacheCorrupt, DatasetInvalid
from diptych_api.sources import DatasetSource
from diptych_diffusion import prompts
from diptych_diffusion.components import Components
from diptych_diffusion.fingerprint import file_digest
from diptych_diffusion.pipeline import load
from diptych_training.cache import items_of, open_cache, prepare_cache
from diptych_training.cache_items import CaptionItem, Encoder, PictureItem
from diptych_training.cache_keys import CacheKeys, LatentKeys, TextKeys, latent_key, text_key
from diptych_training.cache_shards import shards
from diptych_training.data.entry import Entry, Manifest, digest_of
from diptych_training.data.picture import read_picture, to_tensor
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

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
    cache = open_cache(live.digests, manifest, SETTINGS, tmp_path / "c", text=True)
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
        open_cache(live.digests, manifest, plain, tmp_path / "cache", text=False)
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


def test_a_picture_that_changed_or_a_base_that_was_replaced_stops_the_fill(
    base: Path, live: Components, manifest: Manifest, tmp_path: Path
) -> None:
    entry = manifest.train[0]
    keys = CacheKeys.of(live.digests, SETTINGS.image)
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
