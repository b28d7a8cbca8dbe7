"""Environment variables of pods: which names are taken, and how a Secret's key becomes one."""

import re
from collections.abc import Iterable
from typing import Final

from diptych_api.errors import SpecInvalid
from diptych_api.sources import SecretKey
from diptych_operator.kinds import Manifest

NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
TAKEN: Final = re.compile(
    r"(?!DIPTYCH_PUBLISH_USER$)(RAY_|KUBERAY_|DIPTYCH_|LD_|PYTHON|KUBERNETES_|FQ_RAY_).*|PATH|HOME|USER|ENV|BASH_ENV|IFS|SHELL"
)
"""Names that Ray, the program, the shell or the loader read: whoever sets them decides what runs.

DIPTYCH_PUBLISH_USER is free: it names who publishes to a registry.
"""


def plain(name: str, value: str) -> Manifest:
    """Return a variable with a value that is no secret."""
    return {"name": name, "value": value}


def from_secret(name: str, secret: SecretKey, *, optional: bool = False) -> Manifest:
    """Return a variable that is filled from a Secret when the pod starts; an optional one may be missing."""
    more = {"optional": True} if optional else {}
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key, **more}}}


def variable_of(secret: SecretKey, field: str) -> str:
    """Return the variable that a key of credentials fills: its own name, as on one machine.

    Raises:
        SpecInvalid: where the key is no name of a variable.

    """
    name = re.sub(r"[-.]", "_", secret.key).upper()
    if not NAME.fullmatch(name) or TAKEN.fullmatch(name):
        raise SpecInvalid(
            f"{field}.key: {secret.key!r} cannot be the name of an environment variable.",
            hint="Name the key after the variable that it fills, such as AWS_SECRET_ACCESS_KEY.",
        )
    return name


def merged(variables: Iterable[Manifest]) -> list[Manifest]:
    """Return variables with each name once.

    Raises:
        SpecInvalid: where one name has two values.

    """
    found: dict[str, Manifest] = {}
    for variable in variables:
        known = found.setdefault(variable["name"], variable)
        if known != variable:
            raise SpecInvalid(
                f"The environment variable {variable['name']} is filled from two places.",
                hint="Give one of the Secrets' keys another name, or leave one of the two out.",
            )
    return list(found.values())
