"""The head pod's report on a real API server: with the reporter's own token and rights, and nothing more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.control_plane import ControlPlane
from cluster.objects import Values, reference
from diptych_api.diffusionmodel import ModelPointer
from diptych_api.errors import RetryLater
from diptych_api.fields import API_VERSION
from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import REPORT_MANAGER, REPORTER_ACCOUNT
from diptych_api.report import Report
from diptych_api.wire import from_wire
from diptych_operator.manifests.accounts import accounts
from diptych_training.api_server import ApiServer
from diptych_training.pod import standing
from diptych_training.pod_report import manifest, report_path
from support.recorded_run import recorded, report
from support.rule_examples import MINIMAL
from support.waiting import until

pytestmark = pytest.mark.integration


class HeadPod:
    """A job, and its head pod as the API server knows it: by the token in its folder."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path) -> None:
        for each in accounts(namespace):
            plane.api.apply(each)
        target = reference(API_VERSION, "FineTuneJob", "noto", namespace) | {"spec": MINIMAL["FineTuneJob"]}
        self.stored = plane.api.create(target)
        self.job, self.namespace = from_wire(FineTuneJob, self.stored), namespace
        (folder / "token").write_text(plane.token_for(namespace, REPORTER_ACCOUNT))
        (folder / "ca.crt").write_bytes(plane.authority.certificate.read_bytes())
        self.server = ApiServer(plane.url, folder)
        self.path = report_path(self.job, namespace)

    def say(self, said: Report, attempt: int = 1) -> None:
        """Apply a report as the program does."""
        self.server.apply(self.path, manifest(self.job, self.namespace, said, attempt), REPORT_MANAGER)

    @property
    def report(self) -> Values:
        """Where the report is."""
        return reference(API_VERSION, "FineTuneReport", "noto", self.namespace)


@pytest.fixture
def pod(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> HeadPod:
    return HeadPod(control_plane, namespace, tmp_path)


def test_a_whole_run_is_told_and_the_last_report_stands(control_plane: ControlPlane, pod: HeadPod) -> None:
    for said in recorded():
        pod.say(said, attempt=2)
    stored = control_plane.api.read(pod.report)
    assert from_wire(Report, stored["spec"]) == said.model_copy(update={"attempt": 2})
    assert stored["metadata"]["ownerReferences"][0]["uid"] == pod.job.metadata.uid


def test_what_a_later_report_leaves_out_is_gone(control_plane: ControlPlane, pod: HeadPod) -> None:
    pod.say(report("Training", step=1, loss=0.5, message="A worker was lost: 🍎 ä"))
    assert control_plane.api.read(pod.report)["spec"]["message"] == "A worker was lost: 🍎 ä"
    pod.say(report("Training", step=2))
    assert not control_plane.api.read(pod.report)["spec"].keys() & {"loss"}


def test_the_report_goes_with_its_job(control_plane: ControlPlane, pod: HeadPod) -> None:
    pod.say(report("Training", step=1))
    control_plane.api.delete(pod.stored)
    until(lambda: not control_plane.api.is_there(pod.report))


def test_the_account_may_write_reports_of_its_namespace_and_nothing_else(
    control_plane: ControlPlane, pod: HeadPod
) -> None:
    made = manifest(pod.job, "default", report("Training"), 1)
    with pytest.raises(RetryLater, match="403"):
        pod.server.apply(report_path(pod.job, "default"), made, REPORT_MANAGER)
    job_path = control_plane.api.path(pod.stored)
    with pytest.raises(RetryLater, match="403"):
        pod.server.apply(job_path, {**pod.stored, "metadata": {"name": "noto"}}, REPORT_MANAGER)


def test_the_account_may_ask_what_a_model_stands_for(control_plane: ControlPlane, pod: HeadPod) -> None:
    assert standing(pod.server, pod.job, "best") is None
    model = control_plane.api.create(reference(API_VERSION, "DiffusionModel", "best", pod.namespace) | {"spec": {}})
    assert standing(pod.server, pod.job, "best") == ModelPointer()
    version = {"run": "noto-0123abcd", "uri": "s3://b/r", "digest": f"sha256:{'0' * 64}"}
    version["promotedAt"] = "2026-01-31T12:00:00Z"
    control_plane.api.patch(model, {"status": {"current": version}}, subresource="status")
    told = standing(pod.server, pod.job, "best")
    assert told is not None
    assert told.current is not None
    assert told.current.run == "noto-0123abcd"


def test_a_server_of_another_authority_is_not_trusted(pod: HeadPod, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(RetryLater, match="cannot be reached"):
        pod.say(report("Training", step=1))


def test_the_program_itself_tells_why_it_could_not_begin(
    control_plane: ControlPlane, pod: HeadPod, tmp_path: Path
) -> None:
    spec = MINIMAL["FineTuneJob"] | {"output": {"pvc": {"claimName": "gone"}}}
    (tmp_path / "job.json").write_text(json.dumps({**pod.stored, "spec": spec}))
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "diptych_training",
            "--job",
            "job.json",
            "--api-server",
            pod.server.url,
            "--account",
            ".",
        ],
        cwd=tmp_path,
        env=os.environ | {"DIPTYCH_REPORT": "kubernetes", "DIPTYCH_ATTEMPT": "3"},
        check=False,
    )
    told = control_plane.api.read(pod.report)["spec"]
    assert ended.returncode == 2
    assert (told["phase"], told["attempt"], told["failure"]["reason"]) == ("Failed", 3, "UnsupportedHere")
    assert "the volume 'gone' is not mounted" in told["failure"]["message"]
