"""Pictures that Ray tasks look at: what one process sees, kept and told alike."""

import os
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from diptych_api.errors import DatasetInvalid, Interrupted
from diptych_training.data.eyes import Asked, Content, Eyes, Here, Look
from diptych_training.data.looks import Journal, look_at
from diptych_training.data.sample import Rejected, Sample
from diptych_training.looks_ray import RayEyes

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
ASKED = Asked(64, fingerprint=True, background="white")
PICTURES = 70


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    root = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 80, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(root / f"{number:02}.png")
    (root / "07.png").write_bytes(b"not a picture")
    (root / "50.png").unlink()
    return [Sample(f"{n:02}.png", root / f"{n:02}.png", ("a picture",)) for n in range(PICTURES)]


def seen(samples: list[Sample], workdir: Path, eyes: Eyes) -> list[tuple[Sample, Look | Rejected]]:
    journal = Journal.open(workdir, samples[0].path.parent, ASKED)
    return list(look_at(samples, ASKED, journal, lambda _done, _total: None, eyes))


def test_ray_tasks_see_what_one_process_sees(samples: list[Sample], tmp_path: Path) -> None:
    alone = seen(samples, tmp_path / "alone", Here())
    assert seen(samples, tmp_path / "spread", RayEyes(lambda: None, worth=1)) == alone
    refused = {sample.key: look.reason for sample, look in alone if isinstance(look, Rejected)}
    assert list(refused) == ["07.png", "50.png"]
    lines = [next((tmp_path / name / "looks").glob("*.jsonl")).read_text() for name in ("alone", "spread")]
    assert lines[0] == lines[1] != ""


def test_many_are_looked_at_by_workers_and_a_few_by_the_driver(samples: list[Sample]) -> None:
    class Watched(Asked):  # of this function, so that workers get it whole
        def look(self, content: Content) -> Look | DatasetInvalid:
            return Look(str(os.getpid()), (len(content) if isinstance(content, bytes) else 0, 0))

    paths, watched = [sample.path for sample in samples], Watched(None, fingerprint=False, background="white")
    many = {look.sha256 for look in RayEyes(lambda: None, worth=PICTURES)(watched, paths) if isinstance(look, Look)}
    few = {look.sha256 for look in RayEyes(lambda: None)(watched, paths) if isinstance(look, Look)}
    assert str(os.getpid()) not in many
    assert few == {str(os.getpid())}


def test_a_wish_to_stop_is_heard_while_tasks_run(samples: list[Sample], tmp_path: Path) -> None:
    over = tmp_path / "over"

    class Endless(Asked):
        def look(self, content: Content) -> Look | DatasetInvalid:
            while content and not over.exists():  # Ray may miss that it is cancelled: it would keep its CPU for ever
                threading.Event().wait(0.1)
            return DatasetInvalid("Nobody waits for this.")

    def stop() -> None:
        raise Interrupted("Stopped before training began.")

    try:
        with pytest.raises(Interrupted):
            RayEyes(stop, worth=1)(Endless(None, fingerprint=False, background="white"), [samples[0].path])
    finally:
        over.touch()
