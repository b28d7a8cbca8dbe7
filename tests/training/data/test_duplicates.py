"""Copies of a picture are found however they were saved, and nothing else is."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from diptych_api.dataset import Dataset
from diptych_api.errors import DatasetInvalid, SpecInvalid
from diptych_training.data.fingerprint import cosine_of, farthest, fingerprint
from diptych_training.data.manifest import Manifest, prepare
from diptych_training.data.neighbours import Sets, close_hashes, close_vectors
from support.judges import make_clip

Make = Callable[..., Dataset]
NOTO = Path("examples/noto/images")
NAMES = ("1f34e", "1f34f", "1f352", "1f355", "1f36a", "1f382")


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Give six pictures in two classes, and of the first three copies: the file, a JPEG, a larger one, one in red."""
    root = tmp_path / "pictures"
    for index, name in enumerate(NAMES):
        (folder := root / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        PIL.Image.open(NOTO / f"{name}.png").convert("RGB").save(folder / f"{name}.png")
    first, second, third = (PIL.Image.open(NOTO / f"{name}.png").convert("RGB") for name in NAMES[:3])
    (root / "a" / "same.png").write_bytes((root / "a" / f"{NAMES[0]}.png").read_bytes())
    second.save(root / "a" / "saved.jpg", quality=60)
    third.resize((128, 128), PIL.Image.Resampling.BICUBIC).save(root / "a" / "larger.png")
    PIL.Image.fromarray(np.asarray(first)[..., [1, 0, 2]]).save(root / "a" / "other-colour.png")
    return root


def prepared(spec: Dataset, workdir: Path) -> Manifest:
    return prepare(spec, workdir, lambda _done, _total: None)


def likes(manifest: Manifest) -> dict[str, str | None]:
    return {each.key: each.like for each in manifest.dropped}


def test_of_copies_the_largest_stays_then_the_first(copies: Path, tmp_path: Path, dataset: Make) -> None:
    manifest = prepared(dataset(copies, layout="ClassFolders", dedup={"enabled": True}), tmp_path / "work")
    assert likes(manifest) == {
        "a/same.png": f"a/{NAMES[0]}.png",
        "b/1f34f.png": "a/saved.jpg",
        "a/1f352.png": "a/larger.png",
    }
    assert len(manifest.train) == 7
    assert all(each.rule == "duplicate" and "of 64 bits differ" in each.reason for each in manifest.dropped)


def test_the_order_of_the_files_does_not_matter(copies: Path, tmp_path: Path, dataset: Make) -> None:
    paths = sorted(path.relative_to(copies).as_posix() for path in copies.rglob("*.*"))
    outcomes = []
    for order in (paths, paths[::-1]):
        lines = [json.dumps({"file_name": path, "text": path}) for path in order]
        (copies / "metadata.jsonl").write_text("\n".join(lines))
        outcomes.append(prepared(dataset(copies, dedup={"enabled": True}), tmp_path / "work"))
    assert likes(outcomes[0]) == likes(outcomes[1])
    assert outcomes[0].digest == outcomes[1].digest


def test_classes_keep_their_own_copies(copies: Path, tmp_path: Path, dataset: Make) -> None:
    dedup = {"enabled": True, "scope": "Class"}
    manifest = prepared(dataset(copies, layout="ClassFolders", dedup=dedup), tmp_path / "work")
    assert likes(manifest).keys() == {"a/same.png", "a/1f352.png"}


def test_pictures_without_a_class_have_no_scope_of_it(folder: Path, tmp_path: Path, dataset: Make) -> None:
    with pytest.raises(DatasetInvalid, match=r"images/000\.png has no class"):
        prepared(dataset(folder, dedup={"enabled": True, "scope": "Class"}), tmp_path / "work")


def test_copies_that_stay_are_on_one_side(copies: Path, tmp_path: Path, dataset: Make) -> None:
    groups = [{f"a/{NAMES[0]}.png", "a/same.png"}, {"b/1f34f.png", "a/saved.jpg"}, {"a/1f352.png", "a/larger.png"}]
    for seed in range(20):
        fields = {"dedup": {"enabled": True, "remove": False}, "split": {"count": 4, "seed": seed}}
        manifest = prepared(dataset(copies, layout="ClassFolders", **fields), tmp_path / "work")
        held = {entry.key for entry in manifest.held_out}
        assert (len(held), len(manifest.train), manifest.dropped) == (4, 6, ())
        assert all(group <= held or not group & held for group in groups)


def test_the_same_file_twice_is_on_one_side_in_any_case(copies: Path, tmp_path: Path, dataset: Make) -> None:
    for seed in range(20):
        spec = dataset(copies, layout="ClassFolders", split={"fraction": 0.5, "seed": seed})
        held = {entry.key for entry in prepared(spec, tmp_path / "work").held_out}
        assert (f"a/{NAMES[0]}.png" in held) == ("a/same.png" in held)
        assert len(held) == 5


def test_a_network_finds_copies_too(copies: Path, tmp_path: Path, dataset: Make) -> None:
    clip = make_clip(tmp_path / "clip")
    fields = {"dedup": {"enabled": True, "embedder": str(clip), "threshold": 0.999999}}
    heard: list[tuple[int, int]] = []
    spec = dataset(copies, layout="ClassFolders", **fields)
    manifest = prepare(spec, tmp_path / "work", lambda done, total: heard.append((done, total)))
    assert likes(manifest)["a/same.png"] == f"a/{NAMES[0]}.png"
    assert "cosine 1.0000" in next(each.reason for each in manifest.dropped if each.key == "a/same.png")
    heard.clear()
    assert prepare(spec, tmp_path / "work", lambda done, total: heard.append((done, total))) == manifest
    assert heard[10:] == [(9, 9)], "the vectors of nine different files are kept"


def test_a_network_that_is_not_there_is_named(copies: Path, tmp_path: Path, dataset: Make) -> None:
    dedup = {"enabled": True, "embedder": str(tmp_path / "nothing")}
    with pytest.raises(SpecInvalid, match=r"spec\.dataset\.dedup\.embedder: .*nothing has no config.json"):
        prepared(dataset(copies, layout="ClassFolders", dedup=dedup), tmp_path / "work")


def test_thresholds_are_cosines_of_bits() -> None:
    assert [farthest(threshold) for threshold in (1, 0.995, 0.98, 0.95, 0)] == [0, 2, 4, 6, 31]
    assert (cosine_of(0), cosine_of(64)) == (1, -1)


def test_no_two_of_240_drawings_look_the_same() -> None:
    prints = [fingerprint(PIL.Image.open(path).convert("RGB")) for path in sorted(NOTO.glob("*.png"))]
    bits = np.array([each.bits for each in prints], np.uint64)
    assert len(prints) == 240
    assert not any(left.size for left, _ in close_hashes(bits, farthest(0.995)))


@pytest.mark.parametrize("farthest_bits", [0, 1, 2, 5, 7, 12])
def test_every_close_pair_of_hashes_is_found(farthest_bits: int) -> None:
    rng = np.random.default_rng(farthest_bits)
    hashes = rng.integers(0, 2**64, 60, np.uint64)
    flips = [np.bitwise_or.reduce(np.uint64(1) << rng.choice(64, n, False).astype(np.uint64)) for n in range(1, 15)]
    hashes = np.concatenate([hashes, hashes[:14] ^ np.array(flips), hashes[:3]])
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None])
    wanted = {(i, j) for i, j in np.argwhere(distances <= farthest_bits).tolist() if i < j}
    assert unordered(close_hashes(hashes, farthest_bits)) == wanted


def test_every_close_pair_of_vectors_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych_training.data.neighbours.ROWS", 7)
    monkeypatch.setattr("diptych_training.data.neighbours.COLUMNS", 11)
    vectors = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = {(i, j) for i, j in np.argwhere(vectors @ vectors.T > 0.9).tolist() if i < j}
    assert unordered(close_vectors(vectors, 0.9)) == wanted


def test_pairs_grow_to_sets() -> None:
    sets = Sets(9)
    sets.join((np.array([4, 7, 1]), np.array([5, 8, 8])))
    sets.join((np.array([5]), np.array([2])))
    assert sets.groups() == [[1, 7, 8], [2, 4, 5]]


def unordered(pairs: Iterator[tuple[np.ndarray, np.ndarray]]) -> set[tuple[int, int]]:
    return {tuple(sorted(pair)) for left, right in pairs for pair in zip(left.tolist(), right.tolist(), strict=True)}
