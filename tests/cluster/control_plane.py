"""A control plane of Kubernetes in a folder: etcd, API server, controllers and the CRDs that Diptych needs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import yaml

from cluster.apiserver import ADMINISTRATORS, ApiServer
from cluster.audit import Audit
from cluster.certificates import Authority
from cluster.controllers import Controllers
from cluster.etcd import Etcd
from cluster.kubeconfig import write_kubeconfig
from cluster.kubectl import kubectl
from cluster.objects import conditions, reference
from cluster.rest import Rest
from cluster.site import Site
from cluster.tools import gateway_definition, kuberay_definitions
from support.waiting import until

OWN_DEFINITIONS = Path(__file__).parents[2] / "crds"
ALONE = Site()
TOKEN_SECONDS = 3600 * 6


@dataclass(slots=True)
class ControlPlane:
    """A running control plane. Logs, keys and data stay in its folder when it stops."""

    folder: Path
    authority: Authority
    etcd: Etcd
    apiserver: ApiServer
    controllers: Controllers
    admin_kubeconfig: Path
    api: Rest
    clients: list[Rest] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path, *, own_crds: bool = True, site: Site = ALONE) -> Self:
        """Start everything in a folder. Without our own CRDs, a chart can bring them."""
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        authority = Authority(folder / "pki")
        etcd = Etcd(folder)
        apiserver = ApiServer(folder, etcd.url, authority, site)
        admin = write_kubeconfig(
            folder / "kubeconfigs" / "admin.yaml", apiserver.url, authority.certificate, apiserver.admin
        )
        api = Rest(apiserver.url, authority.certificate, apiserver.admin)
        plane = cls(folder, authority, etcd, apiserver, Controllers(folder, apiserver, authority), admin, api)
        try:
            etcd.start()
            apiserver.start()
            # Before the controllers: they look for new kinds only every half minute.
            plane.apply_crds(own=own_crds)
            plane.controllers.start()
        except BaseException:
            plane.stop()
            raise
        return plane

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything, in the order that leaves no complaints in the logs."""
        for client in (self.api, *self.clients):
            client.close()
        self.controllers.stop()
        self.apiserver.stop()
        self.etcd.stop()

    @property
    def url(self) -> str:
        """Return the address of the API server."""
        return self.apiserver.url

    @property
    def audit(self) -> Audit:
        """Return the log of all requests."""
        return Audit(self.apiserver.audit_log)

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Take the API server away, as a restart or a crash does."""
        self.apiserver.stop(kill=kill)

    def start_apiserver(self) -> None:
        """Bring the API server back: same port, same data."""
        self.apiserver.start()

    def apply_crds(self, *, own: bool = True) -> None:
        """Apply KubeRay's CRDs, HTTPRoute's and ours on the server's side, and wait until they are served."""
        own_files = sorted(OWN_DEFINITIONS.glob("*.yaml")) if own else []
        files = [*kuberay_definitions(), gateway_definition(), *own_files]
        definitions = [yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) for file in files]
        for definition in definitions:
            self.api.apply(definition)
        until(lambda: all(conditions(self.api.read(each)).get("Established") == "True" for each in definitions))

    def client(self, user: str) -> Rest:
        """Return a client that may do everything under a name of its own, by which the audit log knows it."""
        pair = self.authority.issue(user, groups=[ADMINISTRATORS])
        self.clients.append(Rest(self.url, self.authority.certificate, pair, agent=user))
        return self.clients[-1]

    def kubeconfig_for(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig with a token of a service account."""
        path = self.folder / "kubeconfigs" / f"{namespace}.{name}.yaml"
        return write_kubeconfig(path, self.url, self.authority.certificate, self.token_for(namespace, name), namespace)

    def token_for(self, namespace: str, name: str) -> str:
        """Return a fresh token of a service account."""
        account = self.api.path(reference("v1", "ServiceAccount", name, namespace))
        answer = self.api.request("POST", f"{account}/token", {"spec": {"expirationSeconds": TOKEN_SECONDS}})
        return str(answer["status"]["token"])

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Return what kubectl prints as administrator. Raises CalledProcessError, with what it said in ``stderr``."""
        return kubectl(self.admin_kubeconfig, *arguments, stdin=stdin)
