"""What stands where on the page."""

from dataclasses import dataclass, fields
from typing import Any, Final, get_args

import gradio as gr

from diptych_api.after import Scheduler
from diptych_serving.page.pictures import BASE
from diptych_serving.page.words import heading

SLIDER: Final = "Slider"
SIDE_BY_SIDE: Final = "Side by side"
MAX_GUIDANCE: Final = 30
RELOAD_S: Final = 3.0
FOLLOW_S: Final = 15.0
FONT: Final = ("ui-sans-serif", "system-ui", "sans-serif")
CODE: Final[dict[str, Any]] = {"interactive": False, "wrap_lines": True, "show_line_numbers": False}
MONO: Final = ("ui-monospace", "monospace")
THEME: Final = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=FONT, font_mono=MONO)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a visitor chooses."""

    prompt: gr.Textbox
    sides: gr.Dropdown
    factor: gr.Slider
    seed: gr.Textbox
    steps: gr.Slider
    guidance: gr.Slider
    scheduler: gr.Dropdown
    eta: gr.Slider
    width: gr.Slider
    height: gr.Slider
    negative: gr.Textbox
    template: gr.Dropdown

    def read(self, values: dict[Any, Any]) -> dict[str, Any]:
        """Return the values of a set of inputs by name."""
        return {part.name: values[getattr(self, part.name)] for part in fields(self)}


@dataclass(frozen=True, slots=True)
class Buttons:
    """What starts and stops a drawing."""

    draw: gr.Button
    stop: gr.Button
    again: gr.Button
    new: gr.Button


@dataclass(frozen=True, slots=True)
class Shown:
    """What a visitor sees of a drawing."""

    status: gr.HTML
    mode: gr.Radio
    labels: gr.HTML
    slider: gr.ImageSlider
    gallery: gr.Gallery
    files: gr.Files
    request: gr.Accordion
    curl: gr.Code
    python: gr.Code


@dataclass(frozen=True, slots=True)
class View:
    """The whole page."""

    facts: gr.HTML
    examples: gr.Dataset
    choices: Choices
    key: gr.Textbox
    buttons: Buttons
    shown: Shown
    remaining: gr.HTML
    """What is left of the visitor's limits."""
    strengths: gr.State
    """The adapters' own, by name; None until the page knows what is served."""
    last_seed: gr.State
    reload: gr.Timer
    follow: gr.Timer


def parts(group: Choices | Buttons | Shown) -> list[Any]:
    """Return the components of a group."""
    return [getattr(group, part.name) for part in fields(group)]


def lay_out(title: str) -> View:
    """Place the parts in the Blocks that is open."""
    facts = gr.HTML(heading(title), elem_id="facts", padding=False)
    with gr.Row():
        with gr.Column(scale=4, min_width=340):
            choices, key, buttons, examples = _left()
            remaining = gr.HTML(elem_id="remaining", padding=False)
        with gr.Column(scale=6, min_width=400):
            shown = _right()
    return View(
        facts=facts,
        examples=examples,
        choices=choices,
        key=key,
        buttons=buttons,
        shown=shown,
        remaining=remaining,
        strengths=gr.State(None),
        last_seed=gr.State(""),
        reload=gr.Timer(RELOAD_S, active=False),
        follow=gr.Timer(FOLLOW_S),
    )


def _left() -> tuple[Choices, gr.Textbox, Buttons, gr.Dataset]:
    prompt = gr.Textbox("", label="Prompt", lines=1, max_lines=6, autofocus=True, elem_id="prompt")
    examples = gr.Dataset(components=[gr.Textbox(visible=False)], samples=[], label="Try", visible=False)
    sides = gr.Dropdown(
        [BASE],
        value=[BASE],
        multiselect=True,
        allow_custom_value=True,
        label="Sides",
        info="Same prompt, same noise. NAME:0.5 is an adapter at half strength.",
        elem_id="sides",
    )
    with gr.Row():
        draw = gr.Button("Draw", variant="primary", elem_id="draw", scale=3, interactive=False)
        stop = gr.Button("Stop", variant="stop", elem_id="stop", visible=False, scale=1)
    with gr.Row(elem_id="seeds"):
        seed = gr.Textbox("", label="Seed", placeholder="new each time", max_length=16, elem_id="seed", scale=2)
        again = gr.Button("Again", elem_id="again", scale=1, min_width=60, interactive=False)
        new = gr.Button("New", elem_id="new", scale=1, min_width=60, interactive=False)
    settings = _settings()
    key = gr.Textbox("", label="API key", type="password", visible=False, elem_id="key")
    choices = Choices(prompt=prompt, sides=sides, seed=seed, **settings)
    return choices, key, Buttons(draw, stop, again, new), examples


def _settings() -> dict[str, Any]:
    """Return what has a default of the deployment's; bounds come with it."""
    with gr.Row():
        steps = gr.Slider(1, 150, value=30, step=1, label="Steps", elem_id="steps")
        guidance = gr.Slider(0, MAX_GUIDANCE, value=7.5, step=0.1, label="Guidance", elem_id="guidance")
    with gr.Accordion("More settings", open=False):
        factor = gr.Slider(0, 2, value=1, step=0.05, label="Strength", info="Times each adapter's own.")
        with gr.Row():
            scheduler = gr.Dropdown(list(get_args(Scheduler)), label="Scheduler", elem_id="scheduler")
            eta = gr.Slider(0, 1, value=0, step=0.01, label="Eta", info="Noise that DDIM adds.")
        with gr.Row():
            width = gr.Slider(64, 1024, value=64, step=8, label="Width")
            height = gr.Slider(64, 1024, value=64, step=8, label="Height")
        negative = gr.Textbox("", label="Negative prompt", elem_id="negative")
        template = gr.Dropdown([("none", "")], value="", label="Template", visible=False, elem_id="template")
    return {
        "steps": steps,
        "guidance": guidance,
        "factor": factor,
        "scheduler": scheduler,
        "eta": eta,
        "width": width,
        "height": height,
        "negative": negative,
        "template": template,
    }


def _right() -> Shown:
    status = gr.HTML(elem_id="status", padding=False)
    mode = gr.Radio(
        [SLIDER, SIDE_BY_SIDE], value=SLIDER, show_label=False, container=False, visible=False, elem_id="mode"
    )
    labels = gr.HTML(visible=False, elem_id="labels", padding=False)
    slider = gr.ImageSlider(show_label=False, interactive=False, max_height=520, visible=False, elem_id="slider")
    gallery = gr.Gallery(
        show_label=False,
        interactive=False,
        object_fit="contain",
        height="auto",
        buttons=["download", "fullscreen"],
        elem_id="gallery",
    )
    files = gr.Files(label="Download", interactive=False, visible=False, elem_id="files")
    with gr.Accordion("This request as curl and Python", open=False, visible=False, elem_id="request") as request:
        curl = gr.Code(language="shell", label="curl", elem_id="curl", **CODE)
        python = gr.Code(language="python", label="Python", elem_id="python", **CODE)
    return Shown(status, mode, labels, slider, gallery, files, request, curl, python)
