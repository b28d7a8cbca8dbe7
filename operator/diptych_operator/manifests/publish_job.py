"""The Kubernetes Job that publishes a run once its model was told to stand for it: one pod, without Ray."""

from typing import Final

from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import COMPONENT, JOB_ANNOTATION, POD_ACCOUNT, publisher_name
from diptych_api.runstore import run_name
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import JOB, Manifest
from diptych_operator.manifests.environment import plain
from diptych_operator.manifests.job_pods import JOB_FILE, JOB_FOLDER, job_file, job_variables, resolved_job
from diptych_operator.manifests.job_volumes import job_mounts
from diptych_operator.manifests.metadata import head, labels_of
from diptych_operator.manifests.pods import PodShape, pod_template

PUBLISHING: Final = "publishing"
"""Value of the component label of its pod."""
COMMAND: Final = ("python", "-m", "diptych_training", "--publish", f"{JOB_FOLDER}/{JOB_FILE}")
MAY_PASS: Final = 75
"""Exit code of what may pass by itself; all else is final, but for a pod that had to go."""
TRIES: Final = 6


def publish_job(job: FineTuneJob, defaults: Defaults) -> Manifest:
    """Return the manifest. Raises SpecInvalid where the spec cannot become a pod."""
    pods = job.spec.resources.pods
    shape = PodShape(
        account=pods.service_account_name or POD_ACCOUNT,
        labels={**labels_of(job), COMPONENT: PUBLISHING},
        cpus=defaults.head_cpus,
        memory=defaults.head_memory,
        bursts=True,
        annotations={JOB_ANNOTATION: resolved_job(job)},
        env=(plain("DIPTYCH_RUN", run_name(job.metadata.name, job.spec)), *job_variables(job)),
        mounts=(job_file(), *job_mounts(job.spec)),
        command=COMMAND,
    )
    template = pod_template(shape, pods, defaults)
    return {
        **head(JOB, job, publisher_name(job.metadata.name)),
        "spec": {
            "backoffLimit": TRIES,
            "podFailurePolicy": {"rules": _rules()},
            "template": {**template, "spec": {**template["spec"], "restartPolicy": "Never"}},
        },
    }


def _rules() -> list[Manifest]:
    gone = {"type": "DisruptionTarget", "status": "True"}
    return [
        {"action": "Ignore", "onPodConditions": [gone]},
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0, MAY_PASS]}},
    ]
