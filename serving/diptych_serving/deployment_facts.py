"""`/v1/deployment`: what a client must know before it asks, such as a page that shows settings and their bounds."""

from pydantic import BaseModel, Field

from diptych_api.after import Scheduler
from diptych_serving.bodies import BaseReply
from diptych_serving.directory import Directory


class DefaultsReply(BaseModel):
    """What a picture is drawn with where a request names nothing."""

    steps: int = Field(description="Sampling steps.")
    guidance_scale: float = Field(description="Weight of the prompt.")
    scheduler: Scheduler = Field(description="Sampler.")
    height: int = Field(description="Height in pixels.")
    width: int = Field(description="Width in pixels.")


class BoundsReply(BaseModel):
    """Bounds of one request."""

    min_side: int = Field(description="Shortest side in pixels.")
    max_side: int = Field(description="Longest side in pixels.")
    multiple: int = Field(description="Sides are multiples of so many pixels.")
    max_pixels: int = Field(description="Width times height.")
    max_steps: int = Field(description="Sampling steps.")
    max_arms: int = Field(description="Sides of a comparison.")
    max_images: int = Field(description="Pictures of one request.")
    max_prompt_characters: int = Field(description="Length of a prompt.")


class DeploymentReply(BaseModel):
    """The deployment, as requests meet it."""

    name: str = Field(description="Its name.")
    base: BaseReply = Field(description="The base.")
    defaults: DefaultsReply = Field(description="Settings of a picture where a request names none.")
    bounds: BoundsReply = Field(description="Bounds of one request.")


def describe(directory: Directory) -> DeploymentReply:
    """Return the deployment. Raises Refused while nothing is loaded."""
    intake = directory.intake()
    base, defaults, limits = intake.base, intake.config.defaults, intake.config.limits
    return DeploymentReply(
        name=directory.name,
        base=BaseReply(name=base.name, digest=base.digest, dtype=base.dtype, device=base.device),
        defaults=DefaultsReply(
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            scheduler=defaults.scheduler,
            height=defaults.size or base.height,
            width=defaults.size or base.width,
        ),
        bounds=BoundsReply(
            multiple=base.pixels_per_latent,
            **{name: getattr(limits, name) for name in BoundsReply.model_fields if name != "multiple"},
        ),
    )
