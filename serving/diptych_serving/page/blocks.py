"""The page as an ASGI application. Importing this takes seconds: only the page's own replica does."""

import gradio as gr
from fastapi import FastAPI

from diptych_serving.page.api import Api
from diptych_serving.page.form import HAS_ETA
from diptych_serving.page.handlers import Handlers
from diptych_serving.page.layout import THEME, View, lay_out
from diptych_serving.page.words import CSS

KEPT_S = (600, 3600)
"""How often shown pictures are looked through, and the age at which they are deleted."""
NO_UPLOADS = "1b"


def page_app(api_url: str, title: str) -> FastAPI:
    """Return the application, for any path that it is mounted at. It calls nothing but the API."""
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=KEPT_S) as blocks:
        view = lay_out(title)
        _wire(blocks, view, Handlers(view, Api(api_url), title))
    blocks.queue(default_concurrency_limit=None)  # the API says how many may draw
    return gr.mount_gradio_app(
        FastAPI(openapi_url=None),
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


def _wire(blocks: gr.Blocks, view: View, handlers: Handlers) -> None:
    choices, buttons, shown = view.choices, view.buttons, view.shown
    first = [view.facts, view.reload, view.strengths, view.examples, *_parts(choices)]
    for event in (blocks.load, view.reload.tick):
        event(handlers.load, None, first, show_progress="hidden", api_visibility="private")
    inputs = {view.strengths, view.key, shown.mode, *_parts(choices)}
    outputs = [view.key, view.last_seed, *_parts(buttons), *_parts(shown)]
    drawing = {"inputs": inputs, "outputs": outputs, "show_progress": "hidden", "api_visibility": "private"}
    quick = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    begun = [
        buttons.draw.click(handlers.draw, **drawing),
        choices.prompt.submit(handlers.draw, **drawing),
        buttons.again.click(lambda seed: seed, view.last_seed, choices.seed, **quick).then(handlers.draw, **drawing),
        buttons.new.click(lambda: "", None, choices.seed, **quick).then(handlers.draw, **drawing),
    ]
    buttons.stop.click(handlers.stopped, None, [*_parts(buttons), shown.status], cancels=begun, **quick)
    shown.mode.input(handlers.switch, shown.mode, [shown.slider, shown.labels, shown.gallery], **quick)
    choices.scheduler.change(lambda name: gr.Slider(visible=name == HAS_ETA), choices.scheduler, choices.eta, **quick)
    view.examples.click(lambda sample: sample[0], view.examples, choices.prompt, **quick)


def _parts(group: object) -> list[gr.components.Component]:
    return [getattr(group, name) for name in group.__slots__]
