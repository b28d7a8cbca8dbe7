"""Random DiffusionDeployments as the API server stores them, with text of an attacker wherever text is free."""

from typing import Any

from hypothesis import strategies as st

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.wire import from_wire
from support.specs import resources

EVIL = "$(touch /pwned)`id`;\"'\n$PATH ${HOME} && reboot #\u2028\x85"


HOST: dict[str, Any] = {"ingressHost": "art.example.org", "ingressClass": "nginx", "tlsSecret": "tls"}
WAYS_IN: tuple[dict[str, Any], ...] = ({}, {}, HOST, HOST | {"gateway": "infra/gate"})
"""Real names, from which an Ingress and a route can be made; those that are drawn mostly cannot."""


def deployments(namespace: str = "art") -> st.SearchStrategy[DiffusionDeployment]:
    """Return a strategy for deployments of a namespace."""
    drawn = st.tuples(resources(DiffusionDeployment), st.sampled_from(WAYS_IN))
    return drawn.map(lambda found: _stored(*found, namespace))


def _stored(values: dict[str, Any], way_in: dict[str, Any], namespace: str) -> DiffusionDeployment:
    spec = {name: value for name, value in values["spec"].items() if name not in {"managedBy", "suspend"}}
    if way_in:
        spec["endpoints"] = spec.get("endpoints", {}) | {"http": way_in}
    template = {"name": "x", "template": f"{EVIL}{{prompt}}"}
    free = {"examples": [EVIL], "ui": {"title": EVIL}, "promptTemplates": [template]}
    head = {"name": values["metadata"]["name"], "namespace": namespace, "uid": "u", "generation": 1}
    return from_wire(DiffusionDeployment, values | {"metadata": head, "spec": spec | free})
