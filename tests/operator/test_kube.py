"""The way to the API server."""

import asyncio

import pytest
from kubernetes.aio.client import Configuration

from diptych_operator.kube import Kube
from diptych_operator.watching import connection

PROXY = "http://proxy.example.org:3128"


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> Configuration:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return Configuration(host="https://cluster.example.org:6443")


async def proxies(configuration: Configuration) -> tuple[str | None, str | None]:
    """Return the proxies of requests and of watches."""
    await Kube(configuration).close()
    return configuration.proxy, (await connection(configuration)).proxy_url


@pytest.mark.parametrize(("spared", "proxy"), [("", PROXY), ("cluster.example.org", None), ("*", None)])
def test_requests_and_watches_go_by_the_proxy_of_the_environment(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch, spared: str, proxy: str | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", spared)
    assert asyncio.run(proxies(configuration)) == (proxy, proxy)
