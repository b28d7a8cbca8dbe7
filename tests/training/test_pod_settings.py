"""What the operator tells by environment variables, and what it may not tell."""

from pathlib import Path

import pytest

from diptych_api.errors import RetryLater, SpecInvalid, UserError
from diptych_training.api_server import ApiServer
from diptych_training.pod_settings import PodSettings


def test_from_a_shell_nothing_is_set_and_nothing_is_a_pod() -> None:
    assert PodSettings.of({}) == PodSettings(attempt=1, reports=False, mounts=None)


def test_a_pod_knows_its_attempt_its_volumes_and_its_ray() -> None:
    told = {"DIPTYCH_ATTEMPT": "4", "DIPTYCH_REPORT": "kubernetes", "DIPTYCH_MOUNTS": '{"models": "/mnt/models"}'}
    settings = PodSettings.of({**told, "RAY_ADDRESS": "10.0.0.1:6379", "DIPTYCH_RUN": "noto-1a2b3c4d"})
    assert (settings.attempt, settings.reports, settings.ray_address) == (4, True, "auto")
    assert settings.mounts == {"models": Path("/mnt/models")}
    assert settings.run_name == "noto-1a2b3c4d"


def test_a_pod_without_volumes_is_still_a_pod() -> None:
    assert PodSettings.of({"DIPTYCH_REPORT": "kubernetes"}).mounts == {}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *[("DIPTYCH_ATTEMPT", text) for text in ("0", "1001", "two", "-1")],
        ("DIPTYCH_REPORT", "yes"),
        *[("DIPTYCH_MOUNTS", text) for text in ("{", "[]", '{"a": 1}', '{"a": "relative"}')],
    ],
)
def test_a_wrong_value_is_named_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(SpecInvalid, match=variable):
        PodSettings.of({variable: value})


def test_the_api_server_is_found_as_in_every_pod() -> None:
    address = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert ApiServer.of(address).url == "https://[fd00::1]:6443"
    with pytest.raises(UserError, match="this is no pod"):
        ApiServer.of({})


def test_a_missing_token_is_named(tmp_path: Path) -> None:
    with pytest.raises(RetryLater, match="token cannot be read"):
        ApiServer("http://127.0.0.1:9", tmp_path).apply("/x", {}, "test")
