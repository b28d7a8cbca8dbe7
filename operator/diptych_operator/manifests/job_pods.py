"""The pods of a job: the head, whose driver runs the program, and the workers, which train."""

import json
from typing import Final

from diptych_api.errors import SpecInvalid
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.names import JOB_ANNOTATION, POD_ACCOUNT, REPORTER_ACCOUNT
from diptych_api.presets import resolve
from diptych_api.runstore import run_name
from diptych_api.wire import to_wire
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.environment import plain
from diptych_operator.manifests.job_secrets import secret_variables
from diptych_operator.manifests.job_volumes import job_mounts, mount_folders
from diptych_operator.manifests.metadata import labels_of
from diptych_operator.manifests.pods import PodShape
from diptych_operator.manifests.service_token import service_token
from diptych_operator.manifests.volumes import Mount

JOB_FOLDER: Final = "/etc/diptych"
JOB_FILE: Final = "job.json"
PRE_STOP: Final = ("python", "-m", "diptych_training", "--stop", "--timeout")
"""Asks those who train in a pod to save and stop, and waits until they did."""
STATION: Final = "/tmp/diptych"  # noqa: S108 - a folder of the pod's own
LOG: Final = "/proc/1/fd/1"
"""The container's own output, so that `kubectl logs` shows what the program says."""
LARGEST_JOB: Final = 150_000
"""Bytes of the resolved job: Kubernetes takes 256 KiB of annotations, and the RayJob carries it packed as well."""
PORTS: Final = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080}


def job_head(job: FineTuneJob, attempt: int, defaults: Defaults) -> PodShape:
    """Return the head: it runs the program's driver, which alone may speak to the API server."""
    grace_s = job.spec.resources.pods.termination_grace_period_seconds
    variables = {
        "DIPTYCH_ATTEMPT": str(attempt),
        "DIPTYCH_IMAGE": image_of(job, defaults),
        "DIPTYCH_REPORT": "kubernetes",
        "DIPTYCH_RUN": run_name(job.metadata.name, job.spec),
        "DIPTYCH_LOG": LOG,
        "RAY_JOB_STOP_WAIT_TIME_S": str(grace_s),
        "RAY_task_oom_retries": "2",  # else Ray tries a task that needs too much memory again and again, for ever
    }
    return PodShape(
        account=REPORTER_ACCOUNT,
        labels=labels_of(job),
        cpus=defaults.head_cpus,
        memory=defaults.head_memory,
        bursts=True,
        annotations={JOB_ANNOTATION: resolved_job(job)},
        env=(*(plain(name, value) for name, value in variables.items()), *_variables(job)),
        mounts=(job_file(), service_token(), *job_mounts(job.spec)),
        ports=PORTS,
        pre_stop=_pre_stop(job),
    )


def job_worker(job: FineTuneJob) -> PodShape:
    """Return a worker: it has no token of any kind."""
    resources = job.spec.resources
    return PodShape(
        account=resources.pods.service_account_name or POD_ACCOUNT,
        labels=labels_of(job),
        cpus=resources.cpus_per_worker,
        memory=resources.memory_per_worker,
        gpus=resources.gpus_per_worker,
        env=_variables(job),
        mounts=job_mounts(job.spec),
        pre_stop=_pre_stop(job),
    )


def image_of(job: FineTuneJob, defaults: Defaults) -> str:
    """Return the image of the pods, for the provenance of what they make."""
    return job.spec.resources.pods.image or defaults.image


def resolved_job(job: FineTuneJob) -> str:
    """Return what the program reads: the job with its preset resolved, without what may change while it runs.

    The image stays as it was given: the name of the run depends on the spec, and a new default image must not lead to
    a new folder.
    """
    meta = job.metadata
    spec = to_wire(resolve(job.spec))
    mutable = {FineTuneJobSpec.model_fields[name].alias for name in FineTuneJobSpec.mutable}
    whole = {
        "apiVersion": job.api_version,
        "kind": job.kind,
        "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "generation": meta.generation},
        "spec": {name: value for name, value in spec.items() if name not in mutable},
    }
    text = json.dumps(whole, separators=(",", ":"))
    if (size := len(text)) > LARGEST_JOB:
        raise SpecInvalid(
            f"The spec takes {size:,} bytes; a pod can be told {LARGEST_JOB:,}.",
            hint="Shorten evaluation.prompts, or put them into a suite.",
        )
    return text


def _pre_stop(job: FineTuneJob) -> tuple[str, ...]:
    return (*PRE_STOP, str(job.spec.resources.pods.termination_grace_period_seconds))


def folders_text(job: FineTuneJob) -> str:
    """Return where volumes are, as the program reads it."""
    return json.dumps(mount_folders(job.spec), separators=(",", ":"))


def _variables(job: FineTuneJob) -> tuple[Manifest, ...]:
    ours = {"DIPTYCH_MOUNTS": folders_text(job), "DIPTYCH_STATION": STATION}
    return (*(plain(name, value) for name, value in ours.items()), *secret_variables(job.spec))


def job_file() -> Mount:
    """Return the mount of the resolved job, which is an annotation of the pod."""
    item = {"path": JOB_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{JOB_ANNOTATION}']"}}
    return Mount("job", {"downwardAPI": {"items": [item]}}, JOB_FOLDER, read_only=True)
