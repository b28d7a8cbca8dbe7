"""The settings that the operator reads from its environment."""

import pytest

from diptych_api.errors import SpecInvalid
from diptych_operator.settings import VARIABLES, Settings, read_settings, variable


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read_settings({})
    assert settings.ray_version == "2.60.0"
    assert settings.watch_namespaces == []
    assert settings.image.startswith("ghcr.io/diptych-dev/diptych/ray:")


def test_every_field_is_read_from_its_variable() -> None:
    told = {
        "DIPTYCH_IMAGE": "registry.example/ray@sha256:0",
        "DIPTYCH_IMAGE_PULL_POLICY": "Always",
        "DIPTYCH_RAY_VERSION": "2.61.0",
        "DIPTYCH_HEAD_CPUS": "500m",
        "DIPTYCH_HEAD_MEMORY": "6Gi",
        "DIPTYCH_NETWORK_POLICIES": "false",
        "DIPTYCH_GPU_RESOURCE": "amd.com/gpu",
        "DIPTYCH_GPU_NODE_LABEL": "amd.com/gpu.product-name",
        "DIPTYCH_KUBERAY_NAMESPACE": "ray-system",
        "DIPTYCH_GATEWAY_API": "true",
        "DIPTYCH_GATEWAY_URL": "https://{name}.{namespace}.svc.example:{port}",
        "DIPTYCH_WATCH_NAMESPACES": "team-a, team-b",
        "DIPTYCH_CONCURRENCY": "4",
        "DIPTYCH_RESYNC_SECONDS": "60",
        "DIPTYCH_REQUEST_TIMEOUT_S": "2.5",
        "DIPTYCH_LEASE_NAMESPACE": "diptych",
        "DIPTYCH_LEASE_NAME": "writer",
        "DIPTYCH_LEASE_SECONDS": "30",
        "DIPTYCH_IDENTITY": "diptych-operator-0",
        "DIPTYCH_PORT": "9090",
        "DIPTYCH_LOG_LEVEL": "debug",
        "DIPTYCH_LOG_FORMAT": "console",
    }
    settings = read_settings(told)
    assert set(told) == set(VARIABLES)
    assert settings.watch_namespaces == ["team-a", "team-b"]
    assert settings.gateway_api is True
    assert settings.request_timeout_s == 2.5
    unchanged = [n for n in Settings.model_fields if getattr(settings, n) == getattr(Settings(), n)]
    assert unchanged == []


def test_two_processes_of_one_machine_have_names_of_their_own_in_the_lease() -> None:
    assert read_settings({}).identity != read_settings({}).identity


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DIPTYCH_CONCURRENCY", "0", "DIPTYCH_CONCURRENCY: '0' is below 1."),
        ("DIPTYCH_PORT", "tcp://10.96.0.7:80", "DIPTYCH_PORT: expected a whole number, got 'tcp://10.96.0.7:80'."),
        ("DIPTYCH_LOG_LEVEL", "INFO", "'INFO' is not one of debug, info, warning and error. Did you mean info?"),
        ("DIPTYCH_GATEWAY_API", "maybe", "DIPTYCH_GATEWAY_API: expected true or false, got 'maybe'."),
        ("DIPTYCH_IMAGE", "", "DIPTYCH_IMAGE: is empty."),
        ("DIPTYCH_WATCH_NAMESPACES", "a,B", "DIPTYCH_WATCH_NAMESPACES: 'B' is not of the form"),
        ("DIPTYCH_HEAD_MEMORY", "4 GB", "DIPTYCH_HEAD_MEMORY: '4 GB' is not of the form"),
        ("DIPTYCH_RAY_VERSION", "nightly", "DIPTYCH_RAY_VERSION: 'nightly' is not of the form"),
        ("DIPTYCH_REQUEST_TIMEOUT_S", "15", "15 must be below DIPTYCH_LEASE_SECONDS, 15."),
        ("DIPTYCH_CONCURENCY", "4", "unknown variable. Did you mean DIPTYCH_CONCURRENCY?"),
    ],
)
def test_a_mistake_names_its_variable_and_what_is_allowed(name: str, value: str, told: str) -> None:
    with pytest.raises(SpecInvalid) as error:
        read_settings({name: value})
    assert told in error.value.message
    assert error.value.hint


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(SpecInvalid) as error:
        read_settings({"DIPTYCH_CONCURENCY": "4", "DIPTYCH_PORT": "0", "DIPTYCH_LOG_FORMAT": "xml"})
    assert [line.split(":")[0] for line in error.value.message.splitlines()] == [
        "DIPTYCH_CONCURENCY",
        "DIPTYCH_PORT",
        "DIPTYCH_LOG_FORMAT",
    ]


def test_variables_of_others_are_left_alone() -> None:
    others = {"DIPTYCH_CLUSTER_CACHE": "/tmp", "DIPTYCH_OPERATOR_SERVICE_HOST": "10.96.0.7", "PORT": "1"}  # noqa: S108
    assert read_settings(others).port == 8080


def test_a_variable_is_the_fields_name_in_capitals() -> None:
    assert variable("lease_seconds") == "DIPTYCH_LEASE_SECONDS"
