"""What every test may ask for."""

import gc

import pytest

pytest_plugins = ["cluster.fixtures", "cluster.node.fixtures"]


def pytest_configure() -> None:
    """Collect no garbage while test modules load their libraries."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, and leave what the libraries made out of it."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of Ray that may take longest, so that none is left when all others are done."""

    def longest(item: pytest.Item) -> int:
        limit = item.get_closest_marker("timeout") if item.get_closest_marker("ray") else None
        return 0 if limit is None else int(limit.args[0])

    items.sort(key=longest, reverse=True)
