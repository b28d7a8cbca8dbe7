"""A Ray that somebody else started on the same machine: a run without an address leaves it alone."""

import pytest
import ray
from ray.cluster_utils import Cluster

from diptych_api.cluster import Resources
from diptych_training.ray_train import ray_started

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.mark.parametrize("named", ["in Ray's folder", "by RAY_ADDRESS"])
def test_a_run_starts_a_ray_of_its_own(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 10**8})
    if named == "by RAY_ADDRESS":
        monkeypatch.setenv("RAY_ADDRESS", other.address)
    try:
        with ray_started(None, Resources()):
            assert ray.get_runtime_context().gcs_address != other.address
    finally:
        other.shutdown()
