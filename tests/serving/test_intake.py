"""What clients ask for is read by the deployment's rules; whatever breaks them is named."""

from typing import Any

import pytest

from diptych_api.servingconfig import RegistryConfig
from diptych_serving.bodies import CompareBody, GenerateBody
from diptych_serving.image_request import Arm
from diptych_serving.intake import Intake
from diptych_serving.refusals import Code, Refused
from diptych_serving.replica_facts import BaseFacts

BASE = BaseFacts("tiny", "sha256:0", 512, 512, 8, "float32", "cpu")
ADAPTERS = [{"name": "noto", "uri": "a", "strength": 0.8}, {"name": "flora", "uri": "b"}]
TEMPLATES = [{"name": "photo", "template": "a photo of {prompt}, {prompt}!", "negativePrompt": "drawing"}]


def intake(**values: Any) -> Intake:
    return Intake(RegistryConfig.model_validate({"adapters": ADAPTERS, "promptTemplates": TEMPLATES, **values}), BASE)


def generate(body: dict[str, Any], **values: Any) -> Any:
    return intake(**values).generate(GenerateBody.model_validate(body))


def compare(body: dict[str, Any], **values: Any) -> Any:
    return intake(**values).compare(CompareBody.model_validate(body))


def test_what_is_left_out_is_as_the_deployment_says() -> None:
    defaults = {"steps": 12, "guidanceScale": 3, "scheduler": "Euler"}
    (request,) = generate({"prompt": "owl"}, defaults=defaults)
    how = request.settings
    assert (how.steps, how.guidance_scale, how.scheduler, how.height, how.width) == (12, 3, "Euler", 512, 512)
    assert request.arms == (Arm(),)


def test_what_is_given_wins() -> None:
    body = {"prompt": "owl", "steps": 5, "guidance_scale": 1, "scheduler": "LCM", "height": 64, "width": 128, "seed": 9}
    (request,) = generate(body)
    how = request.settings
    assert (how.steps, how.guidance_scale, how.scheduler, how.height, how.width) == (5, 1, "LCM", 64, 128)
    assert request.seed == 9


def test_several_pictures_have_seeds_that_count_up() -> None:
    assert [request.seed for request in generate({"prompt": "owl", "n": 3, "seed": 7})] == [7, 8, 9]


def test_a_missing_seed_is_drawn() -> None:
    assert len({generate({"prompt": "owl"})[0].seed for _ in range(5)}) == 5


def test_compare_means_base_and_all_adapters_with_their_own_strengths() -> None:
    assert compare({"prompt": "owl"}).arms == (Arm(), Arm("noto", 0.8), Arm("flora", 1.0))


def test_an_arm_may_say_its_strength() -> None:
    arms = [{"adapter": "noto", "strength": 0.5}, {"adapter": "noto"}, {}]
    assert compare({"prompt": "owl", "arms": arms}).arms == (Arm("noto", 0.5), Arm("noto", 0.8), Arm())


def test_a_template_is_put_around_the_prompt() -> None:
    (request,) = generate({"prompt": "an {owl}", "template": "photo"})
    assert request.prompt == "a photo of an {owl}, an {owl}!"
    assert request.negative_prompt == "drawing"
    (own,) = generate({"prompt": "owl", "template": "photo", "negative_prompt": "night"})
    assert own.negative_prompt == "night"


REFUSED: list[tuple[dict[str, Any], dict[str, Any], Code, str]] = [
    ({"adapter": "nobody"}, {}, Code.NOT_FOUND, "adapter: there is no adapter nobody."),
    ({"strength": 0.5}, {}, Code.INVALID, "strength: the base has no strength."),
    ({"template": "oil"}, {}, Code.NOT_FOUND, "template: there is no template oil."),
    ({"steps": 200}, {}, Code.INVALID, "steps: 200 are more than 150."),
    ({"n": 9}, {}, Code.INVALID, "n: 9 pictures are more than 8."),
    ({"height": 2048}, {}, Code.INVALID, "height: 2048 pixels are not between 64 and 1024."),
    ({"width": 68}, {}, Code.INVALID, "width: 68 pixels are not a multiple of 8."),
    ({"height": 512}, {"limits": {"maxPixels": 4096}}, Code.INVALID, "width: 512×512 are more than 4096 pixels."),
    ({"eta": 0.5, "scheduler": "Euler"}, {}, Code.INVALID, "eta: only DDIM has it, not Euler."),
    ({"prompt": "x" * 2001}, {}, Code.INVALID, "prompt: 2001 characters are more than 2000."),
    ({"prompt": "x" * 1999, "template": "photo"}, {}, Code.INVALID, "prompt: 4012 characters are more than 2000."),
    ({"negative_prompt": "\x00"}, {}, Code.INVALID, "negative_prompt: there is a zero character in it."),
    ({"seed": 2**53, "n": 2}, {}, Code.INVALID, f"seed: {2**53} and the 1 that follow leave the range."),
    ({"n": 8, "steps": 150}, {}, Code.TOO_LARGE, "The request is 2400 work units; 1000 are allowed."),
]


@pytest.mark.parametrize(("body", "values", "code", "message"), REFUSED)
def test_a_bound_that_is_broken_is_named(
    body: dict[str, Any], values: dict[str, Any], code: Code, message: str
) -> None:
    with pytest.raises(Refused) as caught:
        generate({"prompt": "owl", **body}, **values)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_an_unknown_arm_is_named_by_its_place() -> None:
    with pytest.raises(Refused, match=r"arms\[1\]\.adapter: there is no adapter nix\."):
        compare({"prompt": "owl", "arms": [{}, {"adapter": "nix"}]})


def test_more_sides_than_allowed_are_refused() -> None:
    with pytest.raises(Refused, match="arms: 3 sides are more than 2"):
        compare({"prompt": "owl", "arms": [{}, {}, {}]}, limits={"maxArms": 2})
    assert len(compare({"prompt": "owl"}, limits={"maxArms": 2}).arms) == 2
