"""Pictures that are kept: given again only for the same request to the same weights."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from diptych_api.diffusiondeployment import ResultCache
from diptych_serving.result_cache import CachedEngines
from support.adapters import saved_adapter
from support.services import Served, served
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

DOG = {"prompt": "a dog", "seed": 7}
PICTURE = 64 * 64 * 3


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The folders of a base and of two adapters for it."""
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    one, other = (
        saved_adapter(tmp_path_factory.mktemp(name), base, seed=seed) for name, seed in (("one", 1), ("two", 2))
    )
    return base, one, other


class Clock:
    """A time that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(places: tuple[Path, Path, Path], tmp_path: Path, clock: Clock) -> Iterator[Served]:
    """A service that keeps two pictures for a minute, with an adapter in a folder of the test's own."""
    base, one, _ = places
    shutil.copytree(one, tmp_path / "style")
    with served(base) as service:
        inner = service.service
        bounds = ResultCache(max_bytes=2 * PICTURE, ttl_seconds=60)
        inner.engines = CachedEngines(inner.engines, inner.directory, bounds, clock)
        follow(service, tmp_path)
        yield service


def follow(service: Served, folder: Path, *, digest: str | None = None) -> None:
    adapters = [{"name": "style", "uri": str(folder / "style"), "digest": digest}, {"name": "gone", "uri": "/nowhere"}]
    service.configure(adapters=adapters, defaults={"steps": 2, "guidanceScale": 2})


def ask(service: Served, **body: Any) -> tuple[str, bool]:
    """Return the picture, and whether it had been kept."""
    answer = service.client.post("/v1/generate", json={**DOG, **body})
    assert answer.status_code == 200, answer.text
    values = answer.json()
    return values["images"][0]["image"], values["timing"]["cached"]


def test_the_same_request_is_drawn_once(service: Served) -> None:
    first, repeated = ask(service, adapter="style"), ask(service, adapter="style")
    assert (first[1], repeated[1]) == (False, True)
    assert first[0] == repeated[0]


@pytest.mark.parametrize(
    "change",
    [{"seed": 8}, {"prompt": "a cat"}, {"steps": 3}, {"guidance_scale": 3}, {"strength": 0.5}, {"scheduler": "Euler"}],
    ids=str,
)
def test_another_request_is_drawn(service: Served, change: dict[str, Any]) -> None:
    first, other = ask(service, adapter="style"), ask(service, adapter="style", **change)
    assert other[1] is False
    assert other[0] != first[0]


def test_other_weights_under_the_same_name_are_drawn(
    service: Served, places: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    before = ask(service, adapter="style")
    shutil.rmtree(tmp_path / "style")
    shutil.copytree(places[2], tmp_path / "style")
    service.configure(adapters=[])
    follow(service, tmp_path)
    after = ask(service, adapter="style")
    assert after[1] is False
    assert after[0] != before[0]


def test_the_same_weights_at_the_same_place_under_another_alpha_are_drawn(service: Served, tmp_path: Path) -> None:
    before = ask(service, adapter="style")
    settings = tmp_path / "style" / "adapter_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "lora_alpha": 4}))
    service.configure(adapters=[])
    follow(service, tmp_path)
    after = ask(service, adapter="style")
    assert after[1] is False
    assert after[0] != before[0]


def test_the_base_in_place_of_an_adapter_is_not_kept(service: Served) -> None:
    assert [ask(service, adapter="gone")[1] for _ in range(2)] == [False, False]


def test_pictures_are_forgotten_after_their_time(service: Served, clock: Clock) -> None:
    ask(service)
    clock.now = 59
    assert ask(service)[1] is True
    clock.now = 61
    assert ask(service)[1] is False


def test_no_more_is_kept_than_allowed(service: Served) -> None:
    for seed in (1, 2, 3):
        ask(service, seed=seed)
    assert [ask(service, seed=seed)[1] for seed in (3, 2, 1)] == [True, True, False]
    wide = {"width": 128, "height": 128}
    assert [ask(service, **wide)[1] for _ in range(2)] == [False, False]


class Once:
    """A checker that flags its first picture alone."""

    looked = 0

    def flag(self, pictures: NDArray[np.uint8]) -> Sequence[bool]:
        self.looked += 1
        return [self.looked == 1] * len(pictures)


def test_what_no_checker_has_seen_is_not_given_while_it_is_on(places: tuple[Path, Path, Path]) -> None:
    off, on = ({"defaults": {"steps": 2}, "safety": {"enabled": enabled}} for enabled in (False, True))
    with served(places[0], checker=Once()) as service:
        inner = service.service
        inner.engines = CachedEngines(inner.engines, inner.directory, ResultCache(max_bytes=4 * PICTURE))
        service.configure(**off)
        unseen = ask(service)
        assert ask(service) == (unseen[0], True)
        service.configure(**on)
        tile, was_kept = ask(service)
        assert (tile != unseen[0], was_kept) == (True, False)
        assert ask(service) == (unseen[0], False), "a tile is not kept"
        assert ask(service) == (unseen[0], True)
