"""kube-controller-manager: Kubernetes' own controllers."""

from pathlib import Path

from cluster.apiserver import ADMINISTRATORS, ApiServer
from cluster.certificates import Authority
from cluster.kubeconfig import write_kubeconfig
from cluster.ports import free_port
from cluster.rest import Rest
from cluster.server import Server
from cluster.tools import find


class Controllers:
    """Garbage collection, namespaces, service accounts, endpoint slices and what else the site asks for."""

    def __init__(self, folder: Path, apiserver: ApiServer, authority: Authority) -> None:
        port, site = free_port(), apiserver.site
        self.user = authority.issue("kube-controller-manager", groups=[ADMINISTRATORS], hosts=["127.0.0.1"])
        self.api = Rest(f"https://127.0.0.1:{port}", authority.certificate, self.user)
        config = folder / "kubeconfigs" / "kube-controller-manager.yaml"
        settings = {
            "kubeconfig": write_kubeconfig(config, apiserver.url, authority.certificate, self.user),
            "controllers": ",".join(site.controllers),
            "bind-address": "127.0.0.1",
            "secure-port": port,
            "tls-cert-file": self.user.certificate,
            "tls-private-key-file": self.user.key,
            "root-ca-file": authority.certificate,
            "leader-elect": "false",
            "kube-api-qps": 200,
            "kube-api-burst": 400,
        }
        if site.pods:
            settings |= {"allocate-node-cidrs": "true", "cluster-cidr": site.pods}
        flags = [f"--{name}={value}" for name, value in settings.items()]
        log = folder / "logs" / "kube-controller-manager.log"
        self.server = Server([find("kube-controller-manager"), *flags], log)

    def start(self) -> None:
        """Start them and wait until they are healthy."""
        self.server.start(lambda: self.api.is_ready("/healthz"))

    def stop(self) -> None:
        """End them."""
        self.api.close()
        self.server.stop()
