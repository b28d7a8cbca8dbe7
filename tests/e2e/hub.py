"""A hub in a pod. Port 443, because a job's NetworkPolicy lets it out to the hub's own port only."""

from collections.abc import Iterator
from pathlib import Path

from cluster.objects import Values, reference
from e2e.pods import LOW_PORTS, container, pod

PORT = 443
PROGRAM = (Path(__file__).parent / "refusing.py").read_text(encoding="utf-8")


def hub_that_refuses(image: str) -> Iterator[Values]:
    """Yield a hub that answers 401 to everybody, and the Secret by which pods find it."""
    yield reference("v1", "Secret", "hub") | {"stringData": {"HF_ENDPOINT": f"http://hub:{PORT}", "token": "expired"}}
    yield reference("v1", "Service", "hub") | {"spec": {"selector": {"app": "hub"}, "ports": [{"port": PORT}]}}
    probe = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    serving = container("hub", image, ["python", "-c", PROGRAM, str(PORT)], ("32Mi", "128Mi"), readinessProbe=probe)
    yield pod("hub", serving, labels={"app": "hub"}, security=LOW_PORTS)
