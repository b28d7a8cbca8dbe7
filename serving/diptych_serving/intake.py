"""From what a client asked for to what the engine draws: defaults filled in, bounds kept. No I/O."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from diptych_api.generation import PromptTemplate
from diptych_api.limits import Limits
from diptych_api.servingconfig import RegistryConfig
from diptych_diffusion.drawing_settings import Settings
from diptych_serving.bodies import ArmBody, CompareBody, GenerateBody, GridBody, PictureBody, SettingsBody
from diptych_serving.image_request import Arm, ImageRequest
from diptych_serving.refusals import Code, Refused, invalid
from diptych_serving.replica_facts import BaseFacts

LARGEST_SEED: Final = 2**53
DRAWN_SEEDS: Final = 2**32
"""Seeds that are drawn are short enough to read out loud."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Reads requests by the rules of the deployment, for one base."""

    config: RegistryConfig
    base: BaseFacts

    def generate(self, body: GenerateBody) -> list[ImageRequest]:
        """Return one request for each seed. Raises Refused."""
        limits = self.config.limits
        if body.n > limits.max_images:
            raise invalid("n", f"{body.n} pictures are more than {limits.max_images}.", "Ask for fewer.")
        arms = (self._arm(ArmBody(adapter=body.adapter, strength=body.strength), "adapter"),)
        first = self._seed(body, body.n)
        requests = [self._request(body, seed, arms) for seed in range(first, first + body.n)]
        return _within_work(requests, limits)

    def compare(self, body: CompareBody) -> ImageRequest:
        """Return the request, its arms filled in. Raises Refused."""
        limits = self.config.limits
        return _within_work([self._request(body, self._seed(body, 1), self._arms(body.arms))], limits)[0]

    def grid(self, body: GridBody) -> list[ImageRequest]:
        """Return one request for each prompt and seed, all seeds of the first prompt first. Raises Refused."""
        arms, limits = self._arms(body.arms), self.config.limits
        seeds = [self._seed(body, 1)] if body.seeds is None else body.seeds
        rows, most = len(body.prompts) * len(seeds), limits.max_images * limits.max_arms
        if rows * len(arms) > most:
            raise invalid("prompts", f"{rows * len(arms)} pictures are more than {most}.", "Ask for fewer rows.")
        settings = self._settings(body)
        texts = [self._texts(prompt, body, f"prompts[{number}]") for number, prompt in enumerate(body.prompts)]
        requests = [
            ImageRequest(prompt=prompt, seed=seed, settings=settings, negative_prompt=negative, arms=arms)
            for prompt, negative in texts
            for seed in seeds
        ]
        return _within_work(requests, limits)

    def all_sides(self) -> list[ArmBody]:
        """Return the base and the first adapters, as many as may stand side by side."""
        names = [adapter.name for adapter in self.config.adapters]
        return [ArmBody(), *(ArmBody(adapter=name) for name in names[: self.config.limits.max_arms - 1])]

    def _arms(self, given: list[ArmBody] | None) -> tuple[Arm, ...]:
        sides, most = self.all_sides() if given is None else given, self.config.limits.max_arms
        if len(sides) > most:
            raise invalid("arms", f"{len(sides)} sides are more than {most}.", "Compare fewer adapters.")
        return tuple(self._arm(side, f"arms[{number}].adapter") for number, side in enumerate(sides))

    def _arm(self, side: ArmBody, where: str) -> Arm:
        if side.adapter is None:
            if side.strength is not None:
                raise invalid(where.replace("adapter", "strength"), "the base has no strength.", "Name an adapter.")
            return Arm()
        known = {adapter.name: adapter for adapter in self.config.adapters}
        if side.adapter not in known:
            names = ", ".join(sorted(known)) or "none"
            message = f"{where}: there is no adapter {side.adapter}."
            raise Refused(Code.NOT_FOUND, message, f"There are: {names}.", reason="AdapterNotFound")
        return Arm(side.adapter, known[side.adapter].strength if side.strength is None else side.strength)

    def _seed(self, body: SettingsBody, count: int) -> int:
        seed = secrets.randbelow(DRAWN_SEEDS - count) if body.seed is None else body.seed
        if seed + count - 1 > LARGEST_SEED:
            raise invalid("seed", f"{seed} and the {count - 1} that follow leave the range.", "Use a smaller seed.")
        return seed

    def _request(self, body: PictureBody, seed: int, arms: tuple[Arm, ...]) -> ImageRequest:
        prompt, negative = self._texts(body.prompt, body, "prompt")
        return ImageRequest(
            prompt=prompt, seed=seed, settings=self._settings(body), negative_prompt=negative, arms=arms
        )

    def _texts(self, given: str, body: SettingsBody, where: str) -> tuple[str, str]:
        template = self._template(body.template)
        prompt = given if template is None else template.template.replace("{prompt}", given)
        negative = body.negative_prompt
        if negative is None:
            negative = "" if template is None else template.negative_prompt
        longest = self.config.limits.max_prompt_characters
        for name, text in ((where, prompt), ("negative_prompt", negative)):
            if len(text) > longest:
                raise invalid(name, f"{len(text)} characters are more than {longest}.", "Say it shorter.")
            if "\x00" in text:
                raise invalid(name, "there is a zero character in it.")
        return prompt, negative

    def _template(self, name: str | None) -> PromptTemplate | None:
        if name is None:
            return None
        for template in self.config.prompt_templates:
            if template.name == name:
                return template
        known = ", ".join(template.name for template in self.config.prompt_templates) or "none"
        raise Refused(Code.NOT_FOUND, f"template: there is no template {name}.", f"There are: {known}.")

    def _settings(self, body: SettingsBody) -> Settings:
        defaults, limits = self.config.defaults, self.config.limits
        steps = defaults.steps if body.steps is None else body.steps
        if steps > limits.max_steps:
            raise invalid("steps", f"{steps} are more than {limits.max_steps}.", "Ask for fewer.")
        height = self._side("height", body.height or defaults.size or self.base.height)
        width = self._side("width", body.width or defaults.size or self.base.width)
        if height * width > limits.max_pixels:
            raise invalid("width", f"{width}×{height} are more than {limits.max_pixels} pixels.", "Ask for smaller.")
        scheduler = defaults.scheduler if body.scheduler is None else body.scheduler
        if body.eta and scheduler != "DDIM":
            raise invalid("eta", f"only DDIM has it, not {scheduler}.", "Leave it out.")
        guidance = defaults.guidance_scale if body.guidance_scale is None else body.guidance_scale
        return Settings(height, width, steps, float(guidance), scheduler, float(body.eta))

    def _side(self, name: str, pixels: int) -> int:
        limits, multiple = self.config.limits, self.base.pixels_per_latent
        if not limits.min_side <= pixels <= limits.max_side:
            raise invalid(name, f"{pixels} pixels are not between {limits.min_side} and {limits.max_side}.")
        if pixels % multiple:
            raise invalid(
                name, f"{pixels} pixels are not a multiple of {multiple}.", f"Try {pixels // multiple * multiple}."
            )
        return pixels


def work_units(requests: Sequence[ImageRequest]) -> float:
    """Return the work of all requests together."""
    return sum(request.work_units for request in requests)


def _within_work(requests: list[ImageRequest], limits: Limits) -> list[ImageRequest]:
    work = work_units(requests)
    if work > limits.max_work_units:
        raise Refused(
            Code.TOO_LARGE,
            f"The request is {work:.4g} work units; {limits.max_work_units:.4g} are allowed.",
            "A work unit is one row, one step, 512×512 pixels: ask for fewer pictures, steps or pixels.",
            reason="TooMuchWork",
        )
    return requests
