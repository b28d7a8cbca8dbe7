"""Quantities are written as they come back: the right ones are what Go's ParseQuantity made of the left ones."""

import pytest

from diptych_api.cluster import Pods
from diptych_operator.defaults import Defaults
from diptych_operator.manifests.canonical import canonical_quantity
from diptych_operator.manifests.pods import PodShape, pod_template

PAIRS = [
    *(("2048Mi", "2Gi"), ("8Gi", "8Gi"), ("1.5Gi", "1536Mi"), ("1536Mi", "1536Mi"), ("1Ki", "1Ki"), ("0.5Ki", "512")),
    *(("0", "0"), ("0Gi", "0"), ("1000m", "1"), ("500m", "500m"), ("0.5", "500m"), ("1.0", "1"), ("2000", "2k")),
    *(("1500M", "1500M"), ("1000M", "1G"), ("0.1k", "100"), ("1", "1"), ("128974848", "128974848"), ("3G", "3G")),
    *(("1.0001Ki", "1024102400u"), ("1e3", "1e3"), ("words", "words"), ("0.5m", "500u"), ("1024", "1024")),
    *(("0.0000000001", "1n"), ("1.5", "1500m"), ("100000000000Ki", "97656250Mi"), ("0.25T", "250G")),
    *(("63353379824435601302", "63353379824435601302"), ("63353379824435601302Ti", "9223372036854775807")),
    *(("12345678901234567890123456789012", "12345678901234567890123456789012"), ("0.12345678901", "123456790n")),
]


@pytest.mark.parametrize(("given", "written"), PAIRS)
def test_a_quantity_is_written_as_it_comes_back(given: str, written: str) -> None:
    assert canonical_quantity(given) == written


def test_every_quantity_of_a_pod_is_written_so_those_of_a_patch_too() -> None:
    patch = {
        "containers": [{"name": "ray", "resources": {"limits": {"ephemeral-storage": "1024Mi"}}}],
        "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1000M", "medium": ""}}],
    }
    shape = PodShape(account="a", labels={}, cpus="1000m", memory="4096Mi")
    spec = pod_template(shape, Pods(template={"spec": patch}), Defaults(image="image:1"))["spec"]
    limits = spec["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "1", "memory": "4Gi", "ephemeral-storage": "1Gi"}
    assert spec["volumes"][-1] == {"name": "data", "emptyDir": {"sizeLimit": "1G"}}
