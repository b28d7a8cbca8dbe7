"""What a deployment's children say."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.errors import SpecInvalid
from diptych_api.wire import from_wire
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Manifest
from diptych_operator.manifests.budget import disruption_budget
from diptych_operator.manifests.deployment_policy import deployment_policy
from diptych_operator.manifests.httproute import http_route
from diptych_operator.manifests.ingress import ingress
from diptych_operator.manifests.rayservice import ray_service
from diptych_operator.manifests.serve_text import serve_text, serve_values

DEFAULTS = Defaults(image="ray:1", kuberay_namespace="kuberay")
REVISION = "0" * 40


def deployment(**spec: Any) -> DiffusionDeployment:
    head = {"apiVersion": "diptych.dev/v1alpha1", "kind": "DiffusionDeployment"}
    metadata = {"name": "noto", "namespace": "art", "uid": "u", "labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
    return from_wire(
        DiffusionDeployment, head | {"metadata": metadata, "spec": {"base": {"builtin": "tiny-emoji"}} | spec}
    )


def made(**spec: Any) -> Manifest:
    return ray_service(deployment(**spec), [], DEFAULTS)


def head_of(manifest: Manifest) -> Manifest:
    found: Manifest = manifest["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    return found


def workers_of(manifest: Manifest) -> Manifest:
    found: Manifest = manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    return found


def test_the_service_has_the_specs_ports_and_pods_have_fixed_ones() -> None:
    endpoints = {"http": {"port": 80}, "grpc": {"port": 50051}, "compatible": {"enabled": True}}
    manifest = made(endpoints=endpoints)
    ports = {
        port["name"]: (port["port"], port["targetPort"]) for port in manifest["spec"]["serveService"]["spec"]["ports"]
    }
    assert ports == {
        "serve": (80, 8000),
        "serve-grpc": (50051, 9000),
        "serve-infer": (7861, 8000),
        "serve-ping": (8080, 8000),
    }
    assert manifest["spec"]["serveService"]["metadata"]["name"] == "noto-images"
    declared = {port["name"] for port in head_of(manifest)["containers"][0]["ports"]}
    assert declared == {"gcs-server", "dashboard", "client", "metrics", *ports}
    config = serve_values(manifest["spec"]["serveConfigV2"]) or {}
    assert (config["http_options"]["port"], config["grpc_options"]["port"]) == (8000, 9000)


def test_without_grpc_there_is_no_port_of_it() -> None:
    manifest = made(endpoints={"grpc": {"enabled": False}})
    assert [port["name"] for port in manifest["spec"]["serveService"]["spec"]["ports"]] == ["serve"]
    assert "serve-grpc" not in {port["name"] for port in head_of(manifest)["containers"][0]["ports"]}


def test_each_worker_has_room_for_one_engine_and_all_else_is_on_the_head() -> None:
    manifest = made(resources={"gpus": 1, "cpus": 4, "memory": "20Gi"}, replicas=3)
    group = workers_of(manifest)
    assert group["rayStartParams"]["resources"] == '"{\\"diptych_engine\\": 1}"'
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (3, 0, 1024)
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "4", "memory": "20Gi", "nvidia.com/gpu": "1"}
    config = serve_values(manifest["spec"]["serveConfigV2"]) or {}
    (images,) = config["applications"]
    options = {one["name"]: one["ray_actor_options"] for one in images["deployments"]}
    assert options.pop("Engine") == {"num_cpus": 4, "num_gpus": 1, "resources": {"diptych_engine": 1}}
    assert set(options) == {"Gateway", "Jobs", "Registry", "Limiter", "Page"}
    assert all("node:__internal_head__" in one["resources"] for one in options.values())


def test_the_autoscaler_alone_sees_a_token_and_its_account_is_kuberays() -> None:
    manifest = made()
    cluster = manifest["spec"]["rayClusterConfig"]
    assert "serviceAccountName" not in head_of(manifest)
    assert workers_of(manifest)["template"]["spec"]["serviceAccountName"] == "diptych-pod"
    assert "api-token" in {mount["name"] for mount in cluster["autoscalerOptions"]["volumeMounts"]}
    assert "api-token" in {volume["name"] for volume in head_of(manifest)["volumes"]}
    assert "api-token" not in {volume["name"] for volume in workers_of(manifest)["template"]["spec"]["volumes"]}


def test_credentials_stand_beside_an_adapter_wherever_it_comes_from() -> None:
    store, key = {"name": "store", "key": "AWS_SECRET_ACCESS_KEY"}, "AWS_SECRET_ACCESS_KEY"
    for source in ({"uri": "s3://b/style"}, {"fromJob": {"name": "style"}}, {"fromModel": {"name": "style"}}):
        manifest = made(adapters=[{"name": "style", "credentials": store} | source])
        for pod in (head_of(manifest), workers_of(manifest)["template"]["spec"]):
            variables = {one["name"]: one.get("valueFrom") for one in pod["containers"][0]["env"]}
            assert variables[key] == {"secretKeyRef": store}


def test_secrets_are_variables_and_the_registry_is_told_their_names() -> None:
    hub = {"repo": "owner/base", "revision": REVISION, "token": {"name": "hub", "key": "token"}}
    manifest = made(
        base={"huggingFace": hub},
        auth={"apiKeys": {"name": "keys", "key": "api-keys.json"}},
        rateLimit={"store": "redis://store", "storePassword": {"name": "store", "key": "PASSWORD"}},
    )
    variables = {one["name"]: one.get("valueFrom") for one in head_of(manifest)["containers"][0]["env"]}
    assert variables["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert variables["API_KEYS_JSON"] == {"secretKeyRef": {"name": "keys", "key": "api-keys.json"}}
    assert variables["PASSWORD"] == {"secretKeyRef": {"name": "store", "key": "PASSWORD"}}
    config = serve_values(manifest["spec"]["serveConfigV2"]) or {}
    images = config["applications"][0]
    assert images["args"]["base"] == {"huggingFace": {"repo": "owner/base", "revision": REVISION}}
    told = next(one["user_config"] for one in images["deployments"] if one["name"] == "Registry")
    assert told["auth"]["apiKeys"]["key"] == "API_KEYS_JSON"


def test_a_base_on_a_claim_is_a_folder_and_what_is_downloaded_goes_to_the_cache() -> None:
    manifest = made(
        base={"pvc": {"claimName": "models", "path": "sd/1.5"}},
        modelCache={"pvc": {"claimName": "cache", "path": "hub"}},
    )
    config = serve_values(manifest["spec"]["serveConfigV2"]) or {}
    assert config["applications"][0]["args"]["base"] == {"uri": "/mnt/claims/models/sd/1.5"}
    container = workers_of(manifest)["template"]["spec"]["containers"][0]
    assert {"name": "DIPTYCH_CACHE", "value": "/mnt/claims/cache/hub"} in container["env"]
    places = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert (places["/mnt/claims/models"], places["/mnt/claims/cache"]) == (True, False)


def test_the_queue_of_the_deployment_is_the_ray_services() -> None:
    assert made()["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"


@pytest.mark.parametrize(
    ("spec", "stay"),
    [({}, 0), ({"replicas": 3}, 2), ({"replicas": 0}, 0), ({"autoscaling": {"min": 2, "max": 5}}, 1)],
)
def test_a_drain_takes_one_engine_at_a_time(spec: dict[str, Any], stay: int) -> None:
    budget = disruption_budget(deployment(**spec))["spec"]
    assert budget["minAvailable"] == stay
    assert budget["selector"]["matchLabels"] == {"diptych.dev/deployment": "noto", "ray.io/group": "engines"}


def test_an_ingress_leads_to_the_service_of_the_http_api() -> None:
    http = {"port": 80, "ingressHost": "noto.example.org", "ingressClass": "nginx", "tlsSecret": "cert"}
    found = ingress(deployment(endpoints={"http": http}))
    assert found is not None
    assert found["spec"]["ingressClassName"] == "nginx"
    assert found["spec"]["tls"] == [{"hosts": ["noto.example.org"], "secretName": "cert"}]
    (path,) = found["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"] == {"service": {"name": "noto-images", "port": {"number": 80}}}


@pytest.mark.parametrize(
    ("gateway", "parent"),
    [("public", {"name": "public"}), ("edge/public", {"name": "public", "namespace": "edge"})],
)
def test_a_route_is_attached_to_its_gateway_and_takes_the_ingress_place(gateway: str, parent: dict[str, str]) -> None:
    found = deployment(endpoints={"http": {"gateway": gateway, "ingressHost": "noto.example.org"}})
    route = http_route(found)
    assert route is not None
    assert route["spec"]["parentRefs"] == [parent]
    assert route["spec"]["hostnames"] == ["noto.example.org"]
    assert ingress(found) is None


@pytest.mark.parametrize(
    "http",
    [
        {"ingressHost": "a b"},
        {"ingressHost": "a.org", "ingressClass": "A b"},
        {"ingressHost": "a.org", "tlsSecret": "/"},
    ],
)
def test_names_that_cannot_be_are_refused(http: dict[str, Any]) -> None:
    with pytest.raises(SpecInvalid, match=r"endpoints\.http"):
        ingress(deployment(endpoints={"http": http}))


def test_the_policy_opens_ports_of_the_places_that_the_spec_names() -> None:
    found = deployment(base={"uri": "http://models.local:8123/base"}, rateLimit={"store": "redis://store"})
    policy = deployment_policy(found, DEFAULTS, ["s3://bucket/style", "http://host:9444/style"])["spec"]
    (anywhere,) = (rule for rule in policy["egress"] if any("ipBlock" in peer for peer in rule.get("to", ())))
    assert {port["port"] for port in anywhere["ports"]} == {443, 6379, 6443, 8123, 9444}
    kuberay = next(rule for rule in policy["ingress"] if "namespaceSelector" in (rule.get("from") or [{}])[0])
    assert {port["port"] for port in kuberay["ports"]} == {8000, 8265}
    assert kuberay["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kuberay"}


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.one_of(st.text(max_size=30), st.integers(), st.booleans()), max_size=5))
def test_yaml_reads_the_text_for_ray_serve_as_json_does(values: dict[str, Any]) -> None:
    assert yaml.safe_load(serve_text(values)) == values == serve_values(serve_text(values))


@pytest.mark.parametrize(
    "text", ["no", "1e3", "~", "12:30", "a\u2028b", "a\x85b", "\ufeff", "😀", "tab\t", '"', "\\u0041"]
)
def test_texts_that_yaml_takes_for_something_else_stay_texts(text: str) -> None:
    assert yaml.safe_load(serve_text({"text": text})) == {"text": text}


@pytest.mark.parametrize("text", ["", "no JSON", "[1]"])
def test_what_is_no_configuration_is_not_read(text: str) -> None:
    assert serve_values(text) is None
