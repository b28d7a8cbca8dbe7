"""A report becomes the FineTuneReport of its job, within the bounds that the API server checks."""

import json
import math

import pytest
from jsonschema import Draft202012Validator

from diptych_api.crd import DEFINITIONS, resource_schema
from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJob
from diptych_api.finetunereport import FineTuneReport
from diptych_api.report import MetricValue, Report
from diptych_api.wire import from_wire
from diptych_training.pod_report import check_identity, fitted, manifest, report_path
from support.recorded_run import recorded, report

JOB = from_wire(
    FineTuneJob,
    {
        "apiVersion": "diptych.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "noto-style", "namespace": "team", "uid": "0af1", "generation": 1},
        "spec": {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}},
    },
)
SCHEMA = Draft202012Validator(
    next(resource_schema(definition) for definition in DEFINITIONS if definition.model is FineTuneReport)
)


@pytest.mark.parametrize("said", list(recorded()), ids=lambda said: f"{said.time:%H%M%S}")
def test_every_report_of_a_run_is_what_the_schema_of_the_cluster_allows(said: Report) -> None:
    made = manifest(JOB, "team", said, attempt=3)
    SCHEMA.validate(json.loads(json.dumps(made, allow_nan=False)))
    assert made["spec"]["attempt"] == 3


def test_the_report_belongs_to_its_job_and_goes_with_it() -> None:
    metadata = manifest(JOB, "team", report("Training"), attempt=1)["metadata"]
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("FineTuneJob", "noto-style", "0af1")
    assert metadata["labels"]["diptych.dev/job"] == "noto-style"
    assert metadata["labels"]["diptych.dev/owner-uid"] == "0af1"
    assert report_path(JOB, "team") == "/apis/diptych.dev/v1alpha1/namespaces/team/finetunereports/noto-style"


def test_a_job_without_uid_can_have_no_report() -> None:
    with pytest.raises(SpecInvalid, match=r"metadata\.uid is missing"):
        check_identity(JOB.model_copy(update={"metadata": JOB.metadata.model_copy(update={"uid": None})}))


def test_long_sentences_are_cut_and_the_rest_is_kept() -> None:
    said = report("Training", step=4).model_copy(update={"message": "word " * 1000})
    assert fitted(said).message == f"{said.message[:1023]}…"
    assert fitted(said).step == 4


def test_figures_that_are_no_numbers_are_left_out_alone() -> None:
    metrics = [
        MetricValue(name="ValidationLoss", base=0.2).model_copy(update={"tuned": math.nan}),
        MetricValue(name="StyleDistance", base=0.4, tuned=0.3),
    ]
    said = report("Training", val_loss=0.2).model_copy(update={"loss": math.inf, "metrics": metrics})
    kept = fitted(said)
    assert (kept.loss, kept.val_loss) == (None, 0.2)
    assert [(m.base, m.tuned) for m in kept.metrics] == [(0.2, None), (0.4, 0.3)]


def test_what_cannot_be_mended_costs_its_field_and_not_the_report() -> None:
    succeeded = list(recorded())[-1]
    assert succeeded.artifact is not None
    far = succeeded.artifact.model_copy(update={"uri": "x" * 2000})
    kept = fitted(succeeded.model_copy(update={"artifact": far}))
    assert (kept.phase, kept.step, kept.artifact) == ("Succeeded", 300, None)
