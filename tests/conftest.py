"""What every test may ask for."""

import gc

pytest_plugins = ["cluster.fixtures", "cluster.node.fixtures"]


def pytest_configure() -> None:
    """Collect no garbage while test modules load their libraries."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, and leave what the libraries made out of it."""
    gc.freeze()
    gc.enable()
