from typing import Any

import pytest
from pydantic import ValidationError

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.enginescale import engine_scale
from diptych_api.serveconfig import serve_config, user_config
from diptych_api.servingconfig import (
    RegistryConfig,
    ServedAdapter,
    ServingConfig,
    config_hash,
    registry_config,
    serving_config,
    wire,
)
from diptych_api.wire import from_wire

VALUES: dict[str, Any] = {"base": {"builtin": "tiny-emoji"}}
NOTO = ServedAdapter(name="noto", uri="s3://bucket/noto")


def spec(**fields: Any) -> DiffusionDeploymentSpec:
    return from_wire(DiffusionDeploymentSpec, VALUES | fields)


def both(**fields: Any) -> tuple[str, str]:
    return config_hash(serving_config("noto", None, spec(**fields))), config_hash(
        registry_config(spec(**fields), [NOTO])
    )


@pytest.mark.parametrize(
    "fields", [{"limits": {"maxSteps": 5}}, {"examples": ["a"]}, {"rateLimit": {"cost": {"dailyLimit": 5}}}]
)
def test_limits_and_examples_change_while_serving(fields: dict[str, Any]) -> None:
    assert both(**fields)[0] == both()[0]
    assert both(**fields)[1] != both()[1]


@pytest.mark.parametrize("fields", [{"slots": 3}, {"dtype": "bf16"}, {"base": {"uri": "s3://b/m"}}])
def test_base_slots_and_dtype_need_a_restart(fields: dict[str, Any]) -> None:
    assert both(**fields)[0] != both()[0]
    assert both(**fields)[1] == both()[1]


def test_a_new_adapter_needs_no_restart() -> None:
    more = [NOTO, ServedAdapter(name="other")]
    assert config_hash(registry_config(spec(), more)) != config_hash(registry_config(spec(), [NOTO]))


def test_every_setting_of_a_deployment_reaches_the_application_or_stays_with_the_operator() -> None:
    operators = {"adapters", "rollout", "model_cache", "pods", "suspend", "managed_by"}
    carried = set(ServingConfig.model_fields) | set(RegistryConfig.model_fields)
    assert set(DiffusionDeploymentSpec.model_fields) - carried == operators - {"adapters"}


def test_configurations_travel_as_plain_values() -> None:
    config = serving_config("noto", "team", spec(slots=3))
    assert wire(config)["slots"] == 3
    assert from_wire(ServingConfig, wire(config)) == config
    registry = registry_config(spec(examples=["a"]), [NOTO])
    assert from_wire(RegistryConfig, wire(registry)) == registry


@pytest.mark.parametrize("typo", [{"adaptors": []}, {"limits": {"maxStep": 5}}])
def test_a_typo_is_refused_though_ray_would_accept_it(typo: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        from_wire(RegistryConfig, typo)


def test_two_adapters_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="adapter names must be unique"):
        RegistryConfig(adapters=[NOTO, NOTO])


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        ({}, {"num_replicas": 1}),
        ({"replicas": 3}, {"num_replicas": 3}),
        ({"replicas": 0}, {"autoscaling_config": {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1}}),
    ],
)
def test_replicas_are_options_of_the_engines_and_no_arguments(scale: dict[str, Any], options: dict[str, Any]) -> None:
    config = serve_config(serving_config("noto", None, spec(**scale)), registry_config(spec(**scale), []))
    images = config["applications"][0]
    engine = next(one for one in images["deployments"] if one["name"] == "Engine")
    assert {name: engine[name] for name in ("num_replicas", "autoscaling_config") if name in engine} == options
    assert (
        images["args"]
        == serve_config(serving_config("noto", None, spec()), RegistryConfig())["applications"][0]["args"]
    )


def test_the_range_of_replicas_follows_requests_or_work() -> None:
    def scaled(**values: Any) -> dict[str, Any]:
        found: dict[str, Any] = engine_scale(None, spec(autoscaling=values).autoscaling)["autoscaling_config"]
        return found

    idle = scaled(min=0, max=4, scaleToZeroAfterSeconds=60)
    assert (idle["min_replicas"], idle["initial_replicas"], idle["downscale_to_zero_delay_s"]) == (0, 1, 60)
    assert "policy" not in idle
    quick = scaled(scaleUpAfterSeconds=2, scaleDownAfterSeconds=20)
    assert (quick["upscale_delay_s"], quick["downscale_delay_s"]) == (2, 20)
    assert scaled(targetWorkUnits=5)["policy"]["policy_kwargs"] == {"target_work_units": 5}


def test_what_the_registry_reads_leaves_defaults_to_the_image_and_is_never_empty() -> None:
    assert user_config(RegistryConfig()) == {"adapters": []}
    assert user_config(registry_config(spec(limits={"maxSteps": 5}), [])) == {"adapters": [], "limits": {"maxSteps": 5}}
