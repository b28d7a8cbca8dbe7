"""The programs of a cluster, built once from their Go modules and kept in a cache folder."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diptych_api.errors import RunFailed, UnsupportedHere

MODULES = Path(__file__).parent / "modules"
KUBERNETES = "1.36.3"
KUBERAY_MODULE = "github.com/ray-project/kuberay/ray-operator"
GATEWAY_MODULE = "sigs.k8s.io/gateway-api"
STRIPPED = "-s -w"
STAMPED = f"{STRIPPED} " + " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (("gitVersion", f"v{KUBERNETES}"), ("gitMajor", "1"), ("gitMinor", "36"))
)


@dataclass(frozen=True, slots=True)
class Tool:
    """A program: the folder of its go.mod, its package, and what the linker is told."""

    group: str
    package: str
    linker: str = STRIPPED


CONTROL_PLANE = {
    "etcd": Tool("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", STAMPED),
    "kube-controller-manager": Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", STAMPED),
    "kubectl": Tool("kubernetes", "k8s.io/kubernetes/cmd/kubectl", STAMPED),
    "ray-operator": Tool("kuberay", KUBERAY_MODULE),
    "helm": Tool("helm", "helm.sh/helm/v4/cmd/helm"),
    "kubeconform": Tool("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
    "kube-score": Tool("kube-score", "github.com/zegl/kube-score/cmd/kube-score"),
    "monitoring": Tool("monitoring", "diptych.dev/tests/cluster/monitoring"),
    "versitygw": Tool("versitygw", "github.com/versity/versitygw/cmd/versitygw"),
    "registry": Tool("registry", "diptych.dev/tests/cluster/registry"),
    "oras": Tool("registry", "oras.land/oras/cmd/oras"),
}
NODE = {
    "kube-scheduler": Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler", STAMPED),
    "kubelet": Tool("kubernetes", "k8s.io/kubernetes/cmd/kubelet", STAMPED),
    "kube-proxy": Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-proxy", STAMPED),
    "coredns": Tool("coredns", "github.com/coredns/coredns"),
    "kube-router": Tool("kube-router", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"),
    "local-path": Tool("local-path", "github.com/rancher/local-path-provisioner"),
    "grpcurl": Tool("grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl"),
}
TOOLS = CONTROL_PLANE | NODE


def find(name: str) -> Path:
    """Return the program, built now if the cache lacks it. Takes kubectl from PATH when there is one."""
    if name == "kubectl" and (installed := shutil.which(name)):
        return Path(installed)
    return _kept(name, TOOLS[name].group, lambda folder: _build(name, folder)) / name


def kuberay_definitions() -> list[Path]:
    """Return the files of KubeRay's four CRDs, which come inside its module."""
    return sorted((kuberay_manifests() / "crd" / "bases").glob("*.yaml"))


def kuberay_manifests() -> Path:
    """Return the folder of KubeRay's kustomizations, which come inside its module."""
    return _kept("kuberay-config", "kuberay", lambda folder: _copy_manifests(KUBERAY_MODULE, folder))


def gateway_definition() -> Path:
    """Return the file of the Gateway API's HTTPRoute, which comes inside a module that KubeRay is built with."""
    kept = _kept("gateway-config", "kuberay", lambda folder: _copy_manifests(GATEWAY_MODULE, folder))
    return kept / "crd" / "standard" / "gateway.networking.k8s.io_httproutes.yaml"


def cache_folder() -> Path:
    """Return where built programs are kept: outside the repository, so that clones share them."""
    if chosen := os.environ.get("DIPTYCH_CLUSTER_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diptych" / "cluster"


def _kept(name: str, group: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache that is complete, made now by one process if it is not there."""
    checksums = (MODULES / group / "go.sum").read_bytes()
    folder = cache_folder() / f"{name}-{hashlib.sha256(checksums).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent / f"{name}.lock"):
        if not folder.is_dir():
            unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
            unfinished.mkdir()
            try:
                make(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _build(name: str, folder: Path) -> None:
    tool, started = TOOLS[name], time.monotonic()
    sys.stderr.write(f"building {name} …\n")
    _go("build", "-trimpath", "-ldflags", tool.linker, "-o", str(folder / name), tool.package, group=tool.group)
    sys.stderr.write(f"built {name} in {time.monotonic() - started:.0f} s\n")


def _copy_manifests(name: str, folder: Path) -> None:
    module = json.loads(_go("mod", "download", "-json", name, group="kuberay"))
    config = Path(module["Dir"]) / "config"
    for file in config.rglob("*.yaml"):
        copy = folder / file.relative_to(config)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())  # the module's own files are read-only


def _go(*arguments: str, group: str) -> str:
    """Run Go in a group's folder. What go.mod and go.sum say is taken as it stands."""
    if not (program := shutil.which("go")):
        raise UnsupportedHere(
            "the programs of a cluster are built with Go, which is not on PATH",
            hint="Install Go 1.26 or newer (https://go.dev/dl/), then run this again.",
        )
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    done = subprocess.run(
        [program, *arguments],
        cwd=MODULES / group,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RunFailed(
            f"`go {' '.join(arguments)}` in {MODULES / group} failed: {done.stderr.strip()[-2000:]}",
            hint="Building needs the network once; what was downloaded is kept by Go.",
        )
    return done.stdout


if __name__ == "__main__":
    for each in TOOLS if "node" in sys.argv[1:] else CONTROL_PLANE:
        find(each)
    kuberay_manifests()
