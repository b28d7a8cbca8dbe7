"""`diptych logs NAME`: what a job of a cluster says, now or as it comes; or what its head pod printed."""

import json
import time
from collections.abc import Iterator
from typing import Final

import typer

from diptych_api.errors import UserError
from diptych_api.names import JOB_LABEL, report_name
from diptych_api.report import Report
from diptych_cli.cluster import Cluster, connect
from diptych_cli.cluster_job import ClusterJob, job_named
from diptych_cli.cluster_story import JobLines, closing
from diptych_cli.cluster_watch import changes, together
from diptych_cli.where import Where
from diptych_operator.kinds import FINE_TUNE_JOB, FINE_TUNE_REPORT, POD, Manifest

HEAD: Final = "ray.io/node-type=head"


def print_job_log(target: str, where: Where, *, follow: bool, pod: bool, as_json: bool) -> None:
    """Print what a job says, and with ``follow`` go on until it ends or is suspended. Raises DiptychError."""
    name, where = job_named(target, where)
    cluster = connect(where)
    job = ClusterJob.of(cluster.get(FINE_TUNE_JOB, name))
    if pod:
        _print_pod_log(cluster, name, follow=follow)
        return
    teller = _Teller(JobLines(name), as_json=as_json)
    if follow:
        job = _follow(cluster, job, teller)
    else:
        teller.job(job)
        teller.report(job.report(cluster.find(FINE_TUNE_REPORT, report_name(name))))
    teller.end(job)


def _follow(cluster: Cluster, job: ClusterJob, teller: "_Teller") -> ClusterJob:
    """Tell what comes, and return the job as it ended. Raises UserError when it is deleted meanwhile."""
    name, pending, heard = job.name, None, time.monotonic()
    streams = {
        "job": changes(cluster, FINE_TUNE_JOB, name, heard=heard),
        "report": changes(cluster, FINE_TUNE_REPORT, report_name(name), heard=heard),
    }
    for what, found in together(streams):
        if what == "report":
            pending = found
            teller.report(job.report(found))
            continue
        job = _still_there(found, job)
        teller.job(job)
        teller.report(job.report(pending))
        if job.rests:
            break
    teller.report(job.report(cluster.find(FINE_TUNE_REPORT, report_name(name))))
    return job


def _still_there(found: Manifest | None, before: ClusterJob) -> ClusterJob:
    job = None if found is None else ClusterJob.of(found)
    if job is None or job.uid != before.uid:
        raise UserError(f"{before.name} was deleted.")
    return job


class _Teller:
    """Prints lines for people, or each report and each state of the job as JSON."""

    def __init__(self, lines: JobLines, *, as_json: bool) -> None:
        self.lines = lines
        self.as_json = as_json
        self.told: set[str] = set()

    def job(self, job: ClusterJob) -> None:
        if self.as_json:
            return
        self._print(self.lines.after_job(job))

    def report(self, report: Report | None) -> None:
        if report is None:
            return
        if not self.as_json:
            self._print(self.lines.after_report(report))
        elif (line := report.model_dump_json(by_alias=True, exclude_none=True)) not in self.told:
            self.told = {line}
            typer.echo(line)

    def end(self, job: ClusterJob) -> None:
        """Say how the job ended; as JSON, its whole status on one line."""
        if self.as_json:
            typer.echo(job.status.model_dump_json(by_alias=True, exclude_none=True))
        else:
            self._print(closing(job.name, job.status))

    def _print(self, lines: Iterator[str]) -> None:
        for line in lines:
            typer.echo(line)


def _print_pod_log(cluster: Cluster, name: str, *, follow: bool) -> None:
    """Print the log of the newest head pod's container of Ray. Raises UserError when there is none."""
    selector = f"{JOB_LABEL}={name},{HEAD}"
    pods = cluster.list(POD, {"labelSelector": selector})["items"]
    if not pods:
        hint = f"Its pods come with an attempt and go with it. What it said is in: diptych logs {name}"
        raise UserError(f"{name} has no head pod in namespace {cluster.namespace}.", hint=hint)
    newest = max(pods, key=lambda each: str(each["metadata"]["creationTimestamp"]))
    pod, container = newest["metadata"]["name"], newest["spec"]["containers"][0]["name"]
    query = {"container": container, "follow": json.dumps(follow)}
    path = POD.path(cluster.namespace, pod, "log")
    for line in cluster.lines(path, f"log of pod {pod}", query, read_s=None):
        typer.echo(line.decode(errors="replace").rstrip("\n"))
