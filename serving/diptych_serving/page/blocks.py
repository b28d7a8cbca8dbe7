"""The page as an ASGI application. Importing this takes seconds: only the page's own replica does."""

from typing import Any

import gradio as gr
from fastapi import FastAPI

from diptych_serving.page.api import Api
from diptych_serving.page.form import HAS_ETA
from diptych_serving.page.handlers import Handlers
from diptych_serving.page.layout import THEME, View, lay_out, parts
from diptych_serving.page.words import CSS

KEPT_S = (600, 3600)
"""How often shown pictures are looked through, and the age at which they are deleted."""
NO_UPLOADS = "1b"
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
QUICK: dict[str, Any] = {**HIDDEN, "queue": False}


def page_app(api_url: str, title: str) -> FastAPI:
    """Return the application, for any path that it is mounted at. It calls nothing but the API."""
    with gr.Blocks(title=title, analytics_enabled=False, fill_width=True, delete_cache=KEPT_S) as blocks:
        view = lay_out(title)
        _wire(blocks, view, Handlers(view, Api(api_url), title))
    blocks.queue(default_concurrency_limit=None)  # the API says how many may draw
    app = FastAPI(openapi_url=None)
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=NO_UPLOADS,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=THEME,
        css=CSS,
    )
    return app


def _wire(blocks: gr.Blocks, view: View, handlers: Handlers) -> None:
    _wire_drawing(view, handlers)
    choices, shown = view.choices, view.shown
    told = [view.facts, view.remaining, view.strengths]
    offered = [*told, view.reload, view.key, view.examples, *parts(choices), *parts(view.buttons)]
    for event in (blocks.load, view.reload.tick, view.key.submit):
        event(handlers.load, view.key, offered, **HIDDEN)
    view.follow.tick(handlers.follow, {view.strengths, view.key}, [*told, choices.sides], **QUICK)
    shown.mode.input(handlers.switch, shown.mode, [shown.slider, shown.labels, shown.gallery], **QUICK)
    choices.scheduler.change(lambda name: gr.Slider(visible=name == HAS_ETA), choices.scheduler, choices.eta, **QUICK)
    view.examples.click(lambda sample: sample[0], view.examples, choices.prompt, **QUICK)


def _wire_drawing(view: View, handlers: Handlers) -> None:
    """Draw at a click or Enter, with the seed that stands there, the last one again, or a new one."""
    choices, buttons, shown, seed = view.choices, view.buttons, view.shown, view.choices.seed
    inputs = {view.strengths, view.key, shown.mode, *parts(choices)}
    outputs = [view.key, view.last_seed, view.remaining, *parts(buttons), *parts(shown)]
    drawing: dict[str, Any] = {"inputs": inputs, "outputs": outputs, **HIDDEN}
    buttons.draw.click(handlers.draw, **drawing)
    choices.prompt.submit(handlers.draw, **drawing)
    buttons.again.click(lambda last: last, view.last_seed, seed, **QUICK).then(handlers.draw, **drawing)
    buttons.new.click(lambda: "", None, seed, **QUICK).then(handlers.draw, **drawing)
    # Gradio's own `cancels` would race with steps that are on their way, and the last to arrive would be seen.
    buttons.stop.click(handlers.stop, None, parts(buttons), **QUICK)
