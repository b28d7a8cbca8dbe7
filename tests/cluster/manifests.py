"""Small objects of KubeRay that pass Pod Security's restricted standard, for tests of the harness itself."""

from typing import Any

from cluster.objects import Values, reference

IMAGE = "nowhere.example/ray:1"
SERVE_CONFIG = """\
applications:
  - name: images
    route_prefix: /
    import_path: app:app
    deployments:
      - name: Gateway
      - name: Engine
"""


def ray_job(namespace: str, name: str = "noto", **spec: Any) -> Values:
    """Return a RayJob in HTTPMode with one worker."""
    fixed = {
        "entrypoint": "python -m program",
        "submissionMode": "HTTPMode",
        "shutdownAfterJobFinishes": True,
        "rayClusterSpec": _ray_cluster(),
    }
    return reference("ray.io/v1", "RayJob", name, namespace) | {"spec": fixed | spec}


def ray_service(namespace: str, name: str = "noto", **spec: Any) -> Values:
    """Return a RayService with one application of two deployments and one worker."""
    fixed = {"serveConfigV2": SERVE_CONFIG, "rayClusterConfig": _ray_cluster()}
    return reference("ray.io/v1", "RayService", name, namespace) | {"spec": fixed | spec}


def pod_template(container: str) -> Values:
    """Return a pod template of one container, with labels as ours have."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    resources = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
    return {
        "metadata": {"labels": {"diptych.dev/job": "noto"}},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": container, "image": IMAGE, "resources": resources, "securityContext": security}],
        },
    }


def _ray_cluster() -> Values:
    """Return the spec of a RayCluster.

    KubeRay writes ``scaleStrategy: {}`` into a worker group that has none, with its finalizer: a change of the spec.
    """
    return {
        "rayVersion": "2.60.0",
        "authOptions": {"mode": "token"},
        "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": pod_template("ray-head")},
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": 1,
                "minReplicas": 1,
                "maxReplicas": 1,
                "rayStartParams": {},
                "scaleStrategy": {},
                "template": pod_template("ray-worker"),
            }
        ],
    }
