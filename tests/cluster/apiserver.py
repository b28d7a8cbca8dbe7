"""kube-apiserver with RBAC, its default admission, and a log of every request."""

from pathlib import Path

import yaml

from cluster.certificates import Authority, write_key
from cluster.rest import Rest
from cluster.server import Server
from cluster.site import Site
from cluster.tools import find

ADMINISTRATORS = "system:masters"
SERVICE_ADDRESSES = "10.96.0.0/16"
FIRST_SERVICE_ADDRESS = "10.96.0.1"
ANSWERING_S = 2
ISSUER = "https://kubernetes.default.svc.cluster.local"
# Bodies are logged for deletes alone: they hold the uid that a delete insists on.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["*"]},
        {"level": "None", "users": ["system:apiserver"]},
        {"level": "Request", "verbs": ["delete", "deletecollection"]},
        {"level": "Metadata"},
    ],
}


class ApiServer:
    """An API server on a port that it keeps over restarts."""

    def __init__(self, folder: Path, etcd_url: str, authority: Authority, site: Site) -> None:
        self.site = site
        self.port = site.free_port()
        self.url = f"https://{site.address}:{self.port}"
        self.audit_log = folder / "audit.log"
        self.service_account_key = write_key(folder / "pki" / "service-accounts.key")
        self.admin = authority.issue("admin", groups=[ADMINISTRATORS])
        self.authority = authority
        policy = folder / "audit-policy.yaml"
        policy.write_text(yaml.safe_dump(AUDIT_POLICY), encoding="utf-8")
        flags = [f"--{name}={value}" for name, value in (self._flags(etcd_url) | self._audit(policy)).items()]
        self.server = Server([find("kube-apiserver"), *flags], folder / "logs" / "kube-apiserver.log")

    def start(self) -> None:
        """Start it and wait until it is ready, roles and all."""
        with Rest(self.url, self.authority.certificate, self.admin) as api:
            self.server.start(api.is_ready)

    def stop(self, *, kill: bool = False) -> None:
        """End it. Clients see refused connections until it starts again.

        Asked to end, it listens no more at once, answers what was asked, and waits a minute for watches: we do not.
        """
        self.server.stop(kill=kill, patience_s=ANSWERING_S)

    def _flags(self, etcd_url: str) -> dict[str, object]:
        hosts = [self.site.address, "localhost", "kubernetes.default.svc", FIRST_SERVICE_ADDRESS]
        serving = self.authority.issue("kube-apiserver", hosts=hosts)
        kubelets = self.authority.issue("kube-apiserver-client", groups=[ADMINISTRATORS])
        return {
            "etcd-servers": etcd_url,
            "bind-address": self.site.address,
            "advertise-address": self.site.address,
            "secure-port": self.port,
            "endpoint-reconciler-type": "lease" if self.site.has_nodes else "none",
            "service-cluster-ip-range": SERVICE_ADDRESSES,
            "tls-cert-file": serving.certificate,
            "tls-private-key-file": serving.key,
            "client-ca-file": self.authority.certificate,
            "service-account-issuer": ISSUER,
            "service-account-key-file": self.service_account_key,
            "service-account-signing-key-file": self.service_account_key,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "kubelet-certificate-authority": self.authority.certificate,
            "kubelet-client-certificate": kubelets.certificate,
            "kubelet-client-key": kubelets.key,
            "kubelet-preferred-address-types": "InternalIP",
            "allow-privileged": "true",
            "shutdown-delay-duration": "0s",
        }

    def _audit(self, policy: Path) -> dict[str, object]:
        # Blocking is the mode that drops nothing: batches overflow under load.
        return {
            "audit-policy-file": policy,
            "audit-log-path": self.audit_log,
            "audit-log-mode": "blocking",
            "audit-log-maxsize": 10_000,
        }
