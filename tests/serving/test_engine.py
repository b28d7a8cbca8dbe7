"""The engine draws many requests together; each gets its own pictures, and one that fails spoils no other."""

import queue
import threading
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diptych_api.artifact import BaseRecord
from diptych_api.errors import AdapterInvalid, QueueTimeout, RetryLater, SpecInvalid
from diptych_api.training import LoRA
from diptych_diffusion.adapter_weights import AdapterWeights, text_settings
from diptych_diffusion.components import Components
from diptych_diffusion.drawing_settings import Settings
from diptych_diffusion.lora import adapter_state, attach_all, inject, trainable
from diptych_diffusion.pipeline import load
from diptych_diffusion.sampler import SampleRequest, sample
from diptych_diffusion.schedulers import CLASSES
from diptych_serving.decoding import find_flaw
from diptych_serving.engine import Engine
from diptych_serving.image_request import Arm, Event, Failed, Finished, ImageRequest, Preview, Progress
from diptych_serving.refusals import Code, refusal_of
from support.engines import draw, until_finished
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

BASE = BaseRecord(source="huggingFace:somebody/model", revision="0" * 40, digest="sha256:" + "ab" * 32)
HOW = Settings(64, 64, steps=3, guidance_scale=2.0)
REQUEST = ImageRequest("a dog", 5, HOW)
BOTH = (Arm(), Arm("style"))


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory) -> AdapterWeights:
    unet, lora = load(make_pipeline(tmp_path_factory.mktemp("trained"))).denoiser, LoRA(rank=4, alpha=8)
    inject(unet, lora, seed=1)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in trainable(unet):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return AdapterWeights.of(adapter_state(unet), lora, BASE)


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> Components:
    return load(make_pipeline(tmp_path_factory.mktemp("base")))


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory, style: AdapterWeights) -> Iterator[Engine]:
    with Engine(load(make_pipeline(tmp_path_factory.mktemp("served"))), max_rows=8) as engine:
        engine.bank.load("style", style)
        yield engine


def plain(components: Components, request: ImageRequest) -> Any:
    """Return what our own sampler, equal to diffusers, draws with the base."""
    how = request.settings
    wanted = SampleRequest(
        (request.prompt,),
        (request.seed,),
        steps=how.steps,
        guidance_scale=how.guidance_scale,
        scheduler=how.scheduler,
        height=how.height,
        width=how.width,
    )
    return sample(components, wanted)[0].astype(int)


def test_a_comparison_gives_base_and_tuned_from_the_same_noise(engine: Engine, components: Components) -> None:
    ((base, tuned),) = (finished.images for finished in draw(engine, [replace(REQUEST, arms=BOTH)]))
    assert np.abs(base.picture - plain(components, REQUEST)).max() <= 1
    assert np.abs(tuned.picture.astype(int) - base.picture).max() > 10
    assert (base.adapter_digest, tuned.adapter_digest) == (None, engine.bank.loaded["style"].digest)
    assert (base.flaw, tuned.flaw) == (None, None)


def test_an_adapter_of_the_text_encoder_reads_its_own_arm_s_prompt_and_no_other(
    engine: Engine, components: Components, style: AdapterWeights
) -> None:
    """Within one level of 255 of diffusers' order of things: the prompt through the adapted encoder, then the UNet."""
    lora = LoRA(rank=4, alpha=8, text_encoder_rank=2)
    text = deepcopy(components.text_encoder)
    inject(text, text_settings(lora), seed=2)
    with torch.no_grad():
        for _, parameter in trainable(text):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    weights = AdapterWeights.of(style.state, lora, BASE, adapter_state(text))
    engine.bank.load("spoken", weights)
    arms = (Arm(), Arm("style"), Arm("spoken"), Arm("spoken", 0.0))
    (finished,) = draw(engine, [replace(REQUEST, arms=arms)])
    base, style_only, spoken, off = (image.picture.astype(int) for image in finished.images)
    adapted = replace(components, unet=deepcopy(components.denoiser), text_encoder=deepcopy(components.text_encoder))
    attach_all(adapted.denoiser, adapted.text_encoder, weights)
    assert abs(spoken - plain(adapted, REQUEST)).max() <= 1
    assert abs(base - plain(components, REQUEST)).max() <= 1
    assert abs(off - base).max() <= 1
    assert abs(spoken - style_only).max() > 1


