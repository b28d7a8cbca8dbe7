"""A job and a deployment as kubectl shows them, from apply to delete, and every way of being stuck by its reason."""

import json
from datetime import datetime
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.ray_pods import RayPods
from cluster.rayjob_states import TO_RUNNING
from cluster.rayservice_states import TO_SERVING
from diptych_api.names import publisher_name, service_name
from diptych_operator.kinds import (
    DIFFUSION_DEPLOYMENT,
    DIFFUSION_MODEL,
    FINE_TUNE_JOB,
    HTTP_ROUTE,
    INGRESS,
    RAY_JOB,
    RAY_SERVICE,
)
from support.memory_moves import GALLERY, JOB, artifact, figures, gallery_spec, job_spec, model_spec
from support.operator_process import OperatorProcess
from support.stage import Stage
from support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]
SERVICE = service_name(GALLERY)
PUBLISHER, PUBLIC = publisher_name(JOB), "s3://bucket/public"
CHECKPOINT = {"step": 50, "uri": "s3://bucket/runs/noto/checkpoints/step-000050", "time": "2026-01-31T12:00:00Z"}


def shown(plane: ControlPlane, stage: Stage, kind: str, name: str) -> dict[str, str]:
    """Return a line of `kubectl get` by its columns; a column that is empty is not there."""
    heading, line = plane.kubectl("get", kind, name, "-n", stage.namespace).splitlines()
    starts = [heading.index(column) for column in heading.split()]
    cells = [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
    return {column: cell for column, cell in zip(heading.split(), cells, strict=True) if cell}


def waited(plane: ControlPlane, stage: Stage, what: str, condition: str) -> str:
    told: str = plane.kubectl("wait", what, f"--for=condition={condition}", "-n", stage.namespace, "--timeout=180s")
    return told


def events(plane: ControlPlane, stage: Stage, name: str) -> list[str]:
    """Return the reasons of the Events about one of our resources, in their order."""
    found = plane.api.listed("v1", "Event", stage.namespace)
    ours = [event for event in found if event["involvedObject"]["name"] == name and event["source"]["component"]]
    ours = [event for event in ours if event["source"]["component"] == "diptych-operator"]
    return [event["reason"] for event in sorted(ours, key=lambda event: int(event["metadata"]["resourceVersion"]))]


def started(stage: Stage, **spec: Any) -> None:
    """Bring a job to the point where its program runs."""
    stage.create(job_spec(**spec))
    until(lambda: stage.find(RAY_JOB, JOB) is not None)
    stage.play(RAY_JOB, JOB, *TO_RUNNING)


def test_a_job_from_apply_to_its_artifact(control_plane: ControlPlane, stage: Stage) -> None:
    started(stage)
    stage.report(JOB, phase="Training", step=71, loss=0.11312, etaSeconds=41.3, checkpoint=CHECKPOINT)
    until(lambda: shown(control_plane, stage, "ftj", JOB).get("PROGRESS") == "71%")
    line = shown(control_plane, stage, "ftj", JOB)
    assert {name: line[name] for name in ("PHASE", "ETA", "LOSS", "ATTEMPT", "GPUS", "MODEL")} == {
        "PHASE": "Running",
        "ETA": "41s",
        "LOSS": "0.1131",
        "ATTEMPT": "1",
        "GPUS": "1",
        "MODEL": "best",
    }
    stage.report(JOB, phase="Succeeded", step=100, artifact=artifact(), **figures())
    stage.play(RAY_JOB, JOB, "Succeeded")
    assert "condition met" in waited(control_plane, stage, f"ftj/{JOB}", "Succeeded")
    assert stage.status(FINE_TUNE_JOB, JOB)["artifact"]["digest"].startswith("sha256:")
    assert events(control_plane, stage, JOB) == ["Pending", "Provisioning", "Starting", "Running", "Succeeded"]


def test_a_promoted_run_is_published_and_why_it_cannot_be_is_told(control_plane: ControlPlane, stage: Stage) -> None:
    stage.create(model_spec())
    started(stage, publish={"uri": PUBLIC})
    stage.report(JOB, phase="Succeeded", step=100, artifact=artifact(), **figures())
    stage.play(RAY_JOB, JOB, "Succeeded")
    until(lambda: len(stage.pods_of(PUBLISHER)) == 1)
    refused = {"reason": "HubAuth", "message": "The store refused (403).", "hint": "Check the Secret."}
    stage.ends(stage.pods_of(PUBLISHER)[0], 2, json.dumps({"failure": refused}))
    until(lambda: condition(stage, FINE_TUNE_JOB, JOB, "Published").get("reason") == "HubAuth")
    assert "Check the Secret." in condition(stage, FINE_TUNE_JOB, JOB, "Published")["message"]
    assert shown(control_plane, stage, "ftj", JOB)["PHASE"] == "Succeeded"
    control_plane.kubectl("delete", "job", PUBLISHER, "-n", stage.namespace)
    until(lambda: [pod for pod in stage.pods_of(PUBLISHER) if "deletionTimestamp" not in pod["metadata"]] != [])
    stage.ends(stage.pods_of(PUBLISHER)[0], 0, json.dumps({"published": [PUBLIC]}))
    assert "condition met" in waited(control_plane, stage, f"ftj/{JOB}", "Published")
    assert stage.status(FINE_TUNE_JOB, JOB)["published"] == [PUBLIC]
    assert events(control_plane, stage, JOB)[-3:] == ["Succeeded", "NotPublished", "Published"]


def test_a_failure_that_comes_again_ends_the_job_with_a_hint(control_plane: ControlPlane, stage: Stage) -> None:
    started(stage)
    failure = {"reason": "DatasetInvalid", "message": "12 of 20 pictures cannot be read.", "step": 0}
    stage.report(JOB, phase="Failed", failure=failure)
    stage.play(RAY_JOB, JOB, "Failed")
    waited(control_plane, stage, f"ftj/{JOB}", "Failed")
    told = stage.status(FINE_TUNE_JOB, JOB)["lastFailure"]
    assert told["reason"] == "DatasetInvalid"
    assert "12 of 20" in told["message"]
    assert told["hint"]
    assert shown(control_plane, stage, "ftj", JOB)["ATTEMPT"] == "1"


@pytest.mark.parametrize(
    ("state", "reason", "word"),
    [
        ("Unschedulable", "Unschedulable", "nvidia.com/gpu"),
        ("ErrImagePull", "ImagePull", "nowhere.example/ray:1"),
        ("ImagePullBackOff", "ImagePull", "nowhere.example/ray:1"),
        ("SecretMissing", "ContainerConfig", "hub"),
    ],
)
def test_what_a_pod_waits_for_is_told(
    control_plane: ControlPlane, stage: Stage, ray_pods: RayPods, state: str, reason: str, word: str
) -> None:
    stage.create(job_spec())
    until(lambda: stage.find(RAY_JOB, JOB) is not None)
    stage.play(RAY_JOB, JOB, "Initializing")
    [head, *_] = ray_pods.create(stage.find(RAY_JOB, JOB) or {})
    ray_pods.play(head, state)
    until(lambda: condition(stage, FINE_TUNE_JOB, JOB, "Provisioned").get("reason") == reason)
    assert word in condition(stage, FINE_TUNE_JOB, JOB, "Provisioned")["message"]
    assert shown(control_plane, stage, "ftj", JOB)["PHASE"] == "Provisioning"


@pytest.mark.parametrize(("state", "reason"), [("OOMKilled", "OOMKilled"), ("Evicted", "Evicted")])
def test_how_a_pod_ended_is_why_the_attempt_did(stage: Stage, ray_pods: RayPods, state: str, reason: str) -> None:
    started(stage)
    pods = ray_pods.create(stage.find(RAY_JOB, JOB) or {})
    ray_pods.play(pods[1], state)
    stage.play(RAY_JOB, JOB, "Failed")
    until(lambda: [one["reason"] for one in stage.status(FINE_TUNE_JOB, JOB).get("attempts", [])] == [reason])
    assert stage.status(FINE_TUNE_JOB, JOB)["lastFailure"]["hint"]


def condition(stage: Stage, kind: Any, name: str, aspect: str) -> dict[str, Any]:
    found = [one for one in stage.status(kind, name).get("conditions", []) if one["type"] == aspect]
    return found[0] if found else {}


def test_a_deployment_from_apply_to_ready_and_a_new_adapter(control_plane: ControlPlane, stage: Stage) -> None:
    adapters = [{"name": "fixed", "uri": "s3://bucket/fixed"}]
    stage.create(gallery_spec(adapters=adapters))
    until(lambda: stage.find(RAY_SERVICE, GALLERY) is not None)
    stage.play(RAY_SERVICE, GALLERY, *TO_SERVING)
    waited(control_plane, stage, f"dd/{GALLERY}", "Ready")
    line = shown(control_plane, stage, "dd", GALLERY)
    assert line["READY"] == "True"
    assert line["ADAPTERS"] == "1/1"
    assert line["URL"] == f"http://{GALLERY}-images.{stage.namespace}:8000"
    stage.edit(DIFFUSION_DEPLOYMENT, GALLERY, adapters=[*adapters, {"name": "more", "uri": "s3://bucket/more"}])
    until(lambda: condition(stage, DIFFUSION_DEPLOYMENT, GALLERY, "Progressing").get("status") == "True")
    stage.play(RAY_SERVICE, GALLERY, "Running")
    until(lambda: shown(control_plane, stage, "dd", GALLERY).get("ADAPTERS") == "2/2")


def test_a_deployment_behind_a_gateway_is_moved_and_kept_there(stage: Stage) -> None:
    stage.create(gallery_spec(adapters=[], endpoints={"http": {"ingressHost": "pictures.example.org"}}))
    until(lambda: stage.find(INGRESS, SERVICE) is not None)
    stage.edit(DIFFUSION_DEPLOYMENT, GALLERY, endpoints={"http": {"gateway": "edge/public"}})
    until(lambda: stage.find(HTTP_ROUTE, SERVICE) is not None and stage.find(INGRESS, SERVICE) is None)
    stage.edit(HTTP_ROUTE, SERVICE, hostnames=["elsewhere.example.org"])
    until(lambda: route(stage)["hostnames"] == ["pictures.example.org"])
    assert {"name": "public", "namespace": "edge"}.items() <= route(stage)["parentRefs"][0].items()
    assert {"name": SERVICE, "port": 8000}.items() <= route(stage)["rules"][0]["backendRefs"][0].items()
    stage.edit(DIFFUSION_DEPLOYMENT, GALLERY, endpoints={"http": {"gateway": None}})
    until(lambda: stage.find(HTTP_ROUTE, SERVICE) is None and stage.find(INGRESS, SERVICE) is not None)


def route(stage: Stage) -> dict[str, Any]:
    return dict((stage.find(HTTP_ROUTE, SERVICE) or {})["spec"])


def test_a_model_shows_who_became_it_and_by_how_much(control_plane: ControlPlane, stage: Stage) -> None:
    stage.create(model_spec())
    started(stage)
    stage.report(JOB, phase="Succeeded", step=100, artifact=artifact(), **figures())
    stage.play(RAY_JOB, JOB, "Succeeded")
    until(lambda: "current" in stage.status(DIFFUSION_MODEL, "best"))
    line = shown(control_plane, stage, "dm", "best")
    assert line["CURRENT"].startswith(f"{JOB}-")
    assert "%" in line["SCORE"]


def test_what_is_deleted_takes_everything_with_it(control_plane: ControlPlane, stage: Stage) -> None:
    started(stage)
    stage.report(JOB, phase="Training", step=1)
    control_plane.kubectl("delete", "ftj", JOB, "-n", stage.namespace)
    kinds = "ftj,ftr,rayjobs,networkpolicies"
    until(lambda: not control_plane.kubectl("get", kinds, "-n", stage.namespace).strip())


def test_times_in_a_status_are_those_of_what_happened(stage: Stage) -> None:
    started(stage)
    until(lambda: stage.phase(FINE_TUNE_JOB, JOB) == "Running")
    status = stage.status(FINE_TUNE_JOB, JOB)
    begun = datetime.fromisoformat(status["startTime"])
    changed = [datetime.fromisoformat(one["lastTransitionTime"]) for one in status["conditions"]]
    assert all(time >= begun for time in changed)


def test_the_operator_says_what_it_does_in_figures(operator: OperatorProcess, stage: Stage) -> None:
    started(stage)
    until(lambda: stage.phase(FINE_TUNE_JOB, JOB) == "Running")
    page = operator.metrics()
    assert 'diptych_objects{kind="FineTuneJob",phase="Running"}' in page
    assert "diptych_leader 1.0" in page
    assert operator.get("healthz") == operator.get("readyz") == 200
