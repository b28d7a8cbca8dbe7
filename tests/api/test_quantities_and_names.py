from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych_api import names
from diptych_api.quantities import millicores, parse_quantity, show_bytes, whole_bytes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("500m", "0.5"),
        ("1.5Gi", 1_610_612_736),
        ("8Gi", 1 << 33),
        ("1k", 1000),
        ("1e3", 1000),
        ("-1", -1),
        ("12E", 12 * 10**18),
        ("1E2", 100),
        (".5", "0.5"),
        ("5.", 5),
        ("100n", "1e-7"),
        ("1Ki", 1024),
        ("0", 0),
    ],
)
def test_quantities_have_their_exact_value(text: str, value: int | str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    "text", ["", "Gi", "1gi", "1 Gi", "1KiB", "0x10", "1e", "1eGi", "١", "1\n", "9" * 65, "1e9999"]
)
def test_other_texts_are_no_quantities(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**15))
def test_whole_numbers_come_back(number: int) -> None:
    assert whole_bytes(str(number)) == number
    assert millicores(f"{number}m") == number


def test_parts_of_a_byte_and_a_millicore_are_rounded_up() -> None:
    assert (whole_bytes("1.5"), millicores("0.0001")) == (2, 1)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (512, "512 B"), (1 << 20, "1.0 MiB"), (8_589_934_592, "8.0 GiB")]
)
def test_bytes_are_shown_with_a_unit(count: int, text: str) -> None:
    assert show_bytes(count) == text


def test_children_of_the_longest_name_fit_kubernetes_and_kuberay() -> None:
    longest = "a" * 40
    assert len(names.ray_job_name(longest)) <= 47
    assert len(names.ray_service_name(longest)) <= 47
    assert names.ray_job_name("noto") != names.ray_service_name("noto"), "KubeRay's Services NAME-head-svc would fight"
    children = [names.job_policy_name, names.deployment_policy_name, names.service_name, names.disruption_budget_name]
    assert all(len(child(longest)) <= 63 for child in children)


def test_a_job_and_a_deployment_of_one_name_do_not_share_children() -> None:
    assert names.job_policy_name("noto") != names.deployment_policy_name("noto")


def test_labels_tell_owner_and_kind() -> None:
    assert names.labels("uid-1", job="noto") == {
        "app.kubernetes.io/managed-by": "diptych",
        "app.kubernetes.io/component": "training",
        "diptych.dev/owner-uid": "uid-1",
        "diptych.dev/job": "noto",
    }
    assert names.labels("uid-1", deployment="noto")["app.kubernetes.io/component"] == "serving"
