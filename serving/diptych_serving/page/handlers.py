"""What happens when somebody clicks."""

import logging
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import gradio as gr

from diptych_serving.identity import PAGE_HEADER
from diptych_serving.page.api import Api, Event, Offer, Visitor
from diptych_serving.page.form import Form, compare_body, streamed
from diptych_serving.page.layout import SIDE_BY_SIDE, SLIDER, View
from diptych_serving.page.pictures import BASE, side_of, write_pictures, write_previews
from diptych_serving.page.problem import WANTS_KEY, Problem, problem_html
from diptych_serving.page.snippets import curl, public_url, python
from diptych_serving.page.stops import Stops, until
from diptych_serving.page.words import (
    STOPPED,
    bar_html,
    done_html,
    facts_html,
    heading,
    labels_html,
    remaining_html,
    waiting_html,
)

Updates = dict[Any, Any]
"""New values and properties by component."""
PAIR: Final = 2
UNKNOWN: Final = Problem(500, "Something went wrong on the page.", "The server's log tells what.")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handlers:
    """The page's behaviour over an API."""

    view: View
    api: Api
    title: str
    stops: Stops = field(default_factory=Stops)

    async def load(self, key: str, request: gr.Request) -> Updates:
        """Show what the deployment offers; look again later while it offers nothing, or when there is a key."""
        view, visitor = self.view, visitor_of(request, key)
        try:
            offer = await self.api.offer(visitor)
        except Problem as problem:
            told = {view.facts: heading(self.title) + problem_html(problem)}
            wants_key = problem.status in WANTS_KEY
            return {**told, view.reload: gr.Timer(active=not wants_key), view.key: gr.Textbox(visible=wants_key)}
        return {
            view.facts: facts_html(self.title, offer),
            view.reload: gr.Timer(active=False),
            view.strengths: offer.strengths,
            view.examples: gr.Dataset(samples=[[prompt] for prompt in offer.prompts], visible=bool(offer.prompts)),
            **self._choices(offer),
            **self._free(interactive=True),
            **await self._remaining(visitor),
        }

    async def follow(self, values: dict[Any, Any], request: gr.Request) -> Updates:
        """Show which adapters came, went or failed meanwhile; what the visitor has chosen stays."""
        view = self.view
        visitor = visitor_of(request, values[view.key])
        try:
            offer = await self.api.offer(visitor)
        except Problem:
            return {view.facts: gr.skip()}
        facts = {view.facts: facts_html(self.title, offer), **await self._remaining(visitor)}
        if values[view.strengths] in (None, offer.strengths):
            return facts
        return {
            **facts,
            view.strengths: offer.strengths,
            view.choices.sides: gr.Dropdown([BASE, *offer.strengths], multiselect=True),
        }

    async def draw(self, values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Updates]:
        """Draw what is chosen, telling how far it is. The end is one update: of two in a row one can get lost."""
        view, is_drawn, visitor = self.view, False, visitor_of(request, values[self.view.key])
        try:
            with tempfile.TemporaryDirectory(prefix="diptych-") as folder, self.stops.heard(_session(request)) as stop:
                strengths = self._strengths(values)
                yield {**self.busy(drawing=True), view.shown.status: waiting_html()}
                body = compare_body(Form(**view.choices.read(values)), strengths)
                mode = str(values[view.shown.mode])
                async with aclosing(self.api.compare(streamed(body), visitor)) as events:
                    async for event in until(stop, events):
                        is_drawn = event[0] == "done"
                        told = self._told(event, body, Path(folder), mode)
                        sent = self._request(event, body, request, visitor)
                        yield told | sent | (await self._idle(visitor) if is_drawn else {})
                if not is_drawn:
                    yield {**await self._idle(visitor), **({view.shown.status: STOPPED} if stop.is_set() else {})}
        except Problem as problem:
            wants_key = {view.key: gr.Textbox(visible=True)} if problem.status in WANTS_KEY else {}
            yield {**await self._idle(visitor), view.shown.status: problem_html(problem), **wants_key}
        except Exception:  # noqa: BLE001 -- a visitor is told in words, whatever it was
            _log.exception("The page failed.")
            yield {**self.busy(drawing=False), view.shown.status: problem_html(UNKNOWN)}

    async def _idle(self, visitor: Visitor) -> Updates:
        """Return what is seen while nothing is drawn."""
        return {**self.busy(drawing=False), **await self._remaining(visitor)}

    async def _remaining(self, visitor: Visitor) -> Updates:
        """Return what is left of the visitor's limits; what stands there stays where nobody can tell."""
        limits = await self.api.limits(visitor)
        return {} if limits is None else {self.view.remaining: remaining_html(limits)}

    def _strengths(self, values: Mapping[Any, Any]) -> Mapping[str, float]:
        """Return the adapters' own strengths. Raises Problem while the page has not heard what is served."""
        strengths: Mapping[str, float] | None = values[self.view.strengths]
        if strengths is None:
            raise Problem(503, "The page has not heard yet what is served.", "Try again in a moment.")
        return strengths

    def busy(self, *, drawing: bool) -> Updates:
        """Return which buttons can be clicked."""
        return {**self._free(interactive=not drawing), self.view.buttons.stop: gr.Button(visible=drawing)}

    def _free(self, *, interactive: bool) -> Updates:
        buttons = self.view.buttons
        return {button: gr.Button(interactive=interactive) for button in (buttons.draw, buttons.again, buttons.new)}

    async def stop(self, request: gr.Request) -> Updates:
        """Ask the visitor's drawing to stop; it says so itself. Where there is none, free the buttons."""
        session = _session(request)
        if session not in self.stops.going:
            return self.busy(drawing=False)
        self.stops.stop(session)
        return {self.view.buttons.stop: gr.Button()}

    def switch(self, mode: str) -> Updates:
        """Show two pictures the other way."""
        shown = self.view.shown
        slider = mode == SLIDER
        parts = {shown.slider: gr.ImageSlider(visible=slider), shown.labels: gr.HTML(visible=slider)}
        return {**parts, shown.gallery: gr.Gallery(visible=not slider)}

    def _told(self, event: Event, body: Mapping[str, Any], folder: Path, mode: str) -> Updates:
        kind, values = event
        shown = self.view.shown
        match kind:
            case "progress":
                return {shown.status: bar_html(values["step"], values["total"])}
            case "preview":
                sides = [_asked(arm) for arm in body["arms"]]
                return self._pictures(write_previews(folder, values["step"], values["images"], sides), mode)
            case "done":
                pictures = write_pictures(folder, body["prompt"], values["images"])
                files = gr.Files([path for path, _ in pictures], visible=True)
                seed = str(values["images"][0]["seed"])
                drawn = {shown.status: done_html(values), shown.files: files, self.view.last_seed: seed}
                return {**self._pictures(pictures, mode), **drawn}
        return {}

    def _pictures(self, pictures: Sequence[tuple[str, str]], mode: str) -> Updates:
        """Show two pictures with a slider between them, any other number beside each other."""
        shown, pair = self.view.shown, len(pictures) == PAIR
        slider = pair and mode != SIDE_BY_SIDE
        paths, sides = [path for path, _ in pictures], [side for _, side in pictures]
        return {
            shown.mode: gr.Radio(visible=pair),
            shown.labels: gr.HTML(labels_html(sides) if pair else "", visible=slider),
            shown.slider: gr.ImageSlider((paths[0], paths[1]) if pair else None, visible=slider),
            shown.gallery: gr.Gallery(list(pictures), visible=not slider, columns=min(len(pictures), 4)),
        }

    def _request(self, event: Event, body: Mapping[str, Any], request: gr.Request, visitor: Visitor) -> Updates:
        """Return the request as it can be sent again, once its seed is known."""
        kind, values = event
        if kind != "done":
            return {}
        exact, url = {**body, "seed": values["images"][0]["seed"]}, public_url(request.headers, request.url.scheme)
        shown, with_key = self.view.shown, bool(visitor.key)
        return {
            shown.request: gr.Accordion(visible=True),
            shown.curl: curl(url, exact, with_key=with_key),
            shown.python: python(url, exact, with_key=with_key),
        }

    def _choices(self, offer: Offer) -> Updates:
        """Set the controls to what the deployment draws with, within its bounds."""
        choices, defaults, bounds = self.view.choices, offer.deployment["defaults"], offer.deployment["bounds"]
        names = list(offer.strengths)
        side = {"minimum": bounds["min_side"], "maximum": bounds["max_side"], "step": bounds["multiple"]}
        templates = [("none", ""), *((name, name) for name in offer.templates)]
        return {
            choices.sides: gr.Dropdown(
                [BASE, *names], value=[BASE, *names[:1]], multiselect=True, max_choices=bounds["max_arms"]
            ),
            choices.steps: gr.Slider(value=defaults["steps"], maximum=bounds["max_steps"]),
            choices.guidance: gr.Slider(value=defaults["guidance_scale"]),
            choices.scheduler: gr.Dropdown(value=defaults["scheduler"]),
            choices.width: gr.Slider(value=defaults["width"], **side),
            choices.height: gr.Slider(value=defaults["height"], **side),
            choices.template: gr.Dropdown(templates, value="", visible=bool(offer.templates)),
        }


def visitor_of(request: gr.Request, key: str) -> Visitor:
    """Return who clicked."""
    address = request.client.host if request.client else ""
    forwarded, ticket = request.headers.getlist("x-forwarded-for"), request.headers.get(PAGE_HEADER, "")
    return Visitor(address, ",".join(forwarded), _session(request), key.strip(), ticket)


def _session(request: gr.Request) -> str:
    return request.session_hash or ""


def _asked(arm: Mapping[str, Any]) -> str:
    image = {"degraded": None, "adapter": arm.get("adapter"), "strength": arm.get("strength", 1)}
    return side_of(image)
