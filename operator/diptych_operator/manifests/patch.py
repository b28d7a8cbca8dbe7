"""The spec's own strategic-merge patch over a pod template: what it may change, and what it may not."""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from diptych_api.errors import SpecInvalid
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.environment import NAME, TAKEN
from diptych_operator.manifests.service_token import TOKEN_VOLUME
from diptych_operator.manifests.spec_names import is_label_key, is_label_value, is_own_folder

FIELD: Final = "pods.template"
POD_FIELDS: Final = frozenset(
    [
        *("affinity", "containers", "dnsConfig", "dnsPolicy", "hostAliases", "nodeSelector", "priorityClassName"),
        *("runtimeClassName", "schedulerName", "tolerations", "topologySpreadConstraints", "volumes"),
    ]
)
OURS_FIELDS: Final = frozenset({"name", "env", "imagePullPolicy", "resources", "volumeMounts"})
SIDECAR_FIELDS: Final = OURS_FIELDS | {"args", "command", "image", "ports", "workingDir"}
PORT_FIELDS: Final = frozenset({"containerPort", "name", "protocol"})
VOLUME_SOURCES: Final = frozenset({"configMap", "csi", "emptyDir", "ephemeral", "persistentVolumeClaim", "secret"})
OWN_KEYS: Final = (
    *("ray.io/", "diptych.dev/", "kueue.x-k8s.io/", "app.kubernetes.io/"),
    *("container.apparmor.security.beta.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/"),
    "seccomp.security.alpha.kubernetes.io/",
)
"""Labels and annotations that decide whose a pod is, what its command is, or how it is confined."""
TOPOLOGY: Final = "kueue.x-k8s.io/podset-"
LIST_KEYS: Final = {
    "containers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "name",
}
EMPTY: Final[tuple[Any, ...]] = ("", [], {})
MARKERS: Final = frozenset({"emptyDir"})
"""Fields that say something by being there."""
HINT: Final = (
    "It may set labels, annotations, affinity, tolerations, topologySpreadConstraints, further volumes, environment, "
    "resources and sidecars; all else is fixed."
)


def patched(template: Manifest, patch: Mapping[str, Any] | None, container_security: Manifest) -> Manifest:
    """Return a template with a patch over it. Every container that the patch adds gets the security context.

    Raises:
        SpecInvalid: for a patch that would loosen security, run a command in Ray's container or take away what is
            there. Nothing is put right in silence.

    """
    if not patch:
        return template
    plain = _plain_values(patch)
    _refuse_unknown(plain, {"metadata", "spec"}, "")
    _check_metadata(_mapping(plain.get("metadata", {}), "metadata"))
    _check_spec(_mapping(plain.get("spec", {}), "spec"), template["spec"])
    merged: Manifest = _merge(template, _full(plain))
    for container in merged["spec"]["containers"]:
        container["securityContext"] = copy.deepcopy(container_security)
    return merged


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    _refuse_unknown(metadata, {"annotations", "labels"}, "metadata.")
    for part in ("annotations", "labels"):
        for key, value in _mapping(metadata.get(part, {}), f"metadata.{part}").items():
            if not is_label_key(key) or not isinstance(value, str) or (part == "labels" and not is_label_value(value)):
                _refuse(f"metadata.{part}", f"{key!r} is no key of {part}, or its value is none")
            if key.startswith(OWN_KEYS) and not key.startswith(TOPOLOGY):
                _refuse(f"metadata.{part}", f"{key} is not yours to set")


def _check_spec(spec: Mapping[str, Any], own: Manifest) -> None:
    _refuse_unknown(spec, POD_FIELDS, "spec.")
    taken = {TOKEN_VOLUME, *(volume["name"] for volume in own["volumes"])}
    for path, volume in _items(spec, "volumes", "spec."):
        if volume.get("name") in taken:
            _refuse(f"{path}name", f"{volume['name']} is a volume of the pod itself")
        _refuse_unknown(volume, VOLUME_SOURCES | {"name"}, path)
    ours = own["containers"][0]
    for path, container in _items(spec, "containers", "spec."):
        is_ours = container.get("name") == ours["name"]
        _refuse_unknown(container, OURS_FIELDS if is_ours else SIDECAR_FIELDS, path)
        _check_container(container, ours if is_ours else {}, path)


