"""The page's own words: file names, requests, snippets, and problems as people read them."""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diptych_serving.page.api import Api, Visitor
from diptych_serving.page.form import Form, compare_body, streamed
from diptych_serving.page.pictures import file_name, side_of, write_pictures
from diptych_serving.page.problem import Problem, duration, problem_html, problem_of
from diptych_serving.page.snippets import curl, public_url, python
from diptych_serving.page.words import done_html, facts_html, remaining_html
from support.adapters import saved_adapter
from support.http_server import listening
from support.tiny_models import make_pipeline

CHOSEN: dict[str, Any] = {
    "prompt": "a dog",
    "sides": ["base", "noto"],
    "factor": 1,
    "seed": "7",
    "steps": 4,
    "guidance": 2.0,
    "scheduler": "DDIM",
    "eta": 0,
    "width": 64,
    "height": 64,
    "negative": "",
    "template": "",
}
DOG = {"prompt": "a dog", "seed": 7, "steps": 4, "guidance_scale": 2.0, "scheduler": "DDIM", "width": 64, "height": 64}
SOMEBODY = Visitor("10.1.2.3", session="somebody")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server, with the adapter noto and one that is not there."""
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    with listening(base, saved_adapter(tmp_path_factory.mktemp("style"), base)) as url:
        yield url


def body_of(**changes: Any) -> dict[str, Any]:
    return compare_body(Form(**{**CHOSEN, **changes}), {"noto": 0.8})


def events_of(url: str, body: dict[str, Any], visitor: Visitor = SOMEBODY) -> list[Any]:
    async def listen() -> list[Any]:
        return [event async for event in Api(url).compare(streamed(body), visitor)]

    return asyncio.run(listen())


@pytest.mark.parametrize(
    ("prompt", "side", "name"),
    [
        ("red apple", "base", "red-apple_base_7.png"),
        ("a very long prompt about many things", "noto:0.5", "a-very-long-prompt-about-many_noto-0.5_7.png"),
        ("../../etc/passwd", "noto", "etc-passwd_noto_7.png"),
        ("crème brûlée", "noto", "crème-brûlée_noto_7.png"),
        ("\u202e<b>\x00\n🍎", "base", "b_base_7.png"),
        ("…", "base", "picture_base_7.png"),
    ],
)
def test_files_are_named_by_prompt_side_and_seed(prompt: str, side: str, name: str) -> None:
    assert file_name(prompt, side, 7) == name


def test_two_sides_of_one_name_are_two_files(tmp_path: Path) -> None:
    image = {"image": "", "seed": 7, "format": "png", "adapter": None, "strength": None, "degraded": None}
    paths = [Path(path).name for path, _ in write_pictures(tmp_path, "owl", [image, image])]
    assert paths == ["owl_base_7.png", "owl_base-2_7.png"]


def test_what_is_chosen_becomes_the_request() -> None:
    assert body_of() == {**DOG, "arms": [{}, {"adapter": "noto"}]}
    assert body_of(sides=["noto:-0.5", "noto"], factor=0.5)["arms"] == [
        {"adapter": "noto", "strength": -0.5},
        {"adapter": "noto", "strength": 0.4},
    ]
    more = body_of(seed=" ", eta=0.5, negative="blur", template="emoji")
    assert {key: more[key] for key in more.keys() - DOG.keys()} == {
        "arms": [{}, {"adapter": "noto"}],
        "eta": 0.5,
        "negative_prompt": "blur",
        "template": "emoji",
    }
    assert "seed" not in more
    assert "eta" not in body_of(eta=0.5, scheduler="Euler")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": "seven"}, "Seed: seven is no seed. Write a whole number"),
        ({"seed": "9" * 5000}, "is no seed"),
        ({"prompt": "  "}, "Prompt: there is nothing to draw"),
        ({"sides": []}, "Sides: none is chosen"),
        ({"sides": ["base", "noto:much"]}, "noto:much is no side. Write a strength from -2 to 2"),
        ({"sides": ["noto:nan"]}, "noto:nan is no side"),
    ],
)
def test_what_is_no_request_is_told_before_anybody_is_asked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem) as caught:
        body_of(**changes)
    assert words in problem_html(caught.value)


def test_a_limit_is_told_with_its_reason_and_wait() -> None:
    problem = problem_of(
        {"status": 429, "detail": "60 requests an hour.", "reason": "IPRequestsPerHour", "retry_after_seconds": 61}, 200
    )
    html = problem_html(problem)
    for words in ("A limit is reached", "IPRequestsPerHour", "60 requests an hour.", "Try again in 2 minutes."):
        assert words in html


def test_what_is_left_of_limits_is_told_the_tightest_first() -> None:
    hour = {"scope": "total", "unit": "requests an hour", "limit": 60, "remaining": 59.0}
    work = {"scope": "session", "unit": "work units a minute", "limit": 1.5, "remaining": 0.75}
    many = {"scope": "ip", "unit": "requests a day", "limit": 1000, "remaining": 1000.0}
    html = remaining_html([many, hour, work, many])
    assert html == (
        "<p>left: <b>0.7</b> of 1.5 work units a minute · <b>59</b> of 60 requests an hour for all visitors"
        " · <b>1,000</b> of 1,000 requests a day</p>"
    )
    assert remaining_html([]) == ""


def test_every_wrong_field_is_told_by_the_name_that_the_page_has_for_it() -> None:
    errors = [{"field": "guidance_scale", "message": "too big"}, {"field": "arms[1].adapter", "message": "no <b>"}]
    html = problem_html(problem_of({"status": 422, "detail": "x", "errors": errors}, 422))
    assert "<p>Guidance: too big</p>" in html
    assert "<p>Sides, number 2: no &lt;b&gt;</p>" in html


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 second"), (59, "59 seconds"), (60, "1 minute"), (3600, "1 hour"), (4000, "2 hours")]
)
def test_waits_are_told_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_comparison_tells_progress_and_previews_and_ends_in_the_pictures(server: str) -> None:
    events = events_of(server, body_of())
    kinds = [kind for kind, _ in events]
    assert {"progress", "preview"} <= {*kinds[:-1]}
    assert kinds[-1] == "done"
    reply = events[-1][1]
    assert [side_of(image) for image in reply["images"]] == ["base", "noto"]
    assert "seed <b id='drawn-seed'>7</b> · 4 steps · guidance 2 · DDIM · 64×64" in done_html(reply)
    previews = [values["images"] for kind, values in events if kind == "preview"]
    assert all(len(images) == 2 for images in previews)


def test_a_missing_adapter_is_told_where_its_picture_is(server: str) -> None:
    reply = events_of(server, body_of(sides=["base", "gone"]))[-1][1]
    assert side_of(reply["images"][1]) == "base instead of gone"
    assert "/nowhere is neither a file nor a folder." in done_html(reply)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 500}, "Steps: 500 are more than 150. Ask for fewer."),
        ({"sides": ["base", "nix"]}, "Sides, number 2: there is no adapter nix. There are: gone, noto."),
        ({"width": 4000}, "Width: 4000 pixels are not between 64 and 1024."),
    ],
)
def test_a_refusal_of_the_server_is_read_by_people(server: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem) as caught:
        events_of(server, body_of(**changes))
    assert words in problem_html(caught.value)


def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(Problem) as caught:
        asyncio.run(Api("http://127.0.0.1:9").offer(SOMEBODY))
    assert "The server cannot be reached" in problem_html(caught.value)


def test_the_head_tells_what_draws_and_how_each_adapter_is(server: str) -> None:
    offer = asyncio.run(Api(server).offer(SOMEBODY))
    html = facts_html("<Pictures>", offer)
    digest = offer.deployment["base"]["digest"].removeprefix("sha256:")
    for words in ("&lt;Pictures&gt;", "<b>tiny</b>", "cpu · float32", f">{digest[:8]}</code>", "<b>Failed</b>"):
        assert words in html
    assert offer.strengths == {"noto": 1.0, "gone": 1.0}
    assert offer.deployment["defaults"] == {
        "steps": 3,
        "guidance_scale": 2,
        "scheduler": "DDIM",
        "height": 64,
        "width": 64,
    }


@pytest.mark.parametrize("prompt", ["a dog", 'it\'s "$HOME" `x` \\'])
def test_both_snippets_draw_the_same_pictures(server: str, tmp_path: Path, prompt: str) -> None:
    body = body_of(prompt=prompt[:14])
    reply = events_of(server, body)[-1][1]
    subprocess.run([sys.executable, "-c", python(server, body, with_key=False)], check=True, cwd=tmp_path)
    files = [(tmp_path / f"{number}-{name}-7.png").read_bytes() for number, name in enumerate(("base", "noto"))]
    assert [base64.b64encode(file).decode() for file in files] == [image["image"] for image in reply["images"]]
    command = "curl() { printf '%s\\n' \"$@\"; }; " + curl(server, body, with_key=False)
    words = subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, text=True).stdout.splitlines()
    assert words[1:3] == [f"{server}/v1/compare", "--json"]
    assert json.loads(words[3]) == body


def test_a_snippet_names_the_key_and_does_not_show_it() -> None:
    assert 'Authorization: Bearer $DIPTYCH_API_KEY"' in curl("http://here", DOG, with_key=True)
    compile(text := python("http://here", DOG, with_key=True), "snippet", "exec")
    assert "os.environ['DIPTYCH_API_KEY']" in text


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"host": "here:8000"}, "http://here:8000"),
        (
            {"host": "pod", "x-forwarded-host": "draw.example", "x-forwarded-proto": "https,http"},
            "https://draw.example",
        ),
    ],
)
def test_snippets_have_the_address_that_the_visitor_uses(headers: dict[str, str], url: str) -> None:
    assert public_url(headers, "http") == url


def test_the_api_hears_who_the_visitor_is() -> None:
    assert Visitor("10.0.0.9", "1.2.3.4", "abc", "secret", "ticket").headers() == {
        "x-diptych-page": "ticket",
        "X-Forwarded-For": "1.2.3.4, 10.0.0.9",
        "X-Session-Id": "abc",
        "Authorization": "Bearer secret",
    }
