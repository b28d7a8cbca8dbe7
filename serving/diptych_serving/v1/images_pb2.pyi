from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Params(_message.Message):
    __slots__ = ("prompt", "negative_prompt", "seed", "steps", "guidance_scale", "width", "height", "scheduler", "format", "preview_every", "eta", "template")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_EVERY_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance_scale: float
    width: int
    height: int
    scheduler: str
    format: str
    preview_every: int
    eta: float
    template: str
    def __init__(self, prompt: _Optional[str] = ..., negative_prompt: _Optional[str] = ..., seed: _Optional[int] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., scheduler: _Optional[str] = ..., format: _Optional[str] = ..., preview_every: _Optional[int] = ..., eta: _Optional[float] = ..., template: _Optional[str] = ...) -> None: ...

class Arm(_message.Message):
    __slots__ = ("adapter", "strength")
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    adapter: str
    strength: float
    def __init__(self, adapter: _Optional[str] = ..., strength: _Optional[float] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("params", "arm", "n", "idempotency_key")
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    params: Params
    arm: Arm
    n: int
    idempotency_key: str
    def __init__(self, params: _Optional[_Union[Params, _Mapping]] = ..., arm: _Optional[_Union[Arm, _Mapping]] = ..., n: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class CompareRequest(_message.Message):
    __slots__ = ("params", "arms", "grid", "idempotency_key")
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    params: Params
    arms: _containers.RepeatedCompositeFieldContainer[Arm]
    grid: bool
    idempotency_key: str
    def __init__(self, params: _Optional[_Union[Params, _Mapping]] = ..., arms: _Optional[_Iterable[_Union[Arm, _Mapping]]] = ..., grid: _Optional[bool] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class Picture(_message.Message):
    __slots__ = ("image", "format", "seed", "adapter", "adapter_digest", "strength", "requested_adapter", "degraded", "flaw", "flagged")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_ADAPTER_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    FLAW_FIELD_NUMBER: _ClassVar[int]
    FLAGGED_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    format: str
    seed: int
    adapter: str
    adapter_digest: str
    strength: float
    requested_adapter: str
    degraded: str
    flaw: str
    flagged: bool
    def __init__(self, image: _Optional[bytes] = ..., format: _Optional[str] = ..., seed: _Optional[int] = ..., adapter: _Optional[str] = ..., adapter_digest: _Optional[str] = ..., strength: _Optional[float] = ..., requested_adapter: _Optional[str] = ..., degraded: _Optional[str] = ..., flaw: _Optional[str] = ..., flagged: _Optional[bool] = ...) -> None: ...

class Settings(_message.Message):
    __slots__ = ("prompt", "negative_prompt", "steps", "guidance_scale", "scheduler", "eta", "height", "width")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    negative_prompt: str
    steps: int
    guidance_scale: float
    scheduler: str
    eta: float
    height: int
    width: int
    def __init__(self, prompt: _Optional[str] = ..., negative_prompt: _Optional[str] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., scheduler: _Optional[str] = ..., eta: _Optional[float] = ..., height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class Base(_message.Message):
    __slots__ = ("name", "digest", "dtype", "device")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    dtype: str
    device: str
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., dtype: _Optional[str] = ..., device: _Optional[str] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("queue_ms", "encode_ms", "denoise_ms", "decode_ms", "total_ms", "rows", "steps", "cached")
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_MS_FIELD_NUMBER: _ClassVar[int]
    DENOISE_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    queue_ms: float
    encode_ms: float
    denoise_ms: float
    decode_ms: float
    total_ms: float
    rows: int
    steps: int
    cached: bool
    def __init__(self, queue_ms: _Optional[float] = ..., encode_ms: _Optional[float] = ..., denoise_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., total_ms: _Optional[float] = ..., rows: _Optional[int] = ..., steps: _Optional[int] = ..., cached: _Optional[bool] = ...) -> None: ...

class PicturesReply(_message.Message):
    __slots__ = ("id", "images", "grid", "settings", "base", "timing")
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    id: str
    images: _containers.RepeatedCompositeFieldContainer[Picture]
    grid: bytes
    settings: Settings
    base: Base
    timing: Timing
    def __init__(self, id: _Optional[str] = ..., images: _Optional[_Iterable[_Union[Picture, _Mapping]]] = ..., grid: _Optional[bytes] = ..., settings: _Optional[_Union[Settings, _Mapping]] = ..., base: _Optional[_Union[Base, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("picture", "step", "total")
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    picture: int
    step: int
    total: int
    def __init__(self, picture: _Optional[int] = ..., step: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class Preview(_message.Message):
    __slots__ = ("picture", "step", "images")
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    picture: int
    step: int
    images: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, picture: _Optional[int] = ..., step: _Optional[int] = ..., images: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("progress", "preview", "pictures")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    preview: Preview
    pictures: PicturesReply
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., preview: _Optional[_Union[Preview, _Mapping]] = ..., pictures: _Optional[_Union[PicturesReply, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Model(_message.Message):
    __slots__ = ("id", "kind", "state", "digest", "rank", "strength", "run", "message", "method", "bytes")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    state: str
    digest: str
    rank: int
    strength: float
    run: str
    message: str
    method: str
    bytes: int
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., digest: _Optional[str] = ..., rank: _Optional[int] = ..., strength: _Optional[float] = ..., run: _Optional[str] = ..., message: _Optional[str] = ..., method: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class ListModelsReply(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...
