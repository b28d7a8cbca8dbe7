"""KubeRay must be there and new enough, and every kind must be found before kopf asks which kinds there are."""

import asyncio
from typing import Any, cast

import pytest

from diptych_operator.kinds import FINE_TUNE_JOB, POD, RAY_JOB, RAY_SERVICE, Kind
from diptych_operator.kube import Kube
from diptych_operator.prerequisites import missing, undiscovered


class Young:
    """An API server that has not told of all CRDs yet."""

    async def discovered(self, group: str, version: str) -> frozenset[str]:
        known = {("", "v1"): {"pods", "services"}, ("ray.io", "v1"): {"rayjobs"}}
        return frozenset(known.get((group, version), ()))


def told(*kinds: Kind) -> str:
    return asyncio.run(undiscovered(cast("Kube", Young()), kinds))


def test_kinds_that_nobody_would_find_are_named() -> None:
    assert told(POD, RAY_JOB) == ""
    assert "finetunejobs.diptych.dev, rayservices.ray.io." in told(POD, FINE_TUNE_JOB, RAY_JOB, RAY_SERVICE)


def spec_of(*fields: str) -> dict[str, Any]:
    """Return a kind's schema with these fields of its spec; one behind a dot is below the other."""
    spec: dict[str, Any] = {}
    for field in fields:
        outer, _, inner = field.partition(".")
        spec[outer] = {"properties": {inner: {}} if inner else {}}
    return {"properties": {"spec": {"properties": spec}}}


RAY_JOB_1_5 = spec_of("backoffLimit", "rayClusterSpec.authOptions")
RAY_JOB_1_6 = spec_of("backoffLimit", "preRunningDeadlineSeconds", "rayClusterSpec.authOptions")
SERVICE = spec_of("rayClusterConfig.authOptions", "serveService")


@pytest.mark.parametrize(
    ("ray_job", "told"),
    [
        (None, "KubeRay's resources (ray.io/v1) are not there. Install KubeRay first: helm install"),
        (RAY_JOB_1_5, "KubeRay is older than 1.6: its CRDs lack RayJob.spec.preRunningDeadlineSeconds. Upgrade"),
    ],
)
def test_a_kuberay_that_is_missing_or_old_is_told_with_what_to_do(ray_job: dict[str, Any] | None, told: str) -> None:
    assert asyncio.run(missing(with_schemas(ray_job))).startswith(told)


def test_a_kuberay_that_has_every_field_is_taken() -> None:
    assert asyncio.run(missing(with_schemas(RAY_JOB_1_6))) == ""


def with_schemas(ray_job: dict[str, Any] | None) -> Kube:
    class Server:
        async def schemas(self, group: str, version: str) -> dict[str, Any] | None:
            assert (group, version) == ("ray.io", "v1")
            return None if ray_job is None else {"io.ray.v1.RayJob": ray_job, "io.ray.v1.RayService": SERVICE}

    return cast("Kube", Server())
