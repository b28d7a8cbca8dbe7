"""How many engine replicas there are, as Ray Serve reads it: options of one deployment; scaling restarts nothing."""

from typing import Any, Final

from diptych_api.diffusiondeployment import Autoscaling

LOOK_BACK_S: Final = 30.0
POLICY: Final = "diptych_serving.scaling:WorkPolicy"


def engine_scale(replicas: int | None, autoscaling: Autoscaling | None) -> dict[str, Any]:
    """Return `num_replicas` or `autoscaling_config` of the engines.

    Ray Serve has no 0, so that is a range which no request ever leaves.
    """
    if autoscaling is not None:
        return {"autoscaling_config": _range(autoscaling)}
    if replicas == 0:
        return {"autoscaling_config": {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1}}
    return {"num_replicas": replicas or 1}


def _range(scale: Autoscaling) -> dict[str, Any]:
    policy = {}
    if scale.target_work_units is not None:
        kwargs = {"target_work_units": scale.target_work_units}
        policy = {"policy": {"policy_function": POLICY, "policy_kwargs": kwargs}}
    return {
        "min_replicas": scale.min,
        "initial_replicas": max(scale.min, 1),
        "max_replicas": scale.max,
        "target_ongoing_requests": scale.target_ongoing_requests,
        "downscale_to_zero_delay_s": float(scale.scale_to_zero_after_seconds),
        "upscale_delay_s": float(scale.scale_up_after_seconds),
        "downscale_delay_s": float(scale.scale_down_after_seconds),
        "look_back_period_s": LOOK_BACK_S,
        **policy,
    }
