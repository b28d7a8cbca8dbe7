"""Who the pods of jobs are: one account that may write reports, and one that may do nothing."""

from typing import Final

from diptych_api.fields import API_GROUP
from diptych_api.names import MANAGED_BY, POD_ACCOUNT, PRODUCT, REPORTER_ACCOUNT
from diptych_operator.kinds import (
    DIFFUSION_MODEL,
    FINE_TUNE_REPORT,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    Kind,
    Manifest,
)

REPORT_VERBS: Final = ("create", "get", "patch")
"""What server-side apply of a report needs, and nothing else."""


def accounts(namespace: str) -> tuple[Manifest, ...]:
    """Return accounts and rights that all jobs of a namespace share. They have no owner: jobs come and go."""
    return (
        _account(REPORTER_ACCOUNT, namespace),
        _account(POD_ACCOUNT, namespace),
        {
            **_head(ROLE, REPORTER_ACCOUNT, namespace),
            "rules": [
                {"apiGroups": [API_GROUP], "resources": [FINE_TUNE_REPORT.plural], "verbs": list(REPORT_VERBS)},
                {"apiGroups": [API_GROUP], "resources": [DIFFUSION_MODEL.plural], "verbs": ["get"]},  # the one to beat
            ],
        },
        {
            **_head(ROLE_BINDING, REPORTER_ACCOUNT, namespace),
            "roleRef": {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": REPORTER_ACCOUNT},
            "subjects": [{"kind": SERVICE_ACCOUNT.kind, "name": REPORTER_ACCOUNT, "namespace": namespace}],
        },
    )


def _account(name: str, namespace: str) -> Manifest:
    return {**_head(SERVICE_ACCOUNT, name, namespace), "automountServiceAccountToken": False}


def _head(kind: Kind, name: str, namespace: str) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": {MANAGED_BY: PRODUCT}}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
