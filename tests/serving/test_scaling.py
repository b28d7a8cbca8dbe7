"""How many replicas follow from the work that is left."""

from typing import Any

import pytest
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from diptych_api.serveconfig import APPLICATION, ENGINE
from diptych_serving.scaling import WORK_LEFT, WorkPolicy


def context(left: dict[str, float] | None, requests: float) -> AutoscalingContext:
    """Return what Ray Serve hands to a policy."""
    values: dict[str, Any] = dict.fromkeys(
        ("deployment_id", "last_scale_up_time", "last_scale_down_time", "current_time")
    )
    return AutoscalingContext(
        deployment_name=ENGINE,
        app_name=APPLICATION,
        current_num_replicas=1,
        target_num_replicas=1,
        running_replicas=[],
        total_num_requests=requests,
        total_queued_requests=0,
        aggregated_metrics=None if left is None else {WORK_LEFT: left},  # type: ignore[dict-item]
        raw_metrics=None,
        capacity_adjusted_min_replicas=0,
        capacity_adjusted_max_replicas=8,
        policy_state={},
        config=AutoscalingConfig(),
        **values,
    )


@pytest.mark.parametrize(
    ("left", "requests", "replicas"),
    [
        ({"a": 300.0, "b": 500.0}, 3, 2.0),
        ({"a": 100.0}, 1, 1.0),
        ({"a": 0.0}, 0, 0.0),
        ({}, 2, 1.0),
        (None, 0, 0.0),
    ],
)
def test_there_are_as_many_replicas_as_the_work_needs(
    left: dict[str, float] | None, requests: float, replicas: float
) -> None:
    assert WorkPolicy(target_work_units=400)(context(left, requests)) == (replicas, {})
