"""The Kubernetes Job that publishes a run once its model was told to stand for it: one pod, without Ray."""

from typing import Final

from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import COMPONENT, JOB_ANNOTATION, POD_ACCOUNT, publisher_name
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import JOB, Manifest
from diptych_operator.manifests.environment import plain
from diptych_operator.manifests.job_pods import JOB_FILE, JOB_FOLDER, folders_text, image_of, job_file, resolved_job
from diptych_operator.manifests.job_secrets import publish_variables
from diptych_operator.manifests.job_volumes import store_mounts
from diptych_operator.manifests.metadata import head, labels_of
from diptych_operator.manifests.pods import CONTAINER, PodShape, pod_template
from diptych_operator.manifests.rayjob import queue_labels

PUBLISHING: Final = "publishing"
"""Value of the component label of its pod."""
COMMAND: Final = ("python", "-m", "diptych_training", "--publish", f"{JOB_FOLDER}/{JOB_FILE}")
MAY_PASS: Final = 75
"""Exit code of what may pass by itself; all else is final, but for a pod that had to go."""
TRIES: Final = 6


def publish_job(job: FineTuneJob, run: str, defaults: Defaults) -> Manifest:
    """Return the manifest. Of the volumes and Secrets of training its pod has what the run store and the place need.

    Raises:
        SpecInvalid: where the spec cannot become a pod.

    """
    pods = job.spec.resources.pods
    variables = {"DIPTYCH_RUN": run, "DIPTYCH_MOUNTS": folders_text(job), "DIPTYCH_IMAGE": image_of(job, defaults)}
    shape = PodShape(
        account=pods.service_account_name or POD_ACCOUNT,
        labels={**labels_of(job), COMPONENT: PUBLISHING},
        cpus=defaults.head_cpus,
        memory=defaults.head_memory,
        bursts=True,
        annotations={JOB_ANNOTATION: resolved_job(job)},
        env=(*(plain(name, value) for name, value in variables.items()), *publish_variables(job.spec)),
        mounts=(job_file(), *store_mounts(job.spec)),
        command=COMMAND,
    )
    template = pod_template(shape, pods, defaults)
    return {
        **head(JOB, job, publisher_name(job.metadata.name), extra_labels=queue_labels(job)),
        "spec": {
            "backoffLimit": TRIES,
            "podFailurePolicy": {"rules": _rules()},
            "template": {**template, "spec": _alone(template["spec"], defaults)},
        },
    }


def _alone(pod: Manifest, defaults: Defaults) -> Manifest:
    """Return a pod without what the spec's template adds for training: containers that would never end, and GPUs."""
    containers = [one for one in pod["containers"] if one["name"] == CONTAINER]
    for one in containers:
        amounts = one["resources"]
        one["resources"] = {
            kind: {name: value for name, value in amounts[kind].items() if name != defaults.gpu_resource}
            for kind in amounts
        }
    return {**pod, "containers": containers, "restartPolicy": "Never"}


def _rules() -> list[Manifest]:
    gone = {"type": "DisruptionTarget", "status": "True"}
    return [
        {"action": "Ignore", "onPodConditions": [gone]},
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0, MAY_PASS]}},
    ]