def test_requests_of_all_kinds_are_drawn_together_and_each_gets_its_own(engine: Engine, components: Components) -> None:
    requests = [
        ImageRequest("a dog", 1, HOW),
        ImageRequest("tea", 2, replace(HOW, steps=5, scheduler="Euler")),
        ImageRequest("a cat", 3, replace(HOW, steps=2, guidance_scale=1.0, height=96)),
        ImageRequest("a dog", 4, replace(HOW, steps=1, width=128)),
        ImageRequest("an owl", 5, HOW, arms=(Arm(),) * 7),
    ]
    for request, finished in zip(requests, draw(engine, requests), strict=True):
        for image in finished.images:
            assert np.abs(image.picture - plain(components, request)).max() <= 1


REQUESTS = st.builds(
    lambda prompt, seed, arms, settings, cancelled: (ImageRequest(prompt, seed, settings, arms=tuple(arms)), cancelled),
    prompt=st.sampled_from(["a dog", "tea", "an owl"]),
    seed=st.integers(0, 2),
    arms=st.lists(st.sampled_from([Arm(), Arm("style"), Arm("style", 0.5), Arm("style", -1)]), min_size=1, max_size=3),
    settings=st.builds(
        Settings,
        height=st.sampled_from([64, 96]),
        width=st.just(64),
        steps=st.integers(2, 4),
        guidance_scale=st.sampled_from([1.0, 3.0]),
        scheduler=st.sampled_from(sorted(CLASSES)),
    ),
    cancelled=st.booleans(),
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=st.lists(REQUESTS, min_size=2, max_size=5))
def test_whoever_comes_and_goes_a_picture_is_the_one_that_is_drawn_alone(
    engine: Engine, arrivals: list[tuple[ImageRequest, bool]]
) -> None:
    inboxes: list[queue.SimpleQueue[Event]] = [queue.SimpleQueue() for _ in arrivals]
    tasks = [engine.submit(request, inbox.put) for (request, _), inbox in zip(arrivals, inboxes, strict=True)]
    for task, (_, cancelled) in zip(tasks, arrivals, strict=True):
        if cancelled:
            task.cancel()
    stayed = [(request, inbox) for (request, cancelled), inbox in zip(arrivals, inboxes, strict=True) if not cancelled]
    for request, inbox in stayed:
        _, among_others = until_finished(inbox)
        (alone,) = draw(engine, [request])
        for one, other in zip(among_others.images, alone.images, strict=True):
            assert np.abs(one.picture.astype(int) - other.picture).max() <= 1


def test_progress_and_previews_are_told_on_the_way(engine: Engine) -> None:
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    engine.submit(replace(REQUEST, settings=replace(HOW, steps=4), preview_every=2, arms=BOTH), inbox.put)
    told, finished = until_finished(inbox)
    assert [event for event in told if isinstance(event, Progress)] == [Progress(step, 4) for step in (1, 2, 3, 4)]
    (preview,) = (event for event in told if isinstance(event, Preview))
    assert (preview.step, [picture.shape for picture in preview.pictures]) == (2, [(64, 64, 3)] * 2)
    assert min(finished.timing.queue_s, finished.timing.encode_s) >= 0 < finished.timing.denoise_s


