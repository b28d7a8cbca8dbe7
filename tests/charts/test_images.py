"""What the images are and what pods expect of them is the same: users, homes, ports, programs, versions."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from diptych_operator.chart.pod_values import Image
from diptych_operator.chart.values import Values
from diptych_operator.manifests.pods import USER
from diptych_operator.manifests.serving_inputs import GRPC_PORT, HTTP_PORT
from diptych_operator.manifests.serving_pods import RAY_PORTS
from diptych_operator.manifests.volumes import HOME
from diptych_operator.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOYMENT = (ROOT / "charts" / "diptych" / "templates" / "deployment.yaml").read_text(encoding="utf-8")


def stage(name: str) -> dict[str, str]:
    """Return the instructions of a stage of the Containerfile: by their word, those of one word together."""
    text = (ROOT / "images" / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    [body] = re.findall(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    found: dict[str, str] = {}
    for word, rest in re.findall(r"^([A-Z]+) (.*)$", body, flags=re.MULTILINE):
        found[word] = f"{found.get(word, '')} {rest}".strip()
    return found


def ports(name: str) -> set[int]:
    return {int(port) for port in stage(name)["EXPOSE"].split()}


def locked(package: str) -> str:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    [version] = {each["version"] for each in lock["package"] if each["name"] == package}
    return str(version)


def test_the_operators_pod_finds_its_user_home_port_and_program() -> None:
    image, security = stage("operator"), Values().pod.security_context
    assert image["USER"] == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert ports("operator") == {Settings.model_fields["port"].default}
    assert "HOME=/tmp" in image["ENV"].split()
    assert "name: HOME\n              value: /tmp\n" in DEPLOYMENT
    [command] = re.findall(r"command: (\[.*\])", DEPLOYMENT)
    assert yaml.safe_load(image["ENTRYPOINT"]) == yaml.safe_load(command)


def test_ray_pods_find_their_user_home_and_ports() -> None:
    image = stage("ray")
    assert image["USER"] == f"{USER}:{USER}"
    assert f"HOME={HOME}" in image["ENV"].split()
    assert ports("ray") == {*RAY_PORTS.values(), HTTP_PORT, GRPC_PORT}


def test_the_chart_tells_kuberay_the_version_of_ray_that_is_locked() -> None:
    assert Settings.model_fields["ray_version"].default == locked("ray")


@pytest.mark.parametrize(
    ("target", "default"),
    [("operator", Image().repository), ("ray", Settings().image.rpartition(":")[0])],
)
def test_the_chart_names_the_images_as_a_release_pushes_them(target: str, default: str) -> None:
    release = (ROOT / ".github" / "workflows" / "release.yaml").read_text(encoding="utf-8")
    registry, _, name = default.rpartition("/")
    assert name == target
    assert f"REGISTRY: {registry}\n" in release


def test_the_build_installs_the_uv_that_make_installs() -> None:
    [pinned] = re.findall(r"uv==\S+", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert f" {pinned} " in stage("tools")["RUN"]
