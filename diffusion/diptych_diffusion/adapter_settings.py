"""What an adapter's file says beside its tensors: peft's settings, our own record, and what follows without them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from diptych_api.artifact import BaseRecord
from diptych_api.errors import AdapterInvalid, UnsupportedHere
from diptych_diffusion.adapter_weights import MAGNITUDE, AdapterWeights, find_unpaired
from diptych_diffusion.kohya import even_out

OWN_RECORD: Final = "diptych.adapter"
HARMLESS_STARTS: Final = frozenset({None, True, False, "gaussian", "eva", "orthogonal"})


class _Settings(BaseModel):
    """The fields of peft's LoraConfig that change what the weights mean; others are ignored, as peft ignores them."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    peft_type: Literal["LORA"] = "LORA"
    r: int = Field(ge=1, le=4096)
    lora_alpha: float = Field(gt=0, le=1e6)
    use_rslora: bool = False
    use_dora: bool = False
    target_modules: list[str] | str | None = None
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None
    init_lora_weights: bool | str | None = True


class _OwnRecord(BaseModel):
    """What our own files say in their header beyond what the format knows."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    base: BaseRecord | None = None
    target_modules: list[str] = Field(default=[], max_length=4096)


def settings_of(weights: AdapterWeights) -> dict[str, Any]:
    """Return the fields of LoraConfig that old and new versions of peft share, so that any of them reads the file."""
    return {
        "alpha_pattern": {},
        "init_lora_weights": True,
        "lora_alpha": int(weights.alpha) if weights.alpha.is_integer() else weights.alpha,
        "r": weights.rank,
        "rank_pattern": {},
        "target_modules": sorted(weights.target_modules),
        "use_dora": weights.dora,
        "use_rslora": weights.rslora,
    }


def own_record(weights: AdapterWeights) -> dict[str, str]:
    """Return the header entry that tells base and targets, which not every format has a place for."""
    record = _OwnRecord(base=weights.base, target_modules=sorted(weights.target_modules))
    return {OWN_RECORD: json.dumps(record.model_dump(mode="json", by_alias=True), sort_keys=True)}


def assemble(
    file: Path, state: dict[str, Tensor], settings: Mapping[str, Any], metadata: Mapping[str, str]
) -> AdapterWeights:
    """Return the weights that peft's settings describe."""
    try:
        config = _Settings.model_validate(settings)
    except ValidationError as cause:
        fields = ", ".join(sorted({str(error["loc"][0]) for error in cause.errors()}))
        raise AdapterInvalid(f"The settings of {file} are no LoRA's: {fields}.") from cause
    if config.rank_pattern or config.alpha_pattern:
        raise UnsupportedHere(
            f"{file} sets ranks or alphas by pattern.", hint="Export it with one rank and one alpha for all layers."
        )
    if config.init_lora_weights not in HARMLESS_STARTS:
        raise UnsupportedHere(
            f"{file} started from {config.init_lora_weights}, which changes the base too.",
            hint="Convert it to a plain LoRA as peft's documentation of that start tells.",
        )
    targets = config.target_modules if isinstance(config.target_modules, list) else _layers(state)
    return AdapterWeights(
        state=_sorted_fp32(state),
        rank=config.r,
        alpha=config.lora_alpha,
        rslora=config.use_rslora,
        dora=config.use_dora,
        target_modules=tuple(targets),
        base=_own(file, metadata).base,
    )


def assemble_even(
    file: Path, state: dict[str, Tensor], alphas: Mapping[str, float], metadata: Mapping[str, str]
) -> AdapterWeights:
    """Return the weights of a file without settings: ranks from the shapes, alpha = rank where none is given."""
    dora = any(key.endswith(MAGNITUDE) for key in state)
    if fault := find_unpaired(state, dora=dora):
        raise AdapterInvalid(f"The adapter {file} {fault}.")
    even, rank, alpha = even_out(_sorted_fp32(state), alphas)
    own = _own(file, metadata)
    return AdapterWeights(
        state=even,
        rank=rank,
        alpha=alpha,
        rslora=False,
        dora=dora,
        target_modules=tuple(own.target_modules or _layers(state)),
        base=own.base,
    )


def _own(file: Path, metadata: Mapping[str, str]) -> _OwnRecord:
    try:
        return _OwnRecord.model_validate_json(metadata.get(OWN_RECORD, "{}"))
    except ValidationError as cause:
        raise AdapterInvalid(f"The header of {file} has a broken {OWN_RECORD}.") from cause


def _sorted_fp32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return floating-point tensors as float32, others as they are, for find_fault to name."""
    return {key: t.float() if t.is_floating_point() else t for key, t in sorted(state.items())}


def _layers(state: Mapping[str, Tensor]) -> list[str]:
    return sorted({key.partition(".lora_")[0] for key in state})
