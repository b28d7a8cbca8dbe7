"""Chromium, as Debian packages it, that talks to nobody by itself."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Page, Request, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTH, HEIGHT = 1280, 900


@dataclass
class Window:
    """A page of a browser, and the hosts that it has asked for anything."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", self._count)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _count(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.netloc)


@contextmanager
def window(url: str) -> Iterator[Window]:
    """Open a URL in a browser of its own."""
    chromium = shutil.which("chromium")
    assert chromium, "there is no Chromium; `make page` tells how to install it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, accept_downloads=True)
        opened = Window(page)
        page.goto(url)
        yield opened
        browser.close()
