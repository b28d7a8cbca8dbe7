"""Whatever a deployment says: its pods are confined, and an adapter more changes nothing that runs."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from diptych_api.adapters import Adapter
from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.errors import SpecInvalid
from diptych_api.servingconfig import ServedAdapter
from diptych_operator.defaults import Defaults
from diptych_operator.deployments.found_adapters import found_adapters, served
from diptych_operator.deployments.keeping import keep
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.deployment_policy import deployment_policy
from diptych_operator.manifests.rayservice import ray_service
from diptych_operator.manifests.serve_text import serve_values
from diptych_operator.observed import DeploymentSeen
from diptych_operator.planning import plan
from diptych_operator.sealing import drifted, sealed
from support.deployment_specs import deployments

DEFAULTS = Defaults(image="ray:1")
NEWER = Defaults(image="ray:2", ray_version="2.61.0", head_memory="8Gi")
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PLAIN = {
    *("HOME", "USER", "RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "PYTHONDONTWRITEBYTECODE"),
    "DIPTYCH_CACHE",
}
QUICK: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate],
    "database": None,
}


def adapters(found: DiffusionDeployment) -> list[ServedAdapter]:
    return served(found_adapters(DeploymentSeen(found)))


def check(found: DiffusionDeployment) -> bool:
    """Check what holds for every deployment; return whether it was taken at all."""
    check_plan(found)
    try:
        manifest = ray_service(found, adapters(found), DEFAULTS)
    except SpecInvalid:
        return False
    cluster = manifest["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    check_container(cluster["autoscalerOptions"])
    for template in templates(cluster):
        check_confined(template["spec"])
    check_starts(cluster)
    check_told(found, manifest)
    check_policy(found)
    check_kept(found, manifest)
    assert not drifted(json.loads(json.dumps(sealed(manifest))))
    return True


def templates(cluster: Manifest) -> Iterator[Manifest]:
    yield cluster["headGroupSpec"]["template"]
    yield from (group["template"] for group in cluster["workerGroupSpecs"])


def check_confined(pod: Manifest) -> None:
    """Check what Pod Security `restricted` asks for, and that Ray's container sees no token and no secret's text."""
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
    assert not any("hostPath" in volume for volume in pod["volumes"])
    for container in pod["containers"]:
        check_container(container)
    ray = pod["containers"][0]
    assert not {"command", "args"} & set(ray)
    assert "api-token" not in {mount["name"] for mount in ray["volumeMounts"]}
    assert {variable["name"] for variable in ray["env"] if "value" in variable} <= PLAIN
    for items, key in ((ray["env"], "name"), (ray["volumeMounts"], "mountPath"), (pod["volumes"], "name")):
        assert len({item[key] for item in items}) == len(items)


def check_container(container: Manifest) -> None:
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def check_starts(cluster: Manifest) -> None:
    """Check that no text of a person is among what starts Ray: KubeRay puts that into a shell line."""
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        params = dict(group["rayStartParams"])
        assert params.pop("resources", '"{\\"diptych_engine\\": 1}"') == '"{\\"diptych_engine\\": 1}"'
        assert all(value.isdigit() for value in params.values())
    assert "pwned" not in json.dumps(cluster)
    ports = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]
    assert len({port["containerPort"] for port in ports}) == len(ports)


def check_told(found: DiffusionDeployment, manifest: Manifest) -> None:
    """Check that Ray Serve reads what was meant, letter by letter."""
    config = serve_values(manifest["spec"]["serveConfigV2"])
    assert config is not None
    told = next(one for one in config["applications"][0]["deployments"] if one["name"] == "Registry")["user_config"]
    assert told["examples"] == found.spec.examples
    assert [one["name"] for one in told["adapters"]] == [one.name for one in found.spec.adapters]


def check_policy(found: DiffusionDeployment) -> None:
    policy = deployment_policy(found, DEFAULTS, [])["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    open_to_all = {port["port"] for rule in policy["ingress"] if "from" not in rule for port in rule["ports"]}
    assert open_to_all <= {8000, 8080, 9000}
    blocks = [peer["ipBlock"] for rule in policy["egress"] for peer in rule.get("to", ()) if "ipBlock" in peer]
    assert all(block["except"] == ["169.254.169.254/32"] for block in blocks if block["cidr"] == "0.0.0.0/0")


def check_kept(found: DiffusionDeployment, before: Manifest) -> None:
    """Check that another adapter, other replicas and a newer operator leave cluster and arguments as they are."""
    more = {"adapters": [*found.spec.adapters, Adapter(name="added", uri="s3://bucket/added")], "examples": []}
    scaled = {} if found.spec.autoscaling is not None else {"replicas": (found.spec.replicas or 0) % 1024 + 1}
    changed = found.model_copy(update={"spec": found.spec.model_copy(update=more | scaled)})
    after = keep(ray_service(changed, adapters(changed), NEWER), before)
    for part in ("rayClusterConfig", "serveService"):
        assert after["spec"][part] == before["spec"][part]
    old, new = (serve_values(manifest["spec"]["serveConfigV2"]) or {} for manifest in (before, after))
    assert [one.get("args") for one in new["applications"]] == [one.get("args") for one in old["applications"]]
    assert keep(ray_service(found, adapters(found), NEWER), before) == before


def check_plan(found: DiffusionDeployment) -> None:
    """Check that there is a plan whose status fits its schema, also where the API server refuses a child."""
    for refused in ("", "quota exceeded"):
        made = plan(DeploymentSeen(found, refused=refused), DEFAULTS, NOW)
        assert made is not None
        values = made.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        type(found.status).model_validate(values)


@settings(max_examples=40, **QUICK)
@given(deployments())
def test_every_deployment_is_confined_or_refused(found: DiffusionDeployment) -> None:
    check(found)


@pytest.mark.fuzz
def test_a_thousand_deployments_are_confined_and_most_are_taken() -> None:
    taken = []

    @settings(max_examples=1000, **QUICK)
    @given(deployments())
    def run(found: DiffusionDeployment) -> None:
        taken.append(check(found))

    run()
    assert sum(taken) > 500
