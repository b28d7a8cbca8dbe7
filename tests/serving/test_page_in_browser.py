"""The page as a visitor has it: a real Chromium, a real Ray Serve, a real engine."""

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx2
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from playwright.sync_api import Locator, expect

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.servingconfig import RegistryConfig, ServingConfig, serving_config
from diptych_serving.local import apply, served
from diptych_serving.until_ready import wait_for_page, wait_until_ready
from diptych_serving.v1 import images_pb2 as pb
from diptych_serving.v1.images_pb2_grpc import ImageServiceStub
from support.adapters import saved_adapter
from support.browser import Window, window
from support.tiny_models import make_pipeline

PORT, GRPC_PORT = 18471, 18472
FOLLOWED: dict[str, Any] = {
    "defaults": {"steps": 12, "guidanceScale": 2},
    "limits": {"maxSteps": 1000},
    "examples": ["a fox", "an owl"],
    "promptTemplates": [{"name": "emoji", "template": "{prompt}!"}],
}
KEYS, KEY = "DIPTYCH_TEST_KEYS", "open-sesame"
PATIENCE_MS = 60_000
SLOW_LINE = """() => {
    const quick = window.fetch;
    window.onTheirWay = 0;
    const slowed = body => new ReadableStream({async start(page) {
        const later = put => {
            window.onTheirWay += 1;
            setTimeout(() => { window.onTheirWay -= 1; try { put(); } catch { /* the page has gone on */ } }, 500);
        };
        for await (const part of body) later(() => page.enqueue(part));
        later(() => page.close());
    }});
    window.fetch = async (...asked) => {
        const answer = await quick(...asked);
        const tells = String(asked[0].url ?? asked[0]).includes('/queue/data');
        return tells ? new Response(slowed(answer.body), {status: answer.status, headers: answer.headers}) : answer;
    };
}"""
"""Steps reach the page later than answers to its clicks do."""
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@dataclass
class Deployment:
    """The deployment, and its page in a browser."""

    url: str
    config: ServingConfig
    followed: dict[str, Any]
    window: Window

    def follow(self, title: str | None = None, **values: Any) -> None:
        """Change limits, adapters and title, as a change of the user_config does on a cluster."""
        page = self.config.ui if title is None else self.config.ui.model_copy(update={"title": title})
        config = self.config.model_copy(update={"ui": page})
        apply(config, RegistryConfig.model_validate({**self.followed, **values}), host="127.0.0.1")

    @property
    def problem(self) -> Locator:
        """The box that tells what went wrong."""
        return self.window.page.locator("#status .problem")

    def click(self, button: str) -> Locator:
        """Click and wait for the end of what begins; return the seed that the page shows, or nothing."""
        page, drawn = self.window.page, self.window.page.locator("#drawn-seed")
        for old in page.locator("#drawn-seed, #status .problem").all():
            old.evaluate("element => { element.id = ''; element.className = ''; }")
        page.locator(f"#{button}").click()
        expect(drawn.or_(self.problem)).to_be_visible()
        expect(page.locator("#stop")).to_be_hidden()
        return drawn

    def draw(self, button: str = "draw") -> str:
        """Draw and return the seed that the page shows."""
        return self.click(button).inner_text()

    def until_refused(self) -> None:
        """Draw until the gateway has heard of a new configuration."""
        for _ in range(50):
            if self.click("draw").count() == 0:
                return
        raise AssertionError("the new configuration never came")

    def pictures(self, place: str, seed: str) -> list[bytes]:
        """Return the files that the page shows, once those of this seed have taken the place of previews."""
        page = self.window.page
        loaded = """([images, name]) => [...document.querySelectorAll(images)].every(
            image => image.src.includes(name) && image.complete && image.naturalWidth > 0)"""
        page.wait_for_function(loaded, arg=[f"#{place} img", f"_{seed}.png"])
        images = page.locator(f"#{place} img").all()
        return [httpx2.get(str(image.evaluate("element => element.src"))).content for image in images]


