"""The RayJob of one attempt of a job."""

from typing import Final

from diptych_api.fields import API_GROUP
from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import QUEUE_LABEL, QUEUE_PRIORITY_LABEL, ray_job_name
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import RAY_JOB, Manifest
from diptych_operator.manifests.job_pods import JOB_FILE, JOB_FOLDER, job_head, job_worker
from diptych_operator.manifests.metadata import head
from diptych_operator.manifests.pods import pod_template

ATTEMPT_ANNOTATION: Final = f"{API_GROUP}/attempt"
ENTRYPOINT: Final = f"python -m diptych_training --job {JOB_FOLDER}/{JOB_FILE}"
"""Constant: KubeRay puts it into a shell line."""
SPARE_S: Final = 60
"""KubeRay's own deadline is later than ours by this: it is there for when the operator is not."""
WORKERS: Final = "workers"


def ray_job(job: FineTuneJob, attempt: int, defaults: Defaults, seconds_left: float | None = None) -> Manifest:
    """Return the manifest of an attempt; `seconds_left` is what remains of the job's deadline.

    Raises:
        SpecInvalid: where the spec cannot become pods.

    """
    spec = job.spec
    body: Manifest = {
        "entrypoint": ENTRYPOINT,
        "submissionMode": "HTTPMode",
        "backoffLimit": 0,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": spec.ttl_seconds_after_finished or 0,
        "metadata": {"job": job.metadata.name, "uid": job.metadata.uid or "", "attempt": str(attempt)},
        "rayClusterSpec": _cluster(job, attempt, defaults),
    }
    if spec.pre_running_deadline_seconds is not None:
        body["preRunningDeadlineSeconds"] = spec.pre_running_deadline_seconds
    if seconds_left is not None:
        body["activeDeadlineSeconds"] = min(max(int(seconds_left), 0) + SPARE_S, 2**31 - 1)
    return {
        **head(
            RAY_JOB,
            job,
            ray_job_name(job.metadata.name),
            annotations={ATTEMPT_ANNOTATION: str(attempt)},
            extra_labels=queue_labels(job),
        ),
        "spec": body,
    }


def _cluster(job: FineTuneJob, attempt: int, defaults: Defaults) -> Manifest:
    resources = job.spec.resources
    group: Manifest = {
        "groupName": WORKERS,
        "replicas": resources.workers,
        "minReplicas": resources.workers,
        "maxReplicas": resources.workers,
        "rayStartParams": {"num-gpus": str(resources.gpus_per_worker)},
        "template": pod_template(job_worker(job), resources.pods, defaults),
    }
    return {
        "rayVersion": defaults.ray_version,
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
            "template": pod_template(job_head(job, attempt, defaults), resources.pods, defaults),
        },
        "workerGroupSpecs": [group],
    }


def queue_labels(job: FineTuneJob) -> dict[str, str]:
    """Return Kueue's labels, which must be there when the RayJob is made."""
    given = job.metadata.labels
    return {name: given[name] for name in (QUEUE_LABEL, QUEUE_PRIORITY_LABEL) if name in given}
