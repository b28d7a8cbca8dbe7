"""What draws: a base, and an adapter on it where one is wanted."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from diptych_api.after import Evaluation
from diptych_api.errors import AdapterInvalid, UserError
from diptych_api.sources import Base
from diptych_cli.artifact_files import fetch_artifact, form_folder
from diptych_cli.job_file import base_name
from diptych_cli.runs import find_run, record_of, shown
from diptych_diffusion.adapter_files import load_adapter
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.cache_folder import cache_folder
from diptych_diffusion.components import Components
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.lora import attach_all
from diptych_diffusion.pipeline import load
from diptych_training.run_store import RunStore

if TYPE_CHECKING:
    from torch import nn

DEFAULT_BASE = "builtin:tiny-emoji"


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded base, its adapter attached."""

    components: Components
    base_name: str
    adapter_digest: str | None = None
    evaluation: Evaluation | None = None
    """Settings of the run that it comes from."""


def find_model(run: str | None, adapter: Path | None, base: str | None, device: str) -> Model:
    """Return the model that a run, an adapter or a base names. Raises DiptychError."""
    if run is not None and adapter is not None:
        raise UserError("--run and --adapter exclude each other.", hint="Use one of them.")
    if run is None:
        wanted = parse_base(base or DEFAULT_BASE)
        return _assemble(wanted, adapter, None, device)
    return model_of(find_run(run), base, device)


def model_of(store: RunStore, base: str | None, device: str) -> Model:
    """Return the model that a run left, on its own base or on another one. Raises DiptychError."""
    record = record_of(store)
    if record is None:
        raise UserError(f"{shown(store.uri())} has no artifact yet.", hint=f"See diptych status {shown(store.uri())}")
    folder, artifact = fetch_artifact(store)
    if "Pipeline" in artifact.formats:
        if base is not None:
            raise UserError("The run made a whole model, so --base has no meaning.", hint="Leave --base out.")
        pipeline = form_folder(folder, "Pipeline")
        return Model(load(pipeline, device=device), str(pipeline), evaluation=record.spec.evaluation)
    wanted = record.spec.base if base is None else parse_base(base)
    return _assemble(wanted, form_folder(folder, "PEFT"), record.spec.evaluation, device)


def parse_base(text: str) -> Base:
    """Return the base that `builtin:NAME`, a folder or a URI names. Raises UserError."""
    try:
        if text.startswith("builtin:"):
            return Base.model_validate({"builtin": text.removeprefix("builtin:")})
        return Base.model_validate({"uri": text})
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise UserError(f"--base {text}: {problem}.", hint=f"Use {DEFAULT_BASE} or a pipeline's folder.") from error


def _assemble(base: Base, adapter: Path | None, evaluation: Evaluation | None, device: str) -> Model:
    components = load(resolve_base(base, cache_folder() / "bases"), device=device)
    if adapter is None:
        return Model(components, base_name(base), evaluation=evaluation)
    weights = load_adapter(adapter)
    if weights.base is not None and weights.base.digest.removeprefix("sha256:") != components.digest:
        message = f"{adapter} was made for another base: {weights.base.source}."
        raise AdapterInvalid(message, hint="Name that base with --base.")
    attach_all(components.denoiser, components.text_encoder, weights)
    for network in (components.denoiser, components.text_encoder):
        cast("nn.Module", network).to(device)
    return Model(components, base_name(base), f"sha256:{weights_digest(weights.tensors())}", evaluation)
