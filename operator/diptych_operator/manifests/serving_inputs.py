"""What a deployment's pods are made of: claims and Secrets, and the configuration as the pods see it."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from diptych_api.diffusiondeployment import DiffusionDeployment, DiffusionDeploymentSpec
from diptych_api.endpoints import CompatibleEndpoint, Endpoints, GRPCEndpoint, HTTPEndpoint
from diptych_api.errors import SpecInvalid
from diptych_api.names import CACHE_VARIABLE
from diptych_api.servingconfig import (
    RegistryConfig,
    ServedAdapter,
    ServingConfig,
    registry_config,
    serving_config,
)
from diptych_api.sources import Base, Claim, SecretKey
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.environment import from_secret, merged, plain, variable_of
from diptych_operator.manifests.spec_names import check_claim, check_secret, is_object_name
from diptych_operator.manifests.store_secrets import store_variables
from diptych_operator.manifests.volumes import CLAIMS, claim_folder

HTTP_PORT = 8000
GRPC_PORT = 9000
"""Ports of Ray Serve in every pod; the Service's own are the spec's, so that no pod needs a right for port 80."""


def serving_values(deployment: DiffusionDeployment) -> ServingConfig:
    """Return the application's arguments as pods read them: volumes are folders, ports are the pods' own.

    What only the operator follows, such as the Ingress, is left out: a change of it restarts nothing.
    """
    spec, meta = deployment.spec, deployment.metadata
    config = serving_config(meta.name, meta.namespace, spec)
    return config.model_copy(update={"base": _base(spec.base), "endpoints": _endpoints(spec.endpoints)})


def followed_values(spec: DiffusionDeploymentSpec, adapters: Iterable[ServedAdapter]) -> RegistryConfig:
    """Return what is followed while serving; Secrets' keys are the variables that pods have them in."""
    config = registry_config(spec, adapters)
    auth, limits = spec.auth, spec.rate_limit
    return config.model_copy(
        update={
            "auth": auth.model_copy(update={"api_keys": _in_variable(auth.api_keys, "auth.apiKeys")}),
            "rate_limit": limits.model_copy(
                update={"store_password": _in_variable(limits.store_password, "rateLimit.storePassword")}
            ),
        }
    )


def claims(spec: DiffusionDeploymentSpec, adapters: Iterable[ServedAdapter]) -> dict[str, bool]:
    """Return the claims that every pod mounts, and whether it may write there. Raises SpecInvalid."""
    found: dict[str, bool] = {}
    for name in filter(None, (claim_of(adapter.uri or "") for adapter in adapters)):
        found[name] = False
    if spec.base.pvc is not None:
        check_claim(spec.base.pvc, "base.pvc")
        found.setdefault(spec.base.pvc.claim_name, False)
    if spec.model_cache is not None:
        check_claim(spec.model_cache.pvc, "modelCache.pvc")
        found[spec.model_cache.pvc.claim_name] = True
    return found


def claim_of(uri: str) -> str | None:
    """Return the claim whose mount a path is below, as a job on that claim tells its artifact."""
    path = uri.removeprefix("file://")
    name = path.removeprefix(f"{CLAIMS}/").partition("/")[0] if path.startswith(f"{CLAIMS}/") else ""
    return name if name and is_object_name(name) else None


def variables(spec: DiffusionDeploymentSpec) -> tuple[Manifest, ...]:
    """Return the environment that Secrets and the cache give to every pod. Raises SpecInvalid."""
    found = [_filled(secret, field) for field, secret in _credentials(spec)]
    for n, adapter in enumerate(spec.adapters):
        if adapter.credentials is not None:
            found += store_variables(adapter.credentials, f"adapters[{n}].credentials")
    token = spec.base.hugging_face.token if spec.base.hugging_face else None
    if token is not None:
        check_secret(token, "base.huggingFace.token")
        found.append(from_secret("HF_TOKEN", token))
    if spec.model_cache is not None:
        found.append(plain(CACHE_VARIABLE, folder(spec.model_cache.pvc)))
    return tuple(merged(found))


def folder(claim: Claim) -> str:
    """Return where pods see a folder of a claim."""
    return posixpath.normpath(posixpath.join(claim_folder(claim.claim_name), claim.path))


def _credentials(spec: DiffusionDeploymentSpec) -> Iterator[tuple[str, SecretKey]]:
    """Return every Secret that a variable is filled from under its key's name, by field."""
    found: Mapping[str, SecretKey | None] = {
        "auth.apiKeys": spec.auth.api_keys,
        "rateLimit.storePassword": spec.rate_limit.store_password,
    }
    yield from ((field, secret) for field, secret in found.items() if secret is not None)


def _filled(secret: SecretKey, field: str) -> Manifest:
    check_secret(secret, field)
    return from_secret(variable_of(secret, field), secret)


def _in_variable(secret: SecretKey | None, field: str) -> SecretKey | None:
    return None if secret is None else secret.model_copy(update={"key": variable_of(secret, field)})


def _base(base: Base) -> Base:
    if base.pvc is not None:
        check_claim(base.pvc, "base.pvc")
        return Base(uri=folder(base.pvc))
    if base.hugging_face is not None:
        hub = base.hugging_face.model_copy(update={"token": None})
        return base.model_copy(update={"hugging_face": hub})
    if base.uri is not None and "://" not in base.uri and not base.uri.startswith("/"):
        raise SpecInvalid(
            f"base.uri: {base.uri!r} is a folder of this machine, which pods do not see.",
            hint="Give s3://, gs://, https:// with sha256, base.pvc, or a folder below a mount of pods.volumes.",
        )
    return base


def _endpoints(endpoints: Endpoints) -> Endpoints:
    grpc = endpoints.grpc
    return Endpoints(
        http=HTTPEndpoint(port=HTTP_PORT, cors_origins=endpoints.http.cors_origins),
        grpc=GRPCEndpoint(enabled=grpc.enabled, port=GRPC_PORT, reflection=grpc.reflection),
        compare=endpoints.compare,
        compatible=CompatibleEndpoint(enabled=endpoints.compatible.enabled),
    )
