"""What a picture is drawn with where a request names nothing, and the styles that it can name."""

from pydantic import Field

from diptych_api.after import Scheduler
from diptych_api.fields import Model, Name, Prompt, Template


class GenerationDefaults(Model):
    """Settings of a picture where a request names none."""

    steps: int = Field(default=30, ge=1, le=1000, description="Sampling steps.")
    guidance_scale: float = Field(default=7.5, ge=0, le=30, description="Classifier-free guidance.")
    scheduler: Scheduler = Field(default="DDIM", description="Sampler.")
    size: int | None = Field(default=None, ge=8, le=4096, multiple_of=8, description="Side in pixels; the base's own.")


class PromptTemplate(Model):
    """A style that a request can put around its prompt."""

    name: Name = Field(description="Name by which requests choose it.")
    template: Template = Field(description="Text with {prompt} in it.")
    negative_prompt: Prompt = Field(default="", description="What the picture should not show.")
