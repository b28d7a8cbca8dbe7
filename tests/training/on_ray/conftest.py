"""One Ray, as a head pod has it: its workers find the pod's station in their environment."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from diptych_api.cluster import Resources
from diptych_training.ray_train import ray_started
from diptych_training.station import VARIABLE


@pytest.fixture(scope="package")
def station(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where a pod's processes leave their ids and hear the wish to stop."""
    return tmp_path_factory.mktemp("station")


@pytest.fixture(scope="package", autouse=True)
def cluster(station: Path) -> Iterator[str]:
    """Ray's address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(station))
        with ray_started(None, Resources()):
            yield ray.get_runtime_context().gcs_address
