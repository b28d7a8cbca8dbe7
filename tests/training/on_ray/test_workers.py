"""What Ray workers do."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import ray

from diptych_api.dataset import Dataset, Image
from diptych_api.errors import DatasetInvalid, StoreUnwritable
from diptych_api.sources import DatasetSource
from diptych_diffusion.fingerprint import file_digest
from diptych_training.cache import prepare_cache
from diptych_training.cache_ray import ray_map
from diptych_training.captioning.on_ray import ray_batches
from diptych_training.captioning.provider import Captions, Shown, Silence, TooLarge
from diptych_training.checkpoint import newest_step
from diptych_training.data.entry import Entry, Manifest
from diptych_training.letters import Ending, Letter, Progress
from diptych_training.mailbox import open_mailbox
from diptych_training.ray_train import fit
from support.bare_runs import Listener, train
from support.tiny_jobs import tiny_share
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.ray
FIFTY: dict[str, Any] = {
    "lora": {"rank": 2, "alpha": 2, "dropout": 0.1},
    "training": {"steps": 50, "checkpoint": {"everySteps": 50}, "validation": {"everySteps": 50, "draws": 1}},
}
SETTINGS = Dataset(source=DatasetSource(uri="."), image=Image(size=64, horizontal_flip=True))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("pictures")
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(root / f"{number}.png")
    entries = [Entry(p.name, p, (f"picture {p.stem}",), file_digest(p)) for p in sorted(root.iterdir())]
    return Manifest(root, tuple(entries), (), (), "")


def test_ray_tasks_encode_what_one_process_does_and_tell_of_a_changed_picture(
    manifest: Manifest, tmp_path: Path
) -> None:
    base = make_pipeline(tmp_path / "base")
    told: list[tuple[int, int]] = []
    spread = prepare_cache(
        base, manifest, SETTINGS, tmp_path / "ray", text=True, map_fn=ray_map, on_progress=lambda *n: told.append(n)
    )
    alone = prepare_cache(base, manifest, SETTINGS, tmp_path / "inline", text=True)
    assert told[0] == (0, 41)
    assert told[-1] == (41, 41)
    assert len(told) == 1 + 4  # 20 pictures and 21 captions are two chunks each
    for entry in manifest.train:
        for flipped in (False, True):
            for ours, theirs in zip(
                spread.latent(entry.sha256, flipped), alone.latent(entry.sha256, flipped), strict=True
            ):
                assert ours.allclose(theirs, atol=1e-5)
        assert spread.text(entry.captions[0]).allclose(alone.text(entry.captions[0]), atol=1e-5)
    changed = manifest.train[7]
    changed.path.write_bytes(manifest.train[8].path.read_bytes())
    with pytest.raises(DatasetInvalid, match="changed after the data set was prepared") as caught:
        prepare_cache(base, manifest, SETTINGS, tmp_path / "again", text=False, map_fn=ray_map)
    assert type(caught.value) is DatasetInvalid
    assert caught.value.hint


def test_a_worker_that_fails_alone_ends_the_group_with_its_reason(tmp_path: Path) -> None:
    """The first of two cannot write the run store, while the other waits for it to add gradients."""
    share = tiny_share(tmp_path, resources={"workers": 2})
    checkpoints = share.store.local("checkpoints")
    assert checkpoints is not None
    checkpoints.parent.mkdir(parents=True)
    checkpoints.write_text("in the way")
    with pytest.raises(StoreUnwritable, match=r"Cannot write .*/checkpoints/step-000002: File exists") as caught:
        fit(share, open_mailbox(), lambda: False, lambda _: None)
    assert "is a file" in caught.value.hint


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Listener]:
    """What one worker learns without Ray, and the folder of its base and pictures."""
    folder, listener = tmp_path_factory.mktemp("alone"), Listener()
    train(tiny_share(folder, **FIFTY, output={"uri": "alone"}), listener)
    return folder, listener


def learned(folder: Path, name: str, **resources: int) -> dict[int, float]:
    """Return the loss of each step that Ray's workers learn."""
    listener = Listener()

    def hear(letter: Letter) -> None:
        if isinstance(letter, Progress):
            listener(letter)

    share = tiny_share(folder, **FIFTY, output={"uri": name}, resources=resources)
    assert fit(share, open_mailbox(), lambda: False, hear) is Ending.COMPLETE
    return listener.losses()


def test_two_workers_learn_what_one_learns(alone: tuple[Path, Listener]) -> None:
    """Same global batch: the same visits, noise and dropout, so losses within 1e-4 over 50 steps."""
    folder, listener = alone
    assert len(listener.losses()) == 50
    assert learned(folder, "two", workers=2) == pytest.approx(listener.losses(), rel=1e-4)


def test_fewer_workers_than_wanted_learn_the_same(alone: tuple[Path, Listener]) -> None:
    """Two are wanted, there is room for one, and one is allowed: the losses of a single worker."""
    folder, listener = alone
    room = int(ray.cluster_resources()["CPU"])
    few = learned(folder, "few", workers=2, minWorkers=1, cpusPerWorker=room)
    assert few == pytest.approx(listener.losses(), rel=1e-5)


def test_workers_do_not_train_on_when_their_driver_cannot(tmp_path: Path) -> None:
    share = tiny_share(tmp_path, training={"steps": 1_000_000})

    def refuse(letter: Letter) -> None:
        if isinstance(letter, Progress) and letter.rows:
            raise StoreUnwritable("Cannot write metrics.jsonl: No space left on device.")

    with pytest.raises(StoreUnwritable, match="No space left"):
        fit(share, open_mailbox(), lambda: False, refuse)
    assert newest_step(share.store, print)


def test_captions_are_written_by_workers_a_few_batches_ahead() -> None:
    taken: list[int] = []

    def shout(pictures: Sequence[Shown]) -> Captions:
        if any(picture.key == "too much" for picture in pictures) and len(pictures) > 1:
            raise TooLarge
        return [Silence("nothing") if picture.key == "5" else picture.key.upper() for picture in pictures]

    def batches() -> Iterator[list[Shown]]:
        for number in range(40):
            taken.append(number)
            yield [Shown(str(number), b"png"), Shown("too much" if number == 3 else f"b{number}", b"png")]

    most, said = 0, dict[str, str | Silence]()
    for done, (batch, captions) in enumerate(ray_batches(0)(shout, batches())):
        most = max(most, len(taken) - done)
        said |= {picture.key: caption for picture, caption in zip(batch, captions, strict=True)}
    assert (len(said), said["39"], said["b7"], said["too much"]) == (80, "39", "B7", "TOO MUCH")
    assert said["5"] == Silence("nothing")
    assert most <= 1 + 2 * ray.cluster_resources()["CPU"]
