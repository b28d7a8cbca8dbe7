"""Names in a spec that Kubernetes would refuse later, when a pod is made and nobody looks."""

import re
from collections.abc import Iterator
from typing import Final

from diptych_api.cluster import Pods, Toleration
from diptych_api.errors import SpecInvalid
from diptych_api.sources import Claim, SecretKey
from diptych_operator.manifests.environment import TAKEN
from diptych_operator.manifests.volumes import CLAIMS, HOME

LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
OBJECT: Final = re.compile(rf"{LABEL}(\.{LABEL})*")
VALUE: Final = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
KEY: Final = re.compile(rf"({LABEL}(\.{LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
SECRET_KEY: Final = re.compile(r"[-._A-Za-z0-9]+")
IMAGE: Final = re.compile(r"[!-~]+")
FOLDERS: Final = ("/dev", "/etc/diptych", "/proc", "/sys", "/tmp", "/var/run", "/run", "/bin", "/usr", HOME, CLAIMS)  # noqa: S108
LONGEST_OBJECT: Final = 253
LONGEST_VALUE: Final = 63
NAME_RULE: Final = "is no name of a Kubernetes object: small letters, digits, dashes and dots"
HINT: Final = "Write it as `kubectl get` shows it."


def check_pods(pods: Pods, field: str = "pods") -> None:
    """Refuse names in `pods` that no pod can have. Raises SpecInvalid with all of them."""
    problems = [f"{field}.{path}: {what}." for path, what in _pod_problems(pods)]
    if problems:
        raise SpecInvalid(" ".join(problems), hint=HINT)


def check_claim(claim: Claim, field: str) -> None:
    """Refuse a claim whose name or folder cannot be. Raises SpecInvalid."""
    problems = [f"{field}.{path}: {what}." for path, what in _claim_problems(claim)]
    if problems:
        raise SpecInvalid(" ".join(problems), hint=HINT)


def check_secret(secret: SecretKey, field: str) -> None:
    """Refuse a Secret whose name or key cannot be. Raises SpecInvalid."""
    problems = [f"{field}.{path}: {what}." for path, what in _secret_problems(secret)]
    if problems:
        raise SpecInvalid(" ".join(problems), hint=HINT)


def is_object_name(name: str) -> bool:
    """Whether Kubernetes takes this as the name of a claim, a Secret or an account."""
    return len(name) <= LONGEST_OBJECT and OBJECT.fullmatch(name) is not None


def _pod_problems(pods: Pods) -> Iterator[tuple[str, str]]:
    if pods.image is not None and not IMAGE.fullmatch(pods.image):
        yield "image", "has blanks or letters that no image name has"
    names = [("priorityClassName", pods.priority_class_name), ("serviceAccountName", pods.service_account_name)]
    names += [(f"imagePullSecrets[{number}]", name) for number, name in enumerate(pods.image_pull_secrets)]
    yield from ((path, NAME_RULE) for path, name in names if name is not None and not is_object_name(name))
    yield from _label_problems("nodeSelector", pods.node_selector)
    if pods.gpu_type is not None and not is_label_value(pods.gpu_type):
        yield "gpuType", "is no value of a node label"
    for number, toleration in enumerate(pods.tolerations):
        yield from ((f"tolerations[{number}]", what) for what in _toleration_problems(toleration))
    for number, variable in enumerate(pods.env):
        if TAKEN.fullmatch(variable.name):
            yield f"env[{number}].name", f"{variable.name} is set by Diptych, Ray or the shell"
        yield from ((f"env[{number}].valueFrom.{path}", what) for path, what in _secret_problems(variable.value_from))
    yield from _volume_problems(pods)


def _label_problems(field: str, labels: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in labels.items():
        if not is_label_key(key):
            yield field, f"{key!r} is no key of a label"
        if not is_label_value(value):
            yield field, f"{value!r} is no value of a label"


def _toleration_problems(toleration: Toleration) -> Iterator[str]:
    if toleration.key and not is_label_key(toleration.key):
        yield "key is no key of a taint"
    if not toleration.key and toleration.operator != "Exists":
        yield "without a key, operator must be Exists"
    if toleration.operator == "Exists" and toleration.value:
        yield "with operator Exists, leave value out"
    if not is_label_value(toleration.value or ""):
        yield "value is no value of a taint"
    if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
        yield "tolerationSeconds needs effect NoExecute"


def _volume_problems(pods: Pods) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for number, volume in enumerate(pods.volumes):
        path, folder = f"volumes[{number}]", volume.mount_path.rstrip("/") or "/"
        yield from ((f"{path}.claim.{part}", what) for part, what in _claim_problems(volume.claim))
        if is_own_folder(folder):
            yield f"{path}.mountPath", f"{folder} is needed by the pod itself"
        if folder in seen:
            yield f"{path}.mountPath", f"{folder} is used twice"
        seen.add(folder)


def _claim_problems(claim: Claim) -> Iterator[tuple[str, str]]:
    if not is_object_name(claim.claim_name):
        yield "claimName", NAME_RULE
    if claim.path.startswith("/") or ".." in claim.path.split("/"):
        yield "path", "must be a folder inside the volume"


def _secret_problems(secret: SecretKey) -> Iterator[tuple[str, str]]:
    if not is_object_name(secret.name):
        yield "name", NAME_RULE
    if not SECRET_KEY.fullmatch(secret.key) or secret.key in {".", ".."}:
        yield "key", "is no key of a Secret: letters, digits, dashes, dots and underscores"


def is_own_folder(folder: str) -> bool:
    """Whether a mount at this absolute path would hide what a pod needs, or hides where it is."""
    parts = [part for part in folder.split("/") if part not in {"", "."}]
    clean = "/" + "/".join(parts)
    if ".." in parts or clean == "/":
        return True
    return any(f"{clean}/".startswith(f"{own}/") or own.startswith(f"{clean}/") for own in FOLDERS)


def is_label_key(key: str) -> bool:
    """Whether Kubernetes takes this as the key of a label, an annotation or a taint."""
    prefix, _, name = key.rpartition("/")
    return KEY.fullmatch(key) is not None and len(name) <= LONGEST_VALUE and len(prefix) <= LONGEST_OBJECT


def is_label_value(value: str) -> bool:
    """Whether Kubernetes takes this as the value of a label or a taint."""
    return len(value) <= LONGEST_VALUE and VALUE.fullmatch(value) is not None