def _check_container(container: Mapping[str, Any], own: Manifest, path: str) -> None:
    taken = {variable["name"] for variable in own.get("env", ())}
    for where, variable in _items(container, "env", path):
        name = variable.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name) or TAKEN.fullmatch(name) or name in taken:
            _refuse(f"{where}name", f"{name!r} is no name that may be set")
    for where, mount in _items(container, "volumeMounts", path):
        folder = mount.get("mountPath")
        if mount.get("name") == TOKEN_VOLUME:
            _refuse(f"{where}name", f"{TOKEN_VOLUME} has a token that is not for containers of yours")
        if not isinstance(folder, str) or not folder.startswith("/") or is_own_folder(folder):
            _refuse(f"{where}mountPath", f"{folder!r} is no folder that may be mounted")
        if mount.get("mountPropagation") not in (None, "None", "HostToContainer"):
            _refuse(f"{where}mountPropagation", "may not reach the node")
    for where, port in _items(container, "ports", path):
        _refuse_unknown(port, PORT_FIELDS, where)


def _items(parent: Mapping[str, Any], name: str, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    items = parent.get(name, [])
    if not isinstance(items, list):
        _refuse(f"{path}{name}", "expected a list")
    for number, item in enumerate(items):
        where = f"{path}{name}[{number}]"
        found = _mapping(item, where)
        if not isinstance(found.get(LIST_KEYS[name]), str):
            _refuse(where, f"{LIST_KEYS[name]} is missing")
        yield f"{where}.", found


def _merge(below: Any, above: Any, name: str = "") -> Any:  # noqa: ANN401 - any part of a manifest
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merge(below.get(key), value, key) for key, value in above.items()}
    if isinstance(below, list) and isinstance(above, list):
        key = LIST_KEYS.get(name)
        if key is None:
            return [*below, *above]
        found = {item[key]: item for item in below}
        return list((found | {item[key]: _merge(found.get(item[key]), item) for item in above}).values())
    return copy.deepcopy(above)


def _plain_values(patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the patch that shares nothing with it. Refuses null and directives, which take away."""
    plain: dict[str, Any] = json.loads(json.dumps(patch))
    _refuse_removal(plain, "")
    return plain


def _full(value: Any) -> Any:  # noqa: ANN401 - any part of a patch
    """Return a patch without empty values: KubeRay leaves them out when it writes what it read."""
    if isinstance(value, dict):
        parts = {name: _full(part) for name, part in value.items()}
        return {
            name: part for name, part in parts.items() if name in MARKERS or (part is not False and part not in EMPTY)
        }
    return [_full(item) for item in value] if isinstance(value, list) else value


def _refuse_removal(value: Any, path: str) -> None:  # noqa: ANN401 - any part of a patch
    if value is None:
        _refuse(path, "null takes away; leave the field out")
    for key, part in value.items() if isinstance(value, dict) else ():
        if key.startswith("$"):
            _refuse(path, f"the directive {key} is not supported")
        _refuse_removal(part, f"{path}.{key}" if path else key)
    for number, part in enumerate(value if isinstance(value, list) else ()):
        _refuse_removal(part, f"{path}[{number}]")


def _refuse_unknown(value: Mapping[str, Any], known: frozenset[str] | set[str], path: str) -> None:
    for name in value:
        if name not in known:
            _refuse(f"{path}{name}", "may not be patched")


def _mapping(value: Any, path: str) -> Mapping[str, Any]:  # noqa: ANN401 - any part of a patch
    if not isinstance(value, dict):
        _refuse(path, "expected a mapping")
    return value


def _refuse(path: str, what: str) -> NoReturn:
    raise SpecInvalid(f"{FIELD}.{path}: {what}.", hint=HINT)
