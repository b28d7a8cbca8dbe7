"""Secrets of object stores: which variables of a pod they fill."""

from collections.abc import Iterator

from diptych_api.sources import STORE_VARIABLES, SecretKey, StoreSecret
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.environment import from_secret, variable_of
from diptych_operator.manifests.spec_names import check_secret


def store_variables(secret: StoreSecret, field: str) -> Iterator[Manifest]:
    """Yield the variable that the Secret's key names; without a key, every one that stores read and the Secret has.

    Raises:
        SpecInvalid: for names that cannot be, and where the key is no name of a variable.

    """
    for name in STORE_VARIABLES if secret.key is None else [secret.key]:
        one = SecretKey(name=secret.name, key=name)
        check_secret(one, field)
        variable = from_secret(variable_of(one, field), one)
        if secret.key is None:
            variable["valueFrom"]["secretKeyRef"]["optional"] = True
        yield variable
