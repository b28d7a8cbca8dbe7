"""A real node with a control plane, KubeRay and storage, from nothing, on this machine."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.control_plane import ControlPlane
from cluster.node import cgroups
from cluster.node.containerd import Containerd
from cluster.node.image_store import ImageStore
from cluster.node.kubelet import NAME, kubelet
from cluster.node.kuberay_pod import install_kuberay
from cluster.node.namespaces import Namespaces
from cluster.node.network import HERE, PODS, connect, disconnect
from cluster.node.policy_rules import kube_router
from cluster.node.programs import BUSYBOX, program_images
from cluster.node.scheduler import Scheduler
from cluster.node.service_rules import kube_proxy
from cluster.node.single import state_folder, the_only_one
from cluster.node.volumes import local_path
from cluster.objects import conditions, reference
from cluster.server import Server, wait_for
from cluster.site import Site

MANIFESTS = Path(__file__).parent / "manifests"
SITE = Site(HERE, 6443, ("*",), PODS)
NODE = reference("v1", "Node", NAME)
SETTLED_S = 120
ADD_ONS = (("kube-system", "coredns"), ("kuberay-system", "kuberay-operator"))


@dataclass(slots=True)
class Node:
    """A running node. Its folder has the logs and the volumes, the cache folder the images."""

    folder: Path
    plane: ControlPlane
    namespaces: Namespaces
    images: ImageStore
    runtime: Containerd

    def restart_runtime(self) -> None:
        """Crash the container runtime and start it anew. Containers go on."""
        self.runtime.crash()
        self.runtime.start()

    def is_there(self) -> bool:
        """Return whether the node has registered."""
        return self.plane.api.is_there(NODE)

    def is_ready(self) -> bool:
        """Return whether the node says that it is well."""
        return conditions(self.plane.api.read(NODE)).get("Ready") == "True"

    def is_settled(self) -> bool:
        """Return whether DNS and KubeRay answer too."""
        kept = (reference("apps/v1", "Deployment", name, namespace) for namespace, name in ADD_ONS)
        return all(conditions(self.plane.api.read(each)).get("Available") == "True" for each in kept)


@contextmanager
def running_node(folder: Path, tell: Callable[[str], None] = lambda _: None) -> Iterator[Node]:
    """Start a node in a folder, wait until it is ready, and take it down at the end."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        claim = stack.enter_context(the_only_one())
        cgroups.clear()
        stack.callback(cgroups.clear)
        namespaces = Namespaces(folder)
        stack.callback(namespaces.stop)
        namespaces.start()
        claim(namespaces)
        stack.callback(disconnect)
        connect(namespaces)
        images = ImageStore(namespaces, state_folder())
        runtime = Containerd(folder, images.root, namespaces, pause=BUSYBOX)
        with ThreadPoolExecutor(1) as beside:
            filled = beside.submit(_fill, runtime, images)
            plane = stack.enter_context(ControlPlane.start(folder, site=SITE, own_crds=False))
            filled.result()
        node = Node(folder, plane, namespaces, images, runtime)
        programs = _populate(node, stack)
        wait_for(node.is_ready, programs, SETTLED_S)
        tell("the node is ready; waiting for DNS and KubeRay")
        wait_for(node.is_settled, programs, SETTLED_S)
        yield node


def _fill(containerd: Containerd, images: ImageStore) -> None:
    containerd.start()
    images.add(program_images())


def _populate(node: Node, stack: ExitStack) -> list[Server]:
    """Start what makes a node of the namespaces, and what its pods count on. Return the programs."""
    scheduler = Scheduler(node.folder, node.plane)
    stack.callback(scheduler.stop)
    scheduler.start()
    given = (node.folder, node.namespaces, node.plane)
    # kube-router and the provisioner end at once when they do not find the node, or the manifests.
    programs = [kubelet(*given), kube_proxy(*given), local_path(node.folder, node.plane), kube_router(*given)]
    for file in sorted(MANIFESTS.glob("*.yaml")):
        node.plane.kubectl("apply", "--server-side", "-f", file)
    install_kuberay(node.folder, node.plane)
    for program in programs:
        stack.callback(program.stop, kill=True)
        program.start(node.is_there if program is programs[0] else lambda: True)
    stack.callback(node.namespaces.stop)  # the first to happen at the end: pods need no goodbyes
    return programs
