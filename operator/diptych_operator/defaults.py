"""What the chart decides for every child. It is resolved into a child when the child is made."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Defaults:
    """Image, Ray's version and the like; from the operator's settings."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    ray_version: str = "2.60.0"
    head_cpus: str = "1"
    head_memory: str = "4Gi"
    gpu_resource: str = "nvidia.com/gpu"
    gpu_node_label: str = "nvidia.com/gpu.product"
    kuberay_namespace: str = "kuberay-system"
    gateway_api: bool = False
    network_policies: bool = True
