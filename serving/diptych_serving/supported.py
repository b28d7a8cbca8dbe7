"""Fields of a deployment that this version or one machine cannot honour: refused or told, never ignored in silence."""

from collections.abc import Iterator

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.errors import SpecInvalid, UnsupportedHere
from diptych_serving.backends import backend_problem
from diptych_serving.budget_store import check_store
from diptych_serving.identity import network_of

IGNORED_LOCALLY = ("managed_by", "model_cache", "pods", "rollout", "suspend")
IGNORED_HTTP = ("ingress_host", "ingress_class", "tls_secret", "gateway")


def refused(spec: DiffusionDeploymentSpec) -> Iterator[str]:
    """Yield one sentence for each setting that somebody relies on and that cannot be honoured."""
    if problem := backend_problem(spec.backend, spec.device, spec.dtype, spec.resources.gpus):
        yield problem
    try:
        check_store(spec.rate_limit)
    except SpecInvalid as error:
        yield f"spec.{error}"
    for text in spec.trusted_proxies:
        if network_of(text) is None:
            yield f"spec.trustedProxies: {text} is no network, such as 10.0.0.0/8."


def ignored(spec: DiffusionDeploymentSpec) -> list[str]:
    """Return one sentence for each setting that changes nothing here."""
    http = spec.endpoints.http
    told = [
        f"spec.{_camel(name)} has no effect on one machine."
        for name in IGNORED_LOCALLY
        if name in spec.model_fields_set
    ]
    told += [
        f"spec.endpoints.http.{_camel(name)} has no effect on one machine."
        for name in IGNORED_HTTP
        if name in http.model_fields_set
    ]
    if "memory" in spec.resources.model_fields_set:
        told.append("spec.resources.memory has no effect on one machine.")
    told += [
        f"spec.adapters: the credentials of {adapter.name} name a Secret of a cluster; here the environment has them."
        for adapter in spec.adapters
        if adapter.credentials is not None
    ]
    return told


def check_supported(spec: DiffusionDeploymentSpec) -> None:
    """Raise UnsupportedHere with every setting that cannot be honoured."""
    problems = list(refused(spec))
    if problems:
        raise UnsupportedHere("\n".join(problems))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
