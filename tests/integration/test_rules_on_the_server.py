"""The rules of the resources as the API server keeps them, by server dry-run."""

import pytest

from cluster.control_plane import ControlPlane
from cluster.objects import Values, reference
from cluster.rest import Refused
from diptych_api.crd import DEFINITIONS, fixed_fields
from diptych_api.fields import API_VERSION
from support.rule_examples import EXAMPLES, MINIMAL, RuleExample

pytestmark = pytest.mark.integration
each_example = pytest.mark.parametrize(
    "example", EXAMPLES, ids=[f"{number}-{e.kind}-{e.message}" for number, e in enumerate(EXAMPLES)]
)
# What a job has, and what somebody would like it to have. None: the field is left out.
JOB_CHANGES: dict[str, tuple[object, object]] = {
    "preset": (None, "lora-r4"),
    "base": ({"builtin": "tiny-emoji"}, {"uri": "s3://bucket/base"}),
    "method": ("LoRA", "FullUNet"),
    "lora": ({"rank": 4}, {"rank": 8}),
    "unet": (None, {}),
    "dataset": ({"source": {"uri": "s3://bucket/a"}}, {"source": {"uri": "s3://bucket/b"}}),
    "training": ({"steps": 100}, {"steps": 200}),
    "evaluation": (None, {"seed": 2}),
    "promotion": ({"model": "noto"}, None),
    "tracking": (None, {"uri": "http://mlflow:5000"}),
    "export": (None, {"formats": ["PEFT"]}),
    "publish": (None, {"huggingFaceRepo": "someone/noto"}),
    "output": ({"uri": "s3://bucket/runs"}, {"uri": "s3://bucket/others"}),
    "resources": ({"workers": 1}, {"workers": 2}),
    "retry": ({"backoffLimit": 1}, {"backoffLimit": 5}),
    "activeDeadlineSeconds": (60, 120),
    "preRunningDeadlineSeconds": (60, None),
    "managedBy": ("diptych.dev/operator", "kueue.x-k8s.io/multikueue"),
}
FREE_CHANGES = {"suspend": True, "ttlSecondsAfterFinished": 60, "maxGpuSeconds": 3600}


def in_namespace(values: Values) -> Values:
    return values | {"metadata": values["metadata"] | {"namespace": "default"}}


@each_example
def test_what_keeps_a_rule_is_accepted(control_plane: ControlPlane, example: RuleExample) -> None:
    resource = in_namespace(example.resource(broken=False))
    stored = control_plane.api.create(resource, dry_run=True)
    assert stored["metadata"]["uid"]


@each_example
def test_what_breaks_a_rule_is_refused_with_its_message(control_plane: ControlPlane, example: RuleExample) -> None:
    with pytest.raises(Refused) as refused:
        control_plane.api.create(in_namespace(example.resource(broken=True)), dry_run=True)
    assert refused.value.reason == "Invalid"
    assert example.message in refused.value.message


def test_every_fixed_field_of_a_job_is_tried() -> None:
    assert set(JOB_CHANGES) == set(fixed_fields(DEFINITIONS[0].model))


@pytest.mark.parametrize("field", JOB_CHANGES)
def test_a_fixed_field_of_a_job_cannot_change(control_plane: ControlPlane, namespace: str, field: str) -> None:
    before, after = JOB_CHANGES[field]
    spec = MINIMAL["FineTuneJob"] | ({field: before} if before is not None else {})
    job = control_plane.api.create(reference(API_VERSION, "FineTuneJob", "noto", namespace) | {"spec": spec})
    with pytest.raises(Refused) as refused:
        control_plane.api.request("PUT", control_plane.api.path(job), job | {"spec": spec | {field: after}})
    assert f"spec.{field} cannot change once the object exists; create another" in refused.value.message


@pytest.mark.parametrize("field", FREE_CHANGES)
def test_a_free_field_of_a_job_changes(control_plane: ControlPlane, namespace: str, field: str) -> None:
    job = reference(API_VERSION, "FineTuneJob", "noto", namespace) | {"spec": MINIMAL["FineTuneJob"]}
    control_plane.api.create(job)
    changed = control_plane.api.patch(job, {"spec": {field: FREE_CHANGES[field]}})
    assert changed["spec"][field] == FREE_CHANGES[field]
    assert changed["metadata"]["generation"] == 2


def test_only_the_owner_of_a_deployment_is_fixed(control_plane: ControlPlane, namespace: str) -> None:
    deployment = reference(API_VERSION, "DiffusionDeployment", "noto", namespace)
    control_plane.api.create(deployment | {"spec": MINIMAL["DiffusionDeployment"]})
    changed = control_plane.api.patch(deployment, {"spec": {"replicas": 2, "base": {"builtin": "tiny-emoji"}}})
    assert changed["spec"]["replicas"] == 2
    with pytest.raises(Refused, match="managedBy cannot change once the object exists"):
        control_plane.api.patch(deployment, {"spec": {"managedBy": "kueue.x-k8s.io/multikueue"}})


def test_a_mistyped_field_is_refused_by_kubectl_with_its_name(control_plane: ControlPlane) -> None:
    job = in_namespace(EXAMPLES[0].resource(broken=False))
    job["spec"]["traning"] = {"steps": 3}
    with pytest.raises(Refused, match=r'unknown field "spec\.traning"'):
        control_plane.api.request("POST", control_plane.api.path(job).rpartition("/")[0], job, fieldValidation="Strict")
