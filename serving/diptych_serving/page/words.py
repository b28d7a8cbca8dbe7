"""Sentences and small pieces of HTML that the page shows. Whatever comes from outside is escaped."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from diptych_serving.page.api import Offer
from diptych_serving.page.pictures import side_of

SHORT: Final = 8
MOST_LIMITS: Final = 3
STOPPED: Final = "<p>stopped.</p>"
CSS: Final = """
.gradio-container { max-width: 1240px !important; width: 100%; margin: 0 auto !important; }
#seeds { align-items: flex-end; }
#facts p, #remaining p { font-size: 0.9rem; }
#facts h1 { font-size: 1.5rem; font-weight: 650; margin: 0.2rem 0 0; }
#facts p, #status p, #remaining p { margin: 0.15rem 0; color: var(--body-text-color-subdued); }
#facts code, .problem code { font-size: 0.85em; }
#labels { margin-bottom: -0.8rem; }
#gallery, #gallery .grid-wrap { min-height: 12rem; }
#gallery .grid-wrap { max-height: none; }
#gallery img { object-fit: contain; }
#labels .sides { display: flex; justify-content: space-between; font-weight: 600; }
#status .bar { height: 6px; border-radius: 3px; background: var(--border-color-primary); overflow: hidden; }
#status .bar div { height: 100%; background: var(--primary-500); transition: width 0.2s; }
.problem { border-left: 4px solid var(--error-border-color); background: var(--error-background-fill);
  padding: 0.6rem 0.9rem; border-radius: 4px; }
.problem code { margin-left: 0.6rem; }
#status .problem p { color: var(--body-text-color); }
"""


def facts_html(title: str, offer: Offer) -> str:
    """Return the head of the page: the base, where it runs, the adapters and how they are."""
    base = offer.deployment["base"]
    parts = [
        f"<b>{escape(str(base['name']))}</b>",
        _digest_html(base["digest"]),
        escape(f"{base['device']} · {base['dtype']}"),
        *(_adapter_html(adapter) for adapter in offer.adapters),
    ]
    return f"{heading(title)}<p>{' · '.join(parts)}</p>"


def heading(title: str) -> str:
    """Return the title of the page."""
    return f"<h1>{escape(title)}</h1>"


def bar_html(step: int, total: int) -> str:
    """Return how far a drawing is."""
    share = round(100 * step / max(total, 1))
    return f'<div class="bar"><div style="width:{share}%"></div></div><p>step {step} of {total}</p>'


def remaining_html(limits: Sequence[Mapping[str, Any]]) -> str:
    """Return what is left of a visitor's limits, the tightest first; nothing where none is set."""
    tightest = sorted(limits, key=lambda limit: limit["remaining"] / limit["limit"])[:MOST_LIMITS]
    return f"<p>left: {' · '.join(map(_remaining, tightest))}</p>" if tightest else ""


def _remaining(limit: Mapping[str, Any]) -> str:
    unit, whose = escape(limit["unit"]), " for all visitors" if limit["scope"] == "total" else ""
    return f"<b>{math.floor(limit['remaining'] * 10) / 10:,.10g}</b> of {limit['limit']:,.10g} {unit}{whose}"


def waiting_html() -> str:
    """Return what is said before the first step."""
    return f"{bar_html(0, 1).partition('<p>')[0]}<p>waiting for the server …</p>"


def labels_html(sides: Sequence[str]) -> str:
    """Return the names over the two halves of the slider."""
    return '<div class="sides">' + "".join(f"<span>{escape(side)}</span>" for side in sides) + "</div>"


def done_html(reply: Mapping[str, Any]) -> str:
    """Return how the pictures came to be, and what is wrong with any of them."""
    settings, timing, images = reply["settings"], reply["timing"], reply["images"]
    parts = [
        f"seed <b id='drawn-seed'>{images[0]['seed']}</b>",
        f"{settings['steps']} steps",
        f"guidance {settings['guidance_scale']:g}",
        escape(settings["scheduler"]),
        f"{settings['width']}×{settings['height']}",
        f"{timing['total_ms'] / 1000:.1f} s",
    ]
    return f"<p>{' · '.join(parts)}</p>" + "".join(_warnings(images))


def _warnings(images: Sequence[Mapping[str, Any]]) -> list[str]:
    texts = [(side_of(image), text) for image in images for text in (image["degraded"], image["flaw"]) if text]
    texts += [(side_of(image), "The safety checker flagged it.") for image in images if image.get("flagged")]
    return [f'<div class="problem"><strong>{escape(side)}</strong><p>{escape(text)}</p></div>' for side, text in texts]


def _adapter_html(adapter: Mapping[str, Any]) -> str:
    name, state, message = (escape(str(adapter[part])) for part in ("id", "state", "message"))
    text = f"{name} {_digest_html(adapter['digest'])}" if adapter["digest"] else name
    return text if state == "Loaded" else f"{text} <b>{state}</b> {message}".rstrip()


def _digest_html(digest: str) -> str:
    """Return the first digits; the rest shows where the mouse rests."""
    return f"<code title='{escape(digest)}'>{escape(digest.removeprefix('sha256:')[:SHORT])}</code>"