def test_a_cancelled_request_gives_its_rows_back_and_says_nothing_more(engine: Engine) -> None:
    moved, heard = threading.Event(), []

    def listen(event: Event) -> None:
        heard.append(event)
        moved.set()

    endless = engine.submit(replace(REQUEST, settings=replace(HOW, steps=500), arms=(Arm(),) * 4), listen)
    assert moved.wait(60)
    endless.cancel()
    draw(engine, [replace(REQUEST, arms=(Arm(),) * 4)])
    assert heard
    assert not any(isinstance(event, Finished | Failed) for event in heard)


def test_a_request_that_waits_too_long_is_refused_and_never_drawn(engine: Engine) -> None:
    first: queue.SimpleQueue[Event] = queue.SimpleQueue()
    late: queue.SimpleQueue[Event] = queue.SimpleQueue()
    wide = replace(REQUEST, arms=(Arm(),) * 4, settings=replace(HOW, steps=20))
    engine.submit(wide, first.put)
    first.get(timeout=120)
    engine.submit(REQUEST, late.put, queue_timeout_s=0.001)
    told = late.get(timeout=120)
    assert isinstance(told, Failed)
    assert isinstance(told.error, QueueTimeout)
    assert (refusal_of(told.error).code, refusal_of(told.error).reason) == (Code.UNAVAILABLE, "QueueTimeout")
    assert len(until_finished(first)[1].images) == 4
    assert late.empty()


def test_an_adapter_may_come_and_go_while_others_draw(engine: Engine, style: AdapterWeights) -> None:
    started, inbox = threading.Event(), queue.SimpleQueue[Event]()

    def listen(event: Event) -> None:
        inbox.put(event)
        started.set()

    long = replace(REQUEST, settings=replace(HOW, steps=40), arms=BOTH)
    engine.submit(long, listen)
    assert started.wait(60)
    engine.bank.unload("style")
    with pytest.raises(AdapterInvalid, match="Adapter style is not loaded"):
        engine.submit(long, inbox.put)
    _, disturbed = until_finished(inbox)
    engine.bank.load("style", style)
    (undisturbed,) = draw(engine, [long])
    for one, other in zip(disturbed.images, undisturbed.images, strict=True):
        assert np.abs(one.picture.astype(int) - other.picture).max() <= 1


def test_a_forward_that_fails_is_told_and_the_engine_goes_on(engine: Engine) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    hook = engine.components.denoiser.register_forward_pre_hook(refuse)
    with pytest.raises(RuntimeError, match="mat1"):
        draw(engine, [REQUEST])
    hook.remove()
    assert draw(engine, [REQUEST])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (replace(HOW, height=60), "height is 60 pixels. Use a multiple of 8."),
        (replace(HOW, steps=0), "DDIM takes 1 to 1000 steps"),
        (replace(HOW, steps=1000), "DDIM cannot take 1000 steps with this base"),
        (replace(HOW, steps=51, scheduler="LCM"), "LCM takes 1 to 50 steps"),
    ],
)
def test_what_the_base_cannot_draw_is_refused_at_once(engine: Engine, settings: Settings, words: str) -> None:
    with pytest.raises(SpecInvalid) as error:
        engine.submit(replace(REQUEST, settings=settings), lambda _: None)
    assert words in str(error.value)


def test_an_engine_that_closes_finishes_what_it_has_and_takes_no_more(components: Components) -> None:
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with Engine(components) as engine:
        engine.submit(REQUEST, inbox.put)
    assert until_finished(inbox)
    with pytest.raises(RetryLater):
        engine.submit(REQUEST, inbox.put)


def test_black_pictures_and_pictures_that_are_no_numbers_are_said() -> None:
    grey, black = np.full((8, 8, 3), 90, np.uint8), np.zeros((8, 8, 3), np.uint8)
    good, bad = torch.zeros(4, 8, 8), torch.full((4, 8, 8), torch.nan)
    assert find_flaw(good, grey) is None
    assert "black" in (find_flaw(good, black) or "")
    assert "NaN" in (find_flaw(bad, grey) or "")
