"""The control plane of the tests: what it promises to those who test with it."""

import subprocess

import pytest

from cluster.control_plane import ControlPlane
from cluster.objects import Values, reference
from cluster.rest import Refused, Rest
from support.waiting import until

pytestmark = pytest.mark.integration


def config_map(namespace: str, name: str = "kept") -> Values:
    return reference("v1", "ConfigMap", name, namespace) | {"data": {"a": "b"}}


def pod(namespace: str, **security: object) -> Values:
    container = {"name": "c", "image": "x", "securityContext": security}
    return reference("v1", "Pod", "p", namespace) | {"spec": {"containers": [container]}}


def test_a_restart_of_the_api_server_keeps_address_and_data(control_plane: ControlPlane, namespace: str) -> None:
    url = control_plane.url
    control_plane.api.create(config_map(namespace))
    control_plane.stop_apiserver()
    assert not control_plane.api.is_ready()
    control_plane.start_apiserver()
    assert control_plane.url == url
    assert control_plane.api.read(config_map(namespace))["data"] == {"a": "b"}


def test_a_killed_api_server_comes_back_too(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.create(config_map(namespace))
    control_plane.stop_apiserver(kill=True)
    control_plane.start_apiserver()
    assert control_plane.api.is_there(config_map(namespace))


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(
    control_plane: ControlPlane, namespace: str
) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    control_plane.api.create(reference("rbac.authorization.k8s.io/v1", "Role", "reader", namespace) | {"rules": rules})
    control_plane.api.create(
        reference("rbac.authorization.k8s.io/v1", "RoleBinding", "reader", namespace)
        | {
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
        }
    )
    control_plane.api.create(config_map(namespace))
    token = control_plane.token_for(namespace, "default")
    with Rest(control_plane.url, control_plane.authority.certificate, token) as reader:
        assert reader.read(config_map(namespace))["data"] == {"a": "b"}
        with pytest.raises(Refused, match="cannot delete resource"):
            reader.delete(config_map(namespace))


def test_the_kubeconfig_of_a_service_account_speaks_for_it(control_plane: ControlPlane, namespace: str) -> None:
    path = control_plane.kubeconfig_for(namespace, "default")
    told = control_plane.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", "--kubeconfig", path)
    assert told == f"system:serviceaccount:{namespace}:default"


def test_the_audit_log_tells_who_asked_for_what(control_plane: ControlPlane, namespace: str) -> None:
    mark = control_plane.audit.mark()
    somebody = control_plane.client("somebody")
    made = somebody.create(config_map(namespace))
    somebody.create(config_map(namespace, "tried"), dry_run=True)
    somebody.apply(config_map(namespace), manager="me")
    somebody.delete(made, preconditions={"uid": made["metadata"]["uid"]})
    until(lambda: len(control_plane.audit.writes(mark, user="somebody")) == 3)
    create, apply, delete = control_plane.audit.writes(mark, user="somebody", agent="somebody")
    assert (create.verb, create.resource, create.name, create.namespace) == ("create", "configmaps", "kept", namespace)
    assert (apply.verb, apply.field_manager, apply.code) == ("patch", "me", 200)
    assert (delete.verb, delete.precondition_uid) == ("delete", made["metadata"]["uid"])
    assert create.time < apply.time < delete.time


def test_a_refused_request_is_in_the_audit_log(control_plane: ControlPlane, namespace: str) -> None:
    mark = control_plane.audit.mark()
    token = control_plane.token_for(namespace, "default")
    with Rest(control_plane.url, control_plane.authority.certificate, token, agent="intruder") as nobody:
        with pytest.raises(Refused):
            nobody.read(reference("v1", "Secret", "s", namespace))
        until(lambda: bool(control_plane.audit.records(mark, agent="intruder")))
    [record] = control_plane.audit.records(mark, agent="intruder")
    assert (record.verb, record.resource, record.was_allowed) == ("get", "secrets", False)


def test_a_namespace_takes_restricted_pods_only(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(Refused, match='violates PodSecurity "restricted'):
        control_plane.api.create(pod(namespace), dry_run=True)
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    control_plane.api.create(pod(namespace, **security, seccompProfile={"type": "RuntimeDefault"}), dry_run=True)


def test_what_kubectl_refuses_can_be_read(control_plane: ControlPlane) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        control_plane.kubectl("get", "ftj", "nobody")
    assert '"nobody" not found' in error.value.stderr


def test_a_deleted_namespace_goes(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.create(config_map(namespace))
    control_plane.kubectl("delete", "namespace", namespace, "--timeout=180s")
    assert not control_plane.api.is_there(config_map(namespace))
