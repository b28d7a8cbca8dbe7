"""The NetworkPolicy of a job: its pods talk to each other, to DNS and out, and only KubeRay comes in."""

from typing import Final

from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import JOB_LABEL, job_policy_name
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import NETWORK_POLICY, Manifest
from diptych_operator.manifests.egress import (
    API_SERVER,
    HTTPS,
    from_namespace,
    from_pods,
    ports_of,
    to_anywhere,
    to_dns,
    to_pods,
)
from diptych_operator.manifests.metadata import head

DASHBOARD_PORT: Final = 8265
"""Where KubeRay submits the job and asks how it goes. Whoever reaches it with the token runs code."""


def job_policy(job: FineTuneJob, defaults: Defaults) -> Manifest:
    """Return the NetworkPolicy of a job's pods. Further policies may allow more: Kubernetes adds them up."""
    pods = {JOB_LABEL: job.metadata.name}
    return {
        **head(NETWORK_POLICY, job, job_policy_name(job.metadata.name)),
        "spec": {
            "podSelector": {"matchLabels": pods},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [from_pods(pods), from_namespace(defaults.kuberay_namespace, DASHBOARD_PORT)],
            "egress": [to_dns(), to_pods(pods), to_anywhere({HTTPS, *API_SERVER, *_ports(job)})],
        },
    }


def _ports(job: FineTuneJob) -> set[int]:
    """Return the ports of every place that the spec names."""
    spec = job.spec
    places = [spec.base.uri, spec.dataset.source.uri, spec.output.uri, spec.dataset.captioning.endpoint]
    places += [spec.dataset.publish_to, spec.evaluation.rivals, spec.lora.init_from]
    places += [spec.tracking.uri if spec.tracking else None, spec.publish.uri if spec.publish else None]
    places += [spec.evaluation.filler_prompts.endpoint if spec.evaluation.filler_prompts else None]
    return ports_of(places)
