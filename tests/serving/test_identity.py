"""A header can be made up; a trusted proxy's cannot."""

import pytest

from diptych_serving.directory import Directory
from diptych_serving.identity import address_of, client_of, grpc_address, joined

PROXIES = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("1.2.3.4", "9.9.9.9", (), "1.2.3.4"),
        ("1.2.3.4", "9.9.9.9", PROXIES, "1.2.3.4"),
        ("10.1.1.1", "9.9.9.9", PROXIES, "9.9.9.9"),
        ("10.1.1.1", "6.6.6.6, 9.9.9.9, 10.2.2.2", PROXIES, "9.9.9.9"),
        ("10.1.1.1", "10.3.3.3, 10.2.2.2", PROXIES, "10.3.3.3"),
        ("10.1.1.1", "nonsense", PROXIES, "10.1.1.1"),
        ("10.1.1.1", "", PROXIES, "10.1.1.1"),
        ("fd00::1", "2001:db8::7", PROXIES, "2001:db8::7"),
        ("", "9.9.9.9", PROXIES, ""),
        ("10.1.1.1", "9.9.9.9", ("1.2.3.4/99", "10.0.0/8"), "10.1.1.1"),
    ],
)
def test_the_address_is_the_last_one_that_is_no_trusted_proxy(
    peer: str, forwarded: str, trusted: tuple[str, ...], address: str
) -> None:
    assert address_of(peer, forwarded, trusted) == address


def test_a_session_is_named_by_header_first_then_by_the_body() -> None:
    headers = {"x-gradio-session": "g", "x-session-id": "s"}
    assert client_of("1.1.1.1", headers, (), "b").session == "s"
    assert client_of("1.1.1.1", {"x-gradio-session": "g"}, (), "b").session == "g"
    assert client_of("1.1.1.1", {}, (), "b").session == "b"
    assert client_of("1.1.1.1", {"x-session-id": " "}, (), "b" * 200).session == "b" * 128
    assert client_of("1.1.1.1", {}, ()).session is None


def test_a_header_that_came_twice_has_both_values() -> None:
    headers = joined([("X-Forwarded-For", "6.6.6.6"), ("x-forwarded-for", "9.9.9.9")])
    assert client_of("10.0.0.1", headers, PROXIES).ip == "9.9.9.9"


@pytest.mark.parametrize(
    ("peer", "address"),
    [("ipv4:1.2.3.4:5678", "1.2.3.4"), ("ipv6:%5B::1%5D:53458", "::1"), ("ipv6:[fd00::1]:5", "fd00::1"), ("unix:", "")],
)
def test_the_address_of_a_grpc_peer(peer: str, address: str) -> None:
    assert grpc_address(peer) == address


def test_the_page_is_believed_for_whom_it_asks_and_nobody_who_says_he_is_the_page() -> None:
    directory = Directory("test")
    headers = {"x-forwarded-for": "9.9.9.9, 10.0.0.7"}
    shown = headers | {"x-diptych-page": directory.page_ticket}
    assert directory.client("127.0.0.1", shown, None).ip == "10.0.0.7"
    for other in ({}, {"x-diptych-page": ""}, {"x-diptych-page": "guessed"}):
        assert directory.client("127.0.0.1", headers | other, None).ip == "127.0.0.1"
