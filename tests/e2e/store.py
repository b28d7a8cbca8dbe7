"""An S3 server with one bucket, in a pod. Port 443: NetworkPolicies of jobs and deployments let pods out to it."""

from collections.abc import Iterator

from cluster.object_server import KEYS
from cluster.objects import Values, reference

PORT = 443
BUCKET = "pictures"
SECURE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
LITTLE = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "512Mi"}}


def object_store(server: str, busybox: str) -> Iterator[Values]:
    """Yield the server, its Service, and the Secret by which pods find it."""
    yield reference("v1", "Secret", "store") | {"stringData": KEYS | {"AWS_ENDPOINT_URL": f"http://store:{PORT}"}}
    yield reference("v1", "Service", "store") | {"spec": {"selector": {"app": "store"}, "ports": [{"port": PORT}]}}
    shared = {"securityContext": SECURE, "resources": LITTLE, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    account = ["--access", KEYS["AWS_ACCESS_KEY_ID"], "--secret", KEYS["AWS_SECRET_ACCESS_KEY"]]
    command = ["/bin/versitygw", *account, "--port", f":{PORT}", "--quiet", "posix", "/data"]
    serving = {"name": "store", "image": server, "command": command, "readinessProbe": {"tcpSocket": {"port": PORT}}}
    making = {"name": "bucket", "image": busybox, "command": ["mkdir", "-p", f"/data/{BUCKET}"]}
    security = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
    }
    pod = reference("v1", "Pod", "store") | {
        "spec": {
            "securityContext": security,
            "initContainers": [shared | making],
            "containers": [shared | serving],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }
    }
    pod["metadata"]["labels"] = {"app": "store"}
    yield pod
