"""What to learn from: layout, captions, split, transforms and filters of a data set."""

from typing import Annotated, Final, Literal

from pydantic import Field

from diptych_api.fields import Fraction, Location, Model, Prompt, Seed, Text
from diptych_api.rules import rule
from diptych_api.sources import DatasetSource, SecretKey

Layout = Literal["ImageFolder", "JsonLines", "ClassFolders", "CaptionTable", "Flickr30k", "Sidecar", "HubDataset"]
PHASH: Final = "phash"
"""The embedder that needs no weights: a perceptual hash."""
Index = Annotated[int, Field(ge=0, le=100_000_000)]


class Split(Model):
    """Which samples are held out for validation: by fraction, by count or by range."""

    fraction: Fraction | None = Field(default=None, description="Share of the samples held out, 0 to 1.")
    count: int | None = Field(default=None, ge=0, le=10_000_000, description="Number of samples held out.")
    train_range: tuple[Index, Index] | None = Field(
        default=None, description="First and past-the-end index of training samples."
    )
    validation_range: tuple[Index, Index] | None = Field(
        default=None, description="First and past-the-end index of held-out samples."
    )
    seed: Seed = Field(default=0, description="Seed of the split. The same seed holds out the same samples.")

    @rule(
        "set only one of fraction, count and the ranges",
        cel=(
            "(has(self.fraction) ? 1 : 0) + (has(self.count) ? 1 : 0) + "
            "(has(self.trainRange) || has(self.validationRange) ? 1 : 0) <= 1"
        ),
    )
    def _one_way(self) -> bool:
        ranges = self.train_range is not None or self.validation_range is not None
        return sum([self.fraction is not None, self.count is not None, ranges]) <= 1

    @rule(
        "a range is [first, past-the-end], so the first number must be the smaller one",
        cel=(
            "(!has(self.trainRange) || self.trainRange[0] < self.trainRange[1]) && "
            "(!has(self.validationRange) || self.validationRange[0] < self.validationRange[1])"
        ),
    )
    def _ranges_in_order(self) -> bool:
        return all(given is None or given[0] < given[1] for given in (self.train_range, self.validation_range))

    @rule(
        "trainRange and validationRange may not overlap",
        cel=(
            "!has(self.trainRange) || !has(self.validationRange) || "
            "self.trainRange[1] <= self.validationRange[0] || self.validationRange[1] <= self.trainRange[0]"
        ),
        field="validationRange",
    )
    def _ranges_apart(self) -> bool:
        train, held = self.train_range, self.validation_range
        return train is None or held is None or train[1] <= held[0] or held[1] <= train[0]


class AspectBuckets(Model):
    """Shapes of at most size × size pixels; each picture takes the one nearest to its own aspect."""

    step: int = Field(
        default=64, ge=8, le=512, multiple_of=8, description="Sides of the shapes are multiples of it, in pixels."
    )
    max_aspect: float = Field(
        default=2, ge=1, le=8, description="Longest side of a shape divided by its shortest, at most."
    )


class Image(Model):
    """How a picture becomes a tensor in [-1, 1]: a square, or with aspectBuckets a shape near its own."""

    size: int = Field(default=512, ge=16, le=2048, multiple_of=8, description="Side in pixels.")
    crop: Literal["Center", "Stretch"] = Field(
        default="Center", description="Center: resize the short side, cut the middle. Stretch: change the aspect."
    )
    aspect_buckets: AspectBuckets | None = Field(
        default=None, description="Keep the aspect of pictures, nearly; all are squares when unset."
    )
    horizontal_flip: bool = Field(
        default=False, description="Mirror each picture with probability one half, drawn for every visit."
    )
    background: str = Field(
        default="#ffffff", pattern=r"^#[0-9a-fA-F]{6}$", max_length=7, description="Colour behind transparent pixels."
    )

    @property
    def square(self) -> "Image":
        """Return the same without buckets: what evaluation compares is drawn as squares."""
        return self.model_copy(update={"aspect_buckets": None})


