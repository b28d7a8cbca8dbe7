"""An S3 server with one bucket, in a pod. Port 443: NetworkPolicies of jobs and deployments let pods out to it."""

from collections.abc import Iterator

from cluster.object_server import KEYS
from cluster.objects import Values, reference
from e2e.pods import LOW_PORTS, container, pod

PORT = 443
BUCKET = "pictures"
MEMORY = ("32Mi", "512Mi")


def object_store(server: str, busybox: str) -> Iterator[Values]:
    """Yield the server, its Service, and the Secret by which pods find it."""
    yield reference("v1", "Secret", "store") | {"stringData": KEYS | {"AWS_ENDPOINT_URL": f"http://store:{PORT}"}}
    yield reference("v1", "Service", "store") | {"spec": {"selector": {"app": "store"}, "ports": [{"port": PORT}]}}
    data = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    account = ["--access", KEYS["AWS_ACCESS_KEY_ID"], "--secret", KEYS["AWS_SECRET_ACCESS_KEY"]]
    command = ["/bin/versitygw", *account, "--port", f":{PORT}", "--quiet", "posix", "/data"]
    serving = container("store", server, command, MEMORY, readinessProbe={"tcpSocket": {"port": PORT}}, **data)
    making = container("bucket", busybox, ["mkdir", "-p", f"/data/{BUCKET}"], MEMORY, **data)
    security, volume = LOW_PORTS | {"fsGroup": 1000}, {"name": "data", "emptyDir": {}}
    yield pod("store", serving, labels={"app": "store"}, security=security, initContainers=[making], volumes=[volume])