@pytest.fixture(scope="module")
def keys() -> Iterator[None]:
    """Put a key into the environment that the gateway inherits."""
    known = [{"name": "tester", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEYS, json.dumps(known))
        yield


@pytest.fixture(scope="module")
def deployment(keys: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    adapter = saved_adapter(tmp_path_factory.mktemp("style"), base)
    followed = {**FOLLOWED, "adapters": [{"name": "style", "uri": str(adapter)}]}
    spec = DiffusionDeploymentSpec.model_validate(
        {
            "base": {"uri": str(base)},
            "resources": {"cpus": 1},
            "endpoints": {"http": {"port": PORT}, "grpc": {"port": GRPC_PORT}},
            "ui": {"title": "Try <it>"},
        }
    )
    config = serving_config("test", None, spec)
    follows = RegistryConfig.model_validate(followed)
    with served(config, follows, host="127.0.0.1") as url:
        wait_until_ready(url, lambda _: None)
        assert wait_for_page(url) is None
        with window(f"{url}/ui") as opened:
            expect.set_options(timeout=PATIENCE_MS)
            opened.page.set_default_timeout(PATIENCE_MS)
            yield Deployment(url, config, followed, opened)


@pytest.fixture(autouse=True)
def opened(deployment: Deployment) -> Iterator[None]:
    """Begin each test with the page as a new visitor finds it; nothing may fail or go elsewhere meanwhile."""
    page = deployment.window.page
    page.goto(f"{deployment.url}/ui")
    expect(page.locator("#sides")).to_contain_text("style")
    page.locator("#prompt textarea").fill("a dog")
    yield
    assert deployment.window.hosts == {urlsplit(deployment.url).netloc}
    assert deployment.window.errors == []


def test_the_head_tells_what_draws_where(deployment: Deployment) -> None:
    page = deployment.window.page
    assert page.title() == "Try <it>"
    expect(page.locator("#facts h1")).to_have_text("Try <it>")
    for words in ("cpu · float32", "style"):
        expect(page.locator("#facts")).to_contain_text(words)


def test_grpc_clients_need_to_know_nothing_of_the_page(deployment: Deployment) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{GRPC_PORT}") as channel:
        request = pb.GenerateRequest(params=pb.Params(prompt="a dog", seed=7, steps=2))
        assert [image.seed for image in ImageServiceStub(channel).Generate(request, timeout=60).images] == [7]
        with pytest.raises(grpc.RpcError) as refused:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED, "reflection is for those who ask for it"


def test_another_title_begins_the_page_anew_and_nothing_else(deployment: Deployment) -> None:
    page = deployment.window.page
    engine = httpx2.get(f"{deployment.url}/v1/deployment").json()
    deployment.follow(title="Another")
    try:
        page.wait_for_function(
            "async address => (await (await fetch(address)).text()).includes('<title>Another</title>')",
            arg=f"{deployment.url}/ui/",
        )
        page.reload()
        expect(page.locator("#facts h1")).to_have_text("Another")
        assert httpx2.get(f"{deployment.url}/v1/deployment").json() == engine
    finally:
        deployment.follow()
        page.wait_for_function(
            "async address => (await (await fetch(address)).text()).includes('<title>Try ')",
            arg=f"{deployment.url}/ui/",
        )


def test_both_sides_come_and_again_draws_the_same(deployment: Deployment) -> None:
    page = deployment.window.page
    seed = deployment.draw()
    first = deployment.pictures("slider", seed)
    assert len(first) == 2
    assert first[0] != first[1]
    assert page.locator("#labels").inner_text().split() == ["base", "style"]
    assert deployment.draw("again") == seed
    assert deployment.pictures("slider", seed) == first
    assert page.locator("#seed input, #seed textarea").input_value() == seed
    other = deployment.draw("new")
    assert other != seed
    assert deployment.pictures("slider", other) != first


def test_steps_and_previews_are_seen_on_the_way(deployment: Deployment) -> None:
    page = deployment.window.page
    page.evaluate(
        """() => { window.told = []; new MutationObserver(() => {
             window.told.push(document.querySelector('#status').innerText);
             for (const image of document.querySelectorAll('#slider img')) window.told.push(image.src);
           }).observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true}); }"""
    )
    page.locator("#steps input[type=number]").fill("400")
    deployment.draw()
    told = page.evaluate("window.told")
    assert any("of 400" in text for text in told)
    assert any("preview-" in text for text in told)


def test_other_numbers_of_sides_stand_beside_each_other(deployment: Deployment) -> None:
    page = deployment.window.page
    page.locator("#sides input").fill("style:0.5")
    page.locator("#sides input").press("Enter")
    page.keyboard.press("Escape")
    seed = deployment.draw()
    assert len(deployment.pictures("gallery", seed)) == 3
    for words in ("base", "style", "style:0.5"):
        expect(page.locator("#gallery")).to_contain_text(words)
    expect(page.locator("#slider")).to_be_hidden()


def test_two_sides_may_stand_beside_each_other_too(deployment: Deployment) -> None:
    page = deployment.window.page
    seed = deployment.draw()
    page.locator("#mode").get_by_text("Side by side").click()
    expect(page.locator("#slider")).to_be_hidden()
    assert len(deployment.pictures("gallery", seed)) == 2


def test_downloads_are_named_and_are_the_pictures_of_the_api(deployment: Deployment, tmp_path: Path) -> None:
    page = deployment.window.page
    seed = int(deployment.draw())
    with page.expect_download() as download:
        page.locator("#files a").nth(1).click()
    assert download.value.suggested_filename == f"a-dog_style_{seed}.png"
    download.value.save_as(tmp_path / "picture.png")
    body = {"prompt": "a dog", "seed": seed, "steps": 12, "arms": [{}, {"adapter": "style"}]}
    reply = httpx2.post(f"{deployment.url}/v1/compare", json=body, timeout=60).json()
    assert base64.b64decode(reply["images"][1]["image"]) == (tmp_path / "picture.png").read_bytes()


def test_the_shown_program_draws_the_same(deployment: Deployment, tmp_path: Path) -> None:
    page = deployment.window.page
    seed = deployment.draw()
    page.locator("#request").get_by_text("This request").click()
    text = "\n".join(page.locator("#python .cm-line").all_inner_texts())
    subprocess.run([sys.executable, "-c", text], check=True, cwd=tmp_path)
    files = [tmp_path / f"{number}-{name}-{seed}.png" for number, name in enumerate(("base", "style"))]
    assert [file.read_bytes() for file in files] == deployment.pictures("slider", seed)


def test_an_example_is_drawn_at_a_click(deployment: Deployment) -> None:
    page = deployment.window.page
    page.get_by_text("an owl").click()
    expect(page.locator("#prompt textarea")).to_have_value("an owl")
    page.locator("#prompt textarea").press("Enter")
    expect(page.locator("#files")).to_contain_text("an-owl_base")


def test_an_open_page_hears_of_new_adapters_and_keeps_what_was_chosen(deployment: Deployment) -> None:
    page = deployment.window.page
    (style,) = deployment.followed["adapters"]
    deployment.follow(adapters=[style, {**style, "name": "second"}])
    try:
        expect(page.locator("#facts")).to_contain_text("second")
        expect(page.locator("#prompt textarea")).to_have_value("a dog")
        expect(page.locator("#sides")).to_contain_text("style")
        page.locator("#sides input").click()
        page.get_by_role("option", name="second").click()
        page.keyboard.press("Escape")
        assert len(deployment.pictures("gallery", deployment.draw())) == 3
    finally:
        deployment.follow()


def test_a_wrong_field_is_named(deployment: Deployment) -> None:
    page = deployment.window.page
    page.locator("#seed input, #seed textarea").fill("seven")
    deployment.click("draw")
    expect(deployment.problem).to_contain_text("Seed: seven is no seed. Write a whole number")


def test_a_drawing_can_be_stopped_and_no_late_step_takes_the_word(deployment: Deployment) -> None:
    """On a slow line, steps are still on their way when the visitor stops."""
    page = deployment.window.page
    page.evaluate(SLOW_LINE)
    page.locator("#steps input[type=number]").fill("900")
    page.locator("#draw").click()
    expect(page.locator("#status")).to_contain_text("of 900")
    page.locator("#stop").click()
    expect(page.locator("#status")).to_contain_text("stopped.")
    page.wait_for_function("window.onTheirWay === 0")
    expect(page.locator("#stop")).to_be_hidden()
    assert page.locator("#status").inner_text() == "stopped."
    page.locator("#steps input[type=number]").fill("3")
    deployment.draw("new")


def test_a_server_that_wants_a_key_is_asked_with_one(deployment: Deployment) -> None:
    page = deployment.window.page
    expect(page.locator("#key")).to_be_hidden()
    deployment.follow(auth={"apiKeys": {"name": "keys", "key": KEYS}})
    try:
        deployment.until_refused()
        expect(deployment.problem).to_contain_text("This server wants an API key")
        page.locator("#key input").fill(KEY)
        deployment.draw()
        page.locator("#request").get_by_text("This request").click()
        expect(page.locator("#curl")).to_contain_text("$DIPTYCH_API_KEY")
        assert KEY not in page.inner_text("body")
        page.goto(f"{deployment.url}/ui")
        expect(page.locator("#facts .problem")).to_contain_text("This server wants an API key")
        page.locator("#key input").fill(KEY)
        page.locator("#key input").press("Enter")
        expect(page.locator("#sides")).to_contain_text("style")
    finally:
        deployment.follow()


def test_what_is_left_of_a_limit_is_shown_before_and_after_a_drawing(deployment: Deployment) -> None:
    left = deployment.window.page.locator("#remaining")
    deployment.follow(rateLimit={"session": {"maxRequests": 500}})
    try:
        expect(left).to_contain_text("of 500 requests in this session")
        before = int(left.locator("b").inner_text())
        deployment.draw()
        expect(left).to_have_text(f"left: {before - 1} of 500 requests in this session")
    finally:
        deployment.follow()


def test_a_limit_is_read_by_people_and_ends_with_it(deployment: Deployment) -> None:
    page = deployment.window.page
    deployment.follow(rateLimit={"total": {"maxRequestsPerHour": 1}})
    try:
        deployment.until_refused()
        for words in ("A limit is reached", "TotalRequestsPerHour", "Try again in"):
            expect(deployment.problem).to_contain_text(words)
        expect(page.locator("#remaining")).to_have_text("left: 0 of 1 requests an hour for all visitors")
        assert "Traceback" not in page.inner_text("body")
    finally:
        deployment.follow()
