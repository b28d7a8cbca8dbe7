"""What the chart grants the operator, and what the audit log saw it use."""

from collections.abc import Iterable
from dataclasses import dataclass

from cluster.audit import Record
from cluster.control_plane import ControlPlane
from cluster.objects import reference
from support.helm import HOME, Values, rendered

ACCOUNT = "diptych-operator"
USER = f"system:serviceaccount:{HOME}:{ACCOUNT}"
KINDS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
GATEWAYS: Values = {"gatewayAPI": {"enabled": True}}
CREATED = 201


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """A verb on a resource; a part of it stands behind a slash, as in `finetunejobs/status`."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        """Return it as kubectl would say it."""
        return f"{self.verb} {self.resource}.{self.group}".rstrip(".")


HELD_TO_BE_HANDED_ON = frozenset(Right("diptych.dev", "finetunereports", verb) for verb in ("create", "patch"))
"""Of the account of job pods: the operator makes its role, and may grant only what it has."""


def install_account(plane: ControlPlane, values: Values) -> None:
    """Apply the operator's account, roles and bindings as the chart renders them; the namespaces must be there."""
    if not plane.api.is_there(reference("v1", "Namespace", HOME)):
        plane.api.create(reference("v1", "Namespace", HOME))
    for each in rendered(values):
        if each["kind"] in KINDS:
            plane.api.apply(each, manager="helm")


def granted(values: Values) -> set[Right]:
    """Return the rights of the operator's account, of all namespaces together."""
    objects = [each for each in rendered(values) if each["kind"] in KINDS]
    bound = {
        (each["roleRef"]["kind"], each["roleRef"]["name"])
        for each in objects
        if any(subject["name"] == ACCOUNT for subject in each.get("subjects", ()))
    }
    rules = [rule for each in objects if (each["kind"], each["metadata"]["name"]) in bound for rule in each["rules"]]
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(records: Iterable[Record]) -> set[Right]:
    """Return the rights that requests needed. An apply that makes an object needs `create` beside `patch`."""
    found = set()
    for record in records:
        if record.resource and record.group not in ("authentication.k8s.io", "authorization.k8s.io"):
            resource = "/".join(filter(None, (record.resource, record.subresource)))
            verbs = {record.verb, "create"} if record.code == CREATED else {record.verb}
            found |= {Right(record.group, resource, verb) for verb in verbs}
    return found
