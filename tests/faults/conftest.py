"""What tests of faults may ask for."""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _only_errors() -> Iterator[None]:
    """Keep thousands of reconciles out of the captured log, but for those that fail."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.configure(**before)
