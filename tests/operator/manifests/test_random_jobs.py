"""Whatever a spec says: pods are confined, secrets are referred to, and no text of a person reaches a shell."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import JOB_ANNOTATION
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.job_policy import job_policy
from diptych_operator.manifests.publish_job import COMMAND, publish_job
from diptych_operator.manifests.rayjob import ENTRYPOINT, ray_job
from diptych_operator.sealing import drifted, sealed
from support.job_specs import EVIL, jobs

DEFAULTS = Defaults(image="image:1")
PLAIN = {
    *("HOME", "USER", "RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "PYTHONDONTWRITEBYTECODE"),
    *(
        "DIPTYCH_ATTEMPT",
        "DIPTYCH_IMAGE",
        "DIPTYCH_REPORT",
        "DIPTYCH_RUN",
        "DIPTYCH_LOG",
        "DIPTYCH_MOUNTS",
        "DIPTYCH_STATION",
    ),
    "RAY_JOB_STOP_WAIT_TIME_S",
    "RAY_task_oom_retries",
}
QUICK: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}


def templates(manifest: Manifest) -> Iterator[tuple[bool, Manifest]]:
    cluster = manifest["spec"]["rayClusterSpec"]
    yield True, cluster["headGroupSpec"]["template"]
    yield from ((False, group["template"]) for group in cluster["workerGroupSpecs"])


def check(job: FineTuneJob) -> bool:
    """Check what holds for every job; return whether it was taken at all."""
    try:
        manifest = ray_job(job, 3, DEFAULTS, 100.0)
    except SpecInvalid:
        return False
    check_cluster(manifest, job)
    publisher = publish_job(job, "run-0123abcd", DEFAULTS)["spec"]["template"]
    assert publisher["spec"]["containers"][0].pop("command") == list(COMMAND)
    for is_head, template in (*templates(manifest), (False, publisher)):
        check_confined(template["spec"])
        check_identity(template["spec"], is_head=is_head)
        check_variables(template["spec"]["containers"][0]["env"])
        check_unique(template["spec"])
        assert (
            job_policy(job, DEFAULTS)["spec"]["podSelector"]["matchLabels"].items()
            <= template["metadata"]["labels"].items()
        )
    text_of_people_is_in_the_annotation_alone(manifest)
    assert not drifted(json.loads(json.dumps(sealed(manifest))))
    return True


def check_cluster(manifest: Manifest, job: FineTuneJob) -> None:
    spec = manifest["spec"]
    assert (spec["entrypoint"], spec["submissionMode"]) == (ENTRYPOINT, "HTTPMode")
    assert spec["shutdownAfterJobFinishes"]
    assert not {"runtimeEnvYAML", "suspend", "clusterSelector"} & set(spec)
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert "enableInTreeAutoscaling" not in cluster
    (group,) = cluster["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == job.spec.resources.workers
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def check_confined(spec: Manifest) -> None:
    """Check what Pod Security `restricted` asks for."""
    pod = spec["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] == 1000
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert not any("hostPath" in volume for volume in spec["volumes"])
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert not {"command", "args"} & set(spec["containers"][0])


def check_identity(spec: Manifest, *, is_head: bool) -> None:
    assert spec["automountServiceAccountToken"] is False
    tokens = [volume for volume in spec["volumes"] if "projected" in volume]
    assert len(tokens) == is_head
    assert (spec["serviceAccountName"] == "diptych-reporter") == is_head


def check_variables(variables: list[dict[str, Any]]) -> None:
    assert {variable["name"] for variable in variables if "value" in variable} <= PLAIN
    for variable in variables:
        assert ("value" in variable) != ("valueFrom" in variable)


def check_unique(spec: Manifest) -> None:
    """Check the lists that the API server keeps by key."""
    (container,) = spec["containers"]
    for items, key in ((container["env"], "name"), (container["volumeMounts"], "mountPath"), (spec["volumes"], "name")):
        assert len({item[key] for item in items}) == len(items)
    secrets = [secret["name"] for secret in spec.get("imagePullSecrets", ())]
    assert len(set(secrets)) == len(secrets)
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}


def text_of_people_is_in_the_annotation_alone(manifest: Manifest) -> None:
    head = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"]["annotations"]
    told = json.loads(head.pop(JOB_ANNOTATION))
    assert told["spec"]["evaluation"]["prompts"] == [EVIL]
    assert "pwned" not in json.dumps(manifest)
    head[JOB_ANNOTATION] = "told"


@settings(max_examples=60, **QUICK)
@given(job=jobs())
def test_every_job_is_confined_or_refused(job: FineTuneJob) -> None:
    check(job)


@pytest.mark.fuzz
def test_a_thousand_jobs_are_confined_and_most_are_taken() -> None:
    taken = []

    @settings(max_examples=1000, **QUICK)
    @given(job=jobs())
    def run(job: FineTuneJob) -> None:
        taken.append(check(job))

    run()
    assert sum(taken) > 500
