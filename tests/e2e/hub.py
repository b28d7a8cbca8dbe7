"""The hub of the tests, in a pod. Port 443, because a job's NetworkPolicy lets it out to the hub's own port only."""

from collections.abc import Iterator

from cluster.objects import Values, reference
from e2e.pods import LOW_PORTS, container, pod
from e2e.shell import ROOT

PORT = 443
PROGRAM = f"""
import pathlib, signal, sys
sys.path.insert(0, "/hub")
from hub import hub_of
with hub_of(pathlib.Path("/tmp"), address=("0.0.0.0", {PORT})) as hub:
    hub.refusal = 401
    signal.pause()
"""


def hub_that_refuses(image: str) -> Iterator[Values]:
    """Yield a hub that answers 401 to everybody, and the Secret by which pods find it."""
    yield reference("v1", "ConfigMap", "hub") | {"data": {"hub.py": (ROOT / "tests/support/hub.py").read_text()}}
    yield reference("v1", "Secret", "hub") | {"stringData": {"HF_ENDPOINT": f"http://hub:{PORT}", "token": "expired"}}
    yield reference("v1", "Service", "hub") | {"spec": {"selector": {"app": "hub"}, "ports": [{"port": PORT}]}}
    serving = container(
        "hub",
        image,
        ["python", "-c", PROGRAM],
        ("32Mi", "128Mi"),
        volumeMounts=[{"name": "program", "mountPath": "/hub"}],
        readinessProbe={"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    )
    program = {"name": "program", "configMap": {"name": "hub"}}
    yield pod("hub", serving, labels={"app": "hub"}, security=LOW_PORTS, volumes=[program])
