"""A tiny base, an adapter for it, and a service of both beside an adapter that is not there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.adapters import saved_adapter
from support.http_requests import DEFAULTS
from support.services import Served, served
from support.tiny_models import make_pipeline


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def style(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return saved_adapter(tmp_path_factory.mktemp("style"), base)


@pytest.fixture
def service(base: Path, style: Path) -> Iterator[Served]:
    with served(base) as service:
        adapters = [{"name": "style", "uri": str(style)}, {"name": "gone", "uri": "/nowhere"}]
        service.configure(adapters=adapters, defaults=DEFAULTS)
        yield service
