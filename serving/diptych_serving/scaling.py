"""How many engine replicas there should be, by the work that is left to draw."""

from typing import Any, Final

from ray.serve.config import AutoscalingContext

WORK_LEFT: Final = "diptych_work_units_left"


class WorkPolicy:
    """As many replicas as have ``target_work_units`` left each. Ray Serve keeps the bounds and the delays."""

    def __init__(self, target_work_units: float) -> None:
        self._target = target_work_units

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """Return the number of replicas, which need not be whole, and no state."""
        left = sum((context.aggregated_metrics or {}).get(WORK_LEFT, {}).values())
        return max(left / self._target, 1.0 if context.total_num_requests > 0 else 0.0), {}
