"""The CRDs on a real API server: installed, explained, shown and scaled as people meet them."""

import itertools

import pytest

from cluster.control_plane import ControlPlane
from cluster.objects import Values, conditions, reference
from diptych_api.crd import DEFINITIONS, Definition
from diptych_api.fields import API_VERSION
from support.rule_examples import BASE, MINIMAL
from support.waiting import until

pytestmark = pytest.mark.integration
TIME = "2026-01-31T12:00:00Z"


def resource(kind: str, namespace: str, **spec: object) -> Values:
    return reference(API_VERSION, kind, "noto", namespace) | {"spec": MINIMAL[kind] | spec}


def shown(control_plane: ControlPlane, plural: str, namespace: str, *more: str) -> dict[str, str]:
    """Return what ``kubectl get`` prints of the only object, by column."""
    head, row = control_plane.kubectl("get", plural, "-n", namespace, *more).splitlines()
    starts = [*(head.index(f" {name}") + 1 if name != "NAME" else 0 for name in head.split()), None]
    return {head[a:b].strip(): row[a:b].strip() for a, b in itertools.pairwise(starts)}


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.kind)
def test_the_api_server_serves_every_kind(control_plane: ControlPlane, definition: Definition) -> None:
    name = f"{definition.plural}.diptych.dev"
    crd = control_plane.api.read(reference("apiextensions.k8s.io/v1", "CustomResourceDefinition", name))
    assert conditions(crd) == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("finetunejob.spec.lora.rank", ["LoRA rank is the width of the update; 4 to 64 are usual.", "Default: 16."]),
        ("ftj.spec.activeDeadlineSeconds", ["in seconds"]),
        ("dd.spec.adapters.strength", ["Factor of the update where a request names none."]),
        ("diffusionmodel.spec.pin", ["Run that the name stands for"]),
        ("ftj.status.progress.etaSeconds", ["Estimated seconds"]),
    ],
)
def test_kubectl_explains_fields(control_plane: ControlPlane, path: str, texts: list[str]) -> None:
    told = " ".join(control_plane.kubectl("explain", path).split())
    assert [text for text in texts if text not in told] == []


def test_kubectl_shows_how_far_a_job_is(control_plane: ControlPlane, namespace: str) -> None:
    job = control_plane.api.create(resource("FineTuneJob", namespace, promotion={"model": "noto"}))
    progress = {"step": 71, "totalSteps": 100, "percent": 71, "loss": 0.113}
    columns = {"progress": "71%", "eta": "41s", "base": "tiny-emoji"}
    status = {"phase": "Running", "attempt": 1, "gpus": 1, "progress": progress, "columns": columns}
    control_plane.api.patch(job, {"status": status}, subresource="status")
    seen = shown(control_plane, "ftj", namespace)
    assert seen.pop("AGE")
    assert seen == {
        "NAME": "noto",
        "PHASE": "Running",
        "PROGRESS": "71%",
        "ETA": "41s",
        "LOSS": "0.113",
        "ATTEMPT": "1",
        "GPUS": "1",
        "MODEL": "noto",
    }
    assert shown(control_plane, "ftj", namespace, "-o", "wide")["BASE"] == "tiny-emoji"


def test_kubectl_shows_whether_a_deployment_serves(control_plane: ControlPlane, namespace: str) -> None:
    deployment = control_plane.api.create(resource("DiffusionDeployment", namespace))
    ready = {"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": TIME}
    columns = {"replicas": "2/2", "adapters": "3/3", "p50": "1.9s", "base": "tiny-emoji"}
    status = {"conditions": [ready], "columns": columns, "url": {"http": "http://noto.default:8000"}}
    control_plane.api.patch(deployment, {"status": status}, subresource="status")
    seen = shown(control_plane, "dd", namespace)
    assert seen.pop("AGE")
    assert list(seen.values()) == ["noto", "True", "2/2", "3/3", "1.9s", "http://noto.default:8000"]


def test_kubectl_waits_for_a_condition(control_plane: ControlPlane, namespace: str) -> None:
    job = control_plane.api.create(resource("FineTuneJob", namespace))
    done = {"type": "Succeeded", "status": "True", "reason": "Trained", "message": "", "lastTransitionTime": TIME}
    control_plane.api.patch(job, {"status": {"conditions": [done]}}, subresource="status")
    told = control_plane.kubectl("wait", "--for=condition=Succeeded", "ftj/noto", "-n", namespace, "--timeout=180s")
    assert "condition met" in told


def test_kubectl_scales_a_deployment(control_plane: ControlPlane, namespace: str) -> None:
    deployment = control_plane.api.create(resource("DiffusionDeployment", namespace, replicas=1))
    control_plane.kubectl("scale", "dd/noto", "--replicas=3", "-n", namespace)
    assert control_plane.api.read(deployment)["spec"]["replicas"] == 3


def test_one_word_lists_everything_of_diptych(control_plane: ControlPlane, namespace: str) -> None:
    for kind in ("FineTuneJob", "DiffusionDeployment", "DiffusionModel"):
        control_plane.api.create(resource(kind, namespace))
    told = control_plane.kubectl("get", "diptych", "-n", namespace, "-o", "name").split()
    assert told == [f"{kind}.diptych.dev/noto" for kind in ("diffusiondeployment", "diffusionmodel", "finetunejob")]


def test_writes_of_the_spec_leave_the_status_alone_and_the_other_way_round(
    control_plane: ControlPlane, namespace: str
) -> None:
    api = control_plane.api
    job = api.create(resource("FineTuneJob", namespace, base=BASE) | {"status": {"phase": "Succeeded"}})
    assert "phase" not in job.get("status", {})
    written = api.patch(job, {"status": {"phase": "Running"}, "spec": {"suspend": True}}, subresource="status")
    assert (written["status"]["phase"], written["spec"].get("suspend")) == ("Running", None)
    assert written["metadata"]["generation"] == 1


def test_what_a_job_owns_goes_with_it(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    job = api.create(resource("FineTuneJob", namespace))
    report = resource("FineTuneReport", namespace)
    owner = {"apiVersion": API_VERSION, "kind": "FineTuneJob", "name": "noto", "uid": job["metadata"]["uid"]}
    report["metadata"]["ownerReferences"] = [owner]
    api.create(report)
    api.delete(job)
    until(lambda: not api.is_there(report))
