"""The commands on a real API server; the test says in the status what the operator would."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.objects import Values, reference
from diptych_api.fields import API_VERSION
from diptych_api.finetunejob import FineTuneJob
from diptych_api.report import Report
from diptych_api.wire import from_wire
from diptych_training.pod_report import manifest
from support.recorded_run import diptych, recorded
from support.rule_examples import MINIMAL
from support.waiting import until

pytestmark = pytest.mark.integration
SUCCEEDED = list(recorded())[-1]
VERSION = {
    "uri": "file:///runs/a",
    "digest": f"sha256:{'0' * 64}",
    "promotedAt": "2026-01-31T12:00:00Z",
    "metrics": [],
}


class Cluster:
    """The commands and the API server, as seen from one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.api, self.namespace = plane.api, namespace
        self.options = ["--kubeconfig", str(plane.admin_kubeconfig), "-n", namespace]

    def make(self, kind: str, name: str = "noto", **spec: Any) -> Values:
        """Make an object with the least that its kind needs."""
        made = reference(API_VERSION, kind, name, self.namespace) | {"spec": MINIMAL[kind] | spec}
        return self.api.create(made)

    def say(self, target: Values, **status: Any) -> None:
        """Write an object's status, as the operator does."""
        self.api.patch(target, {"status": status}, subresource="status")

    def report(self, job: Values, report: Report, attempt: int = 1) -> None:
        """Apply the report of a job, as its head pod does."""
        owner = from_wire(FineTuneJob, {**job, "status": {}})
        self.api.apply(manifest(owner, self.namespace, report, attempt), manager="diptych-report")

    def read(self, target: Values) -> Values:
        """Return an object as stored."""
        return self.api.read(target)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; return exit code, output and errors."""
        ended = diptych(*arguments, *self.options)
        return ended.exit_code, ended.stdout, ended.stderr

    @contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a command in a process of its own, which does not outlive the body."""
        command = [str(Path(sys.executable).with_name("diptych")), *arguments, *self.options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Cluster:
    return Cluster(control_plane, namespace)


def condition(kind: str, status: str = "True", generation: int = 1, message: str = "") -> Values:
    moment = "2026-01-31T12:00:00Z"
    told = {"type": kind, "status": status, "reason": "Because", "message": message, "lastTransitionTime": moment}
    return told | {"observedGeneration": generation}


def test_get_shows_what_kubectl_shows(cluster: Cluster, control_plane: ControlPlane) -> None:
    job = cluster.make("FineTuneJob", promotion={"model": "noto"})
    cluster.say(job, phase="Running", attempt=1, columns={"progress": "71%", "eta": "41s"})
    code, out, _ = cluster.run("get", "jobs")
    assert code == 0
    seen = control_plane.kubectl("get", "ftj", "-n", cluster.namespace)
    assert out.split()[:-1] == seen.split()[:-1], "all but the age, which goes on"
    assert cluster.run("get", "dd")[1].startswith(f"No deployments in namespace {cluster.namespace}.")


def test_get_lists_all_kinds_and_shows_one_as_json(cluster: Cluster) -> None:
    cluster.make("FineTuneJob")
    cluster.make("DiffusionModel", "style")
    first, second = cluster.run("get")[1].split("\n\n")
    assert (first.split()[0], first.splitlines()[1].split()[0]) == ("NAME", "noto")
    assert second.splitlines()[1].split()[0] == "style"
    assert json.loads(cluster.run("get", "job", "noto", "--json")[1])["kind"] == "FineTuneJob"
    assert [m["metadata"]["name"] for m in json.loads(cluster.run("get", "--json")[1])["models"]] == ["style"]
    assert cluster.run("get", "-A", "models")[1].split()[:2] == ["NAMESPACE", "NAME"]


def test_what_is_not_there_is_named(cluster: Cluster) -> None:
    code, _, told = cluster.run("logs", "gone")
    assert code == 2
    assert f"There is no FineTuneJob gone in namespace {cluster.namespace}." in told


def test_suspend_and_resume_set_the_spec(cluster: Cluster) -> None:
    job = cluster.make("FineTuneJob")
    assert cluster.run("suspend", "noto")[0] == 0
    assert cluster.read(job)["spec"]["suspend"] is True
    cluster.say(job, phase="Suspended", attempt=1)
    assert "goes on from its last checkpoint" in cluster.run("resume", "noto")[1]
    assert cluster.read(job)["spec"]["suspend"] is False


def test_resume_gives_a_failed_job_one_more_attempt(cluster: Cluster) -> None:
    job = cluster.make("FineTuneJob")
    cluster.say(job, phase="Failed", attempt=3)
    assert "one more attempt after attempt 3" in cluster.run("resume", "noto")[1]
    assert cluster.read(job)["metadata"]["annotations"] == {"diptych.dev/retry": "3"}


@pytest.mark.parametrize("phase", ["Succeeded", "Cancelled"])
def test_what_is_over_cannot_go_on(cluster: Cluster, phase: str) -> None:
    cluster.say(cluster.make("FineTuneJob"), phase=phase, attempt=1)
    code, _, told = cluster.run("resume", "noto")
    assert code == 2
    assert "under another name" in told


def test_cancel_asks_the_operator_and_keeps_the_job(cluster: Cluster) -> None:
    job = cluster.make("FineTuneJob")
    assert cluster.run("cancel", "noto")[0] == 0
    assert cluster.read(job)["metadata"]["annotations"] == {"diptych.dev/cancel": "true"}
    cluster.say(job, phase="Succeeded")
    assert cluster.run("cancel", "noto")[0] == 2


def test_a_yaml_names_its_job_when_a_cluster_is_named(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.make("FineTuneJob")
    (tmp_path / "job.yaml").write_text(
        json.dumps({key: job[key] for key in ("apiVersion", "kind", "metadata", "spec")})
    )
    assert cluster.run("suspend", str(tmp_path / "job.yaml"))[0] == 0
    assert cluster.read(job)["spec"]["suspend"] is True


def test_logs_tell_the_report_the_attempts_and_the_failure(cluster: Cluster) -> None:
    job = cluster.make("FineTuneJob")
    ended = [{"number": 1, "reason": "OOMKilled", "fromStep": 0, "toStep": 90}]
    failure = {"reason": "GpuOutOfMemory", "message": "23.4 of 24 GiB used.", "hint": "batchSize: 2 fits."}
    cluster.say(job, phase="Failed", attempt=2, attempts=ended, lastFailure=failure)
    cluster.report(job, list(recorded())[6], attempt=2)
    assert cluster.run("logs", "noto")[1].splitlines() == [
        "attempt 1 ended: OOMKilled · step 0 to 90",
        "noto · Failed · attempt 2",
        "attempt 2",
        "train 150/300 · loss 0.150 · val 0.157 (was 0.187) · 31.2 img/s · 1:06 left",
        "failed: GpuOutOfMemory: 23.4 of 24 GiB used.",
        "hint:   batchSize: 2 fits.",
        "next: diptych resume noto   (one more attempt, from the last checkpoint)",
    ]
    told = [json.loads(line) for line in cluster.run("logs", "noto", "--json")[1].splitlines()]
    assert [line["phase"] for line in told] == ["Training", "Failed"]


def test_following_tells_what_comes_until_the_job_ends(cluster: Cluster) -> None:
    job = cluster.make("FineTuneJob")
    waits = condition("Provisioned", "False", message="0/3 nodes have a free GPU.")
    cluster.say(job, phase="Provisioning", attempt=1, conditions=[waits])
    with cluster.started("logs", "noto", "-f") as process:
        assert process.stdout is not None
        seen = [process.stdout.readline().strip()]
        cluster.say(job, phase="Running", conditions=[condition("Provisioned")])
        seen.append(process.stdout.readline().strip())
        for said in recorded():
            cluster.report(job, said)
        cluster.say(job, phase="Succeeded", artifact=SUCCEEDED.model_dump(mode="json", by_alias=True)["artifact"])
        rest, _ = process.communicate(timeout=120)
    assert seen == ["noto · Provisioning · 0/3 nodes have a free GPU.", "noto · Running"]
    assert process.returncode == 0
    assert "✓ done · artifact 912.3 kB" in rest
    assert rest.splitlines()[-2] == "artifact: file:///tmp/run/artifact"


def test_following_outlives_a_restart_of_the_api_server(cluster: Cluster, control_plane: ControlPlane) -> None:
    job = cluster.make("FineTuneJob")
    with cluster.started("logs", "noto", "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "noto · Pending\n"
        control_plane.stop_apiserver()
        control_plane.start_apiserver()
        until(control_plane.api.is_ready)
        cluster.say(job, phase="Cancelled")
        rest, _ = process.communicate(timeout=120)
    assert (process.returncode, rest) == (0, "noto · Cancelled\n")


def test_following_a_job_that_is_deleted_ends(cluster: Cluster) -> None:
    job = cluster.make("FineTuneJob")
    with cluster.started("logs", "noto", "-f") as process:
        assert process.stdout is not None
        process.stdout.readline()
        cluster.api.delete(job)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "noto was deleted." in told


def test_waiting_ends_with_the_condition(cluster: Cluster) -> None:
    job = cluster.make("FineTuneJob")
    with cluster.started("wait", "noto", "--timeout", "100s") as process:
        cluster.say(job, phase="Running", conditions=[condition("Succeeded", "False")])
        cluster.say(job, phase="Succeeded", conditions=[condition("Succeeded")])
        told, _ = process.communicate(timeout=120)
    assert (process.returncode, told) == (0, "✓ noto has succeeded.\n")


def test_waiting_for_what_failed_tells_why(cluster: Cluster) -> None:
    failure = {"reason": "NaNLoss", "message": "The loss became nan.", "hint": "Lower the rate."}
    cluster.say(cluster.make("FineTuneJob"), phase="Failed", lastFailure=failure)
    code, _, told = cluster.run("wait", "noto")
    assert code == 1
    assert "NaNLoss: The loss became nan." in told
    assert "Lower the rate." in told


def test_waiting_has_an_end(cluster: Cluster) -> None:
    cluster.say(cluster.make("FineTuneJob"), phase="Running")
    code, _, told = cluster.run("wait", "noto", "--timeout", "0s")
    assert code == 75
    assert "noto has not succeeded after 0 s; its phase is Running." in told


def test_a_failed_job_that_was_resumed_is_waited_for(cluster: Cluster) -> None:
    job = cluster.make("FineTuneJob")
    cluster.say(job, phase="Failed", attempt=3)
    cluster.run("resume", "noto")
    assert cluster.run("wait", "noto", "--timeout", "0s")[0] == 75
    with cluster.started("logs", "noto", "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "noto · Failed · attempt 3\n"
        cluster.say(job, phase="Running", attempt=4)
        assert process.stdout.readline() == "noto · Running · attempt 4\n"


def test_ready_is_believed_of_the_newest_spec_alone(cluster: Cluster) -> None:
    deployment = cluster.make("DiffusionDeployment")
    cluster.say(deployment, conditions=[condition("Ready", generation=1)])
    assert cluster.run("wait", "noto", "--for", "ready", "--timeout", "60s")[0] == 0
    cluster.api.patch(deployment, {"spec": {"suspend": True}})
    assert cluster.run("wait", "noto", "--for", "ready", "--timeout", "0s")[0] == 75


def test_a_model_is_pinned_rolled_back_and_let_go(cluster: Cluster) -> None:
    model = cluster.make("DiffusionModel")
    current, previous = VERSION | {"run": "noto-8f21ac04"}, VERSION | {"run": "noto-19be0211"}
    cluster.say(model, current=current, previous=previous, history=[current, previous])
    assert cluster.run("promote", "noto", "noto-8f21ac04")[0] == 0
    assert cluster.read(model)["spec"]["pin"] == "noto-8f21ac04"
    assert "stands for noto-19be0211" in cluster.run("promote", "noto", "--rollback")[1]
    assert cluster.read(model)["spec"]["pin"] == "noto-19be0211"
    assert cluster.run("promote", "noto", "--unpin")[0] == 0
    assert "pin" not in cluster.read(model)["spec"]


def test_a_run_of_a_job_can_be_promoted_and_a_typo_cannot(cluster: Cluster) -> None:
    model, job = cluster.make("DiffusionModel"), cluster.make("FineTuneJob")
    artifact = SUCCEEDED.model_dump(mode="json", by_alias=True)["artifact"]
    cluster.say(job, phase="Succeeded", run="file:///runs/team/noto-0badcafe", artifact=artifact)
    assert cluster.run("promote", "noto", "noto-0badcafe")[0] == 0
    assert cluster.read(model)["spec"]["pin"] == "noto-0badcafe"
    code, _, told = cluster.run("promote", "noto", "noto-00000000")
    assert code == 2
    assert "Runs: noto-0badcafe." in told
    assert cluster.run("promote", "noto")[0] == 2


def test_an_account_without_rights_is_told_which(control_plane: ControlPlane, namespace: str) -> None:
    ended = diptych("get", "jobs", "--kubeconfig", control_plane.kubeconfig_for(namespace, "default"))
    assert ended.exit_code == 2
    assert "cannot list resource" in ended.stderr


def test_a_pod_that_is_not_there_has_no_log(cluster: Cluster) -> None:
    cluster.make("FineTuneJob")
    code, _, told = cluster.run("logs", "noto", "--pod")
    assert code == 2
    assert "noto has no head pod" in told
