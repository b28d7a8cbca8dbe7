"""What every test may ask for."""

from collections.abc import Generator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from diptych_diffusion.loading import loading

pytest_plugins = ["cluster.fixtures", "cluster.node.fixtures"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Load the libraries of all tests as the programs do."""
    with loading():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of Ray that may take longest, so that none is left when all others are done."""

    def longest(item: pytest.Item) -> int:
        limit = item.get_closest_marker("timeout") if {"ray", "deployed"} & item.keywords.keys() else None
        return 0 if limit is None else int(limit.args[0])

    items.sort(key=longest, reverse=True)


class SharedRay(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Sends each test to whichever worker is free, but tests that share one Ray to the same."""

    SHARED = ("tests/serving/deployed/", "tests/training/on_ray/")

    def _split_scope(self, nodeid: str) -> str:
        return next((place for place in self.SHARED if nodeid.startswith(place)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharedRay | None:
    """Return how `--dist loadscope` divides tests here: a scope is what shares a Ray."""
    return SharedRay(config, log) if config.getvalue("dist") == "loadscope" else None