class BadSamples(Model):
    """What happens to pictures and captions that cannot be read."""

    max_fraction: Fraction = Field(
        default=0.05, description="The run fails when more than this share is unusable; the rest is skipped and listed."
    )


class Filters(Model):
    """Pictures that are left out before training."""

    min_side: int | None = Field(default=None, ge=1, le=65_536, description="Shortest allowed side in pixels.")
    max_aspect: float | None = Field(
        default=None, ge=1, le=100, description="Longest allowed side divided by the shortest."
    )
    min_sharpness: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="Smallest allowed variance of the Laplacian, measured at the size that training sees.",
    )


class Dedup(Model):
    """Near-duplicates: of each group the picture with the most pixels is kept, of these the first by path."""

    enabled: bool = Field(default=False, description="Look for near-duplicates.")
    remove: bool = Field(
        default=True, description="Keep one of each group. false: keep all, and a group on one side of the split."
    )
    threshold: Fraction = Field(
        default=0.995,
        description=(
            "Cosine similarity above which two pictures count as the same. Of phash, d of 64 bits that differ stand "
            "for cos(π·d/64): 0.995 allows 2 bits, 0.98 4, 0.95 6."
        ),
    )
    scope: Literal["Class", "Global"] = Field(
        default="Global", description="Compare within a class folder or across all pictures."
    )
    embedder: Text = Field(
        default=PHASH, description="phash, or the folder of a CLIP, DINOv2 or Inception v3 as transformers keeps it."
    )


class Captioning(Model):
    """Writing captions for pictures that have none; in ClassFolders for all, where the class is no caption then."""

    provider: Literal["None", "Qwen2VL", "Florence2", "BLIP", "Template", "OpenAI"] = Field(
        default="None", description="Who writes the captions."
    )
    model: Location | None = Field(
        default=None, description="Folder of the network as transformers keeps it; of OpenAI the model's name."
    )
    endpoint: Location | None = Field(default=None, description="Base URL of an OpenAI-compatible endpoint.")
    api_key: SecretKey | None = Field(default=None, description="Key for the endpoint.")
    prompt: Prompt | None = Field(
        default=None, description="Instruction to the captioner; of Template the caption with {column} and {name}."
    )
    image_size: int = Field(default=512, ge=64, le=2048, description="Longer side in pixels that the captioner sees.")
    batch_size: int = Field(default=8, ge=1, le=1024, description="Pictures at once.")
    max_new_tokens: int = Field(default=96, ge=1, le=1024, description="Longest caption in tokens.")


class Dataset(Model):
    """Captioned pictures and how to read them."""

    source: DatasetSource = Field(description="Where the pictures are.")
    layout: Layout = Field(default="ImageFolder", description="How pictures and captions are kept.")
    image_column: Text = Field(default="file_name", description="Field or column that names the picture.")
    caption_column: Text = Field(default="text", description="Field or column with the caption, or a list of them.")
    where: dict[Text, Text] = Field(
        default={},
        max_length=16,
        description="Read only rows that have these values in these further columns, such as class in ClassFolders.",
    )
    limit: int | None = Field(default=None, ge=1, le=100_000_000, description="Read at most this many samples.")
    caption_policy: Literal["First", "All", "PerEpoch"] = Field(
        default="First",
        description="Of several captions of a picture: the first, one sample for each, or one drawn anew each epoch.",
    )
    split: Split = Field(default=Split(), description="Which samples are held out.")
    image: Image = Field(default=Image(), description="How pictures become tensors.")
    bad_samples: BadSamples = Field(default=BadSamples(), description="What happens to unusable samples.")
    filters: Filters = Field(default=Filters(), description="Pictures that are left out.")
    dedup: Dedup = Field(default=Dedup(), description="Removal of near-duplicates.")
    captioning: Captioning = Field(default=Captioning(), description="Writing captions.")
    publish_to: Location | None = Field(default=None, description="Where the prepared data set is packed and uploaded.")

    @property
    def writes_captions(self) -> bool:
        """Whether pictures without captions get them."""
        return self.captioning.provider != "None"
