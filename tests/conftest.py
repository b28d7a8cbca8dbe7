"""What every test may ask for."""

from collections.abc import Generator

import pytest

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
        limit = item.get_closest_marker("timeout") if item.get_closest_marker("ray") else None
        return 0 if limit is None else int(limit.args[0])

    items.sort(key=longest, reverse=True)
