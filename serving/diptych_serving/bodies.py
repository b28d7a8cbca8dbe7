"""What clients send and get as JSON. Names are snake_case, as the OpenAI API and diffusers write them."""

from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from diptych_api.after import Scheduler
from diptych_api.fields import Seed
from diptych_api.training import Method

ImageFormat = Literal["png", "jpeg", "webp"]
JobState = Literal["Queued", "Running", "Succeeded", "Failed", "Cancelled"]
Words = Annotated[str, StringConstraints(max_length=20_000)]
AdapterName = Annotated[str, StringConstraints(min_length=1, max_length=40)]
Strength = Annotated[float, Field(ge=-2, le=2)]


class Body(BaseModel):
    """A JSON object; unknown fields are refused, and no type is guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class PromptBody(Body):
    """What a picture shows."""

    prompt: Words = Field(description="What the picture shows.", examples=["red apple"])


class SettingsBody(Body):
    """How pictures are drawn. What is left out is as the deployment says."""

    negative_prompt: Words | None = Field(default=None, description="What it should not show.")
    template: str | None = Field(default=None, max_length=40, description="A prompt template to put around the prompt.")
    seed: Seed | None = Field(default=None, description="Same seed, same noise. Drawn and returned when left out.")
    steps: int | None = Field(default=None, ge=1, le=1000, description="Sampling steps.", examples=[20])
    guidance_scale: float | None = Field(default=None, ge=0, le=30, description="Weight of the prompt.")
    scheduler: Scheduler | None = Field(default=None, description="Sampler.")
    eta: float = Field(default=0.0, ge=0, le=1, description="Noise that DDIM adds: 0 for none, 1 as DDPM.")
    height: int | None = Field(default=None, ge=8, le=4096, description="Height in pixels.")
    width: int | None = Field(default=None, ge=8, le=4096, description="Width in pixels.")
    format: ImageFormat = Field(default="png", description="How pictures are encoded.")


class PictureBody(SettingsBody, PromptBody):
    """A picture: what it shows and how it is drawn."""


class ArmBody(Body):
    """One side of a comparison: an adapter, or the base when it names none."""

    adapter: AdapterName | None = Field(default=None, description="Name of the adapter; left out for the base.")
    strength: Strength | None = Field(default=None, description="Factor of its update; its own when left out.")


class GenerateBody(PictureBody):
    """One prompt, one adapter or the base, any number of seeds."""

    adapter: AdapterName | None = Field(default=None, description="Name of the adapter; left out for the base.")
    strength: Strength | None = Field(default=None, description="Factor of its update; its own when left out.")
    n: int = Field(default=1, ge=1, le=64, description="Pictures, with seeds counting up.")


class CompareBody(PictureBody):
    """One prompt and seed, drawn by each arm in the same forward passes."""

    arms: list[ArmBody] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="The sides; base and every adapter when left out.",
        examples=[[{}, {"adapter": "noto"}]],
    )
    grid: bool = Field(default=False, description="Add one picture with all sides beside each other.")


class GridBody(SettingsBody):
    """Every prompt with every seed, drawn by each arm."""

    prompts: list[Words] = Field(
        min_length=1, max_length=64, description="What the pictures show.", examples=[["red apple", "dog"]]
    )
    seeds: list[Seed] | None = Field(
        default=None, min_length=1, max_length=64, description="A row for each; one from `seed` up when left out."
    )
    arms: list[ArmBody] | None = Field(
        default=None, min_length=1, max_length=8, description="The columns; base and every adapter when left out."
    )


class StreamBody(Body):
    """Whether the answer tells of progress on the way."""

    stream: bool = Field(default=False, description="Answer with server-sent events; the last one is the reply.")
    preview_every: int = Field(
        default=0, ge=0, le=1000, description="Steps between previews in a stream, at most eight; 0 for none."
    )


class GenerateStreamBody(GenerateBody, StreamBody):
    """GenerateBody over HTTP."""


class CompareStreamBody(CompareBody, StreamBody):
    """CompareBody over HTTP."""


class GridStreamBody(GridBody, StreamBody):
    """GridBody over HTTP."""


class JobBody(Body):
    """What a job draws: exactly one of three."""

    generate: GenerateBody | None = Field(default=None, description="As /v1/generate takes it.")
    compare: CompareBody | None = Field(default=None, description="As /v1/compare takes it.")
    grid: GridBody | None = Field(default=None, description="As /v1/grids takes it.")
    preview_every: int = Field(
        default=0, ge=0, le=1000, description="Steps between previews in the job's events, at most eight; 0 for none."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(part is not None for part in (self.generate, self.compare, self.grid)) != 1:
            raise ValueError("give exactly one of generate, compare and grid")
        return self


class ImageReply(BaseModel):
    """A picture and what made it."""

    image: str = Field(description="The encoded picture in base64.")
    format: ImageFormat = Field(description="How it is encoded.")
    seed: int = Field(description="Seed of its noise.")
    adapter: str | None = Field(description="The adapter that drew it; null for the base.")
    adapter_digest: str | None = Field(description="Digest of the adapter's weights.")
    strength: float | None = Field(description="Factor of the adapter's update.")
    requested_adapter: str | None = Field(description="The adapter that was asked for.")
    degraded: str | None = Field(default=None, description="Why the base drew in place of the adapter.")
    flaw: str | None = Field(default=None, description="What is wrong with the picture: black, or not numbers.")
    flagged: bool = Field(default=False, description="The safety checker flagged the picture; a tile stands for it.")


class SettingsReply(BaseModel):
    """Everything needed to draw the picture again."""

    prompt: str = Field(description="The prompt, its template filled in.")
    negative_prompt: str = Field(description="What it should not show.")
    steps: int = Field(description="Sampling steps.")
    guidance_scale: float = Field(description="Weight of the prompt.")
    scheduler: Scheduler = Field(description="Sampler.")
    eta: float = Field(description="Noise that DDIM adds.")
    height: int = Field(description="Height in pixels.")
    width: int = Field(description="Width in pixels.")


class TimingReply(BaseModel):
    """Where the time went, in milliseconds; of several pictures, the longest."""

    queue_ms: float = Field(description="Waiting for free rows.")
    encode_ms: float = Field(description="Encoding the prompt.")
    denoise_ms: float = Field(description="The sampling steps.")
    decode_ms: float = Field(description="From latents to pixels.")
    total_ms: float = Field(description="From being let in to the encoded pictures.")
    cached: bool = Field(default=False, description="Whether the pictures were kept from an earlier request.")
    rows: int = Field(description="Rows in each forward pass.")
    steps: int = Field(description="Sampling steps.")


class BaseReply(BaseModel):
    """The base that drew."""

    name: str = Field(description="Its name or place.")
    digest: str = Field(description="Digest of its weights.")
    dtype: str = Field(description="Arithmetic.")
    device: str = Field(description="Where it ran.")


class PicturesReply(BaseModel):
    """Pictures in the order of arms, or of seeds."""

    id: str = Field(description="Name of the request; it stands in the server's log.")
    images: list[ImageReply] = Field(description="The pictures.")
    grid: str | None = Field(default=None, description="All sides beside each other, a PNG in base64.")
    settings: SettingsReply = Field(description="How they were drawn.")
    base: BaseReply = Field(description="The base.")
    timing: TimingReply = Field(description="Where the time went.")


class GridRowReply(BaseModel):
    """One prompt and seed, drawn by each arm."""

    images: list[ImageReply] = Field(description="The pictures, in the order of the arms.")
    settings: SettingsReply = Field(description="How they were drawn.")


class GridReply(BaseModel):
    """All rows, and the sheet of them."""

    id: str = Field(description="Name of the request; it stands in the server's log.")
    rows: list[GridRowReply] = Field(description="A row for each prompt and seed: all seeds of the first prompt first.")
    grid: str = Field(description="The sheet: a row for each prompt and seed, a column for each arm; a PNG in base64.")
    base: BaseReply = Field(description="The base.")
    timing: TimingReply = Field(description="Where the time went.")


class JobReply(BaseModel):
    """A job as it is now."""

    id: str = Field(description="Its name, which only those know who were told.")
    state: JobState = Field(description="Queued until its first step; the last three are final.")
    created: AwareDatetime = Field(description="When it was let in.")
    finished: AwareDatetime | None = Field(default=None, description="When it ended.")
    step: int = Field(description="Sampling steps done, of all pictures.")
    total: int = Field(description="Sampling steps of all pictures.")
    result: PicturesReply | GridReply | None = Field(default=None, description="The pictures, once they are there.")
    error: dict[str, Any] | None = Field(default=None, description="Why it failed, as a problem of RFC 9457.")


class ModelReply(BaseModel):
    """The base or an adapter."""

    id: str = Field(description="Name by which requests choose it.")
    object: Literal["model"] = "model"
    kind: Literal["base", "adapter"] = Field(description="What it is.")
    state: str = Field(description="Waiting, Loading, Loaded or Failed.")
    digest: str | None = Field(default=None, description="Digest of its weights.")
    rank: int | None = Field(default=None, description="Rank of an adapter.")
    method: Method | None = Field(default=None, description="LoRA, or FullUNet for an adapter that is a whole UNet.")
    bytes: int | None = Field(default=None, description="Memory that an adapter takes on each replica's device.")
    strength: float | None = Field(default=None, description="Its strength where a request names none.")
    run: str | None = Field(default=None, description="The run that made it.")
    message: str = Field(default="", description="Why it waits or failed.")


class ModelsReply(BaseModel):
    """The base, then the adapters."""

    object: Literal["list"] = "list"
    data: list[ModelReply] = Field(description="What can be asked for.")
