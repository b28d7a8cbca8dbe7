"""Finding models and fields by the path they have on the wire."""

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from diptych_api.fields import Model

Step = str | int


def wire_fields(model: type[Model]) -> dict[str, FieldInfo]:
    """Return the fields of a model by their names on the wire."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def bare(annotation: Any) -> Any:  # noqa: ANN401 - annotations are of any type
    """Return an annotation without `Annotated` and without `None`."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return bare(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def descend(annotation: Any, step: Step) -> Any:  # noqa: ANN401 - annotations are of any type
    """Return the annotation of a field, list item or map value, None when there is none of that name."""
    kind = bare(annotation)
    if isinstance(kind, type) and issubclass(kind, Model):
        info = wire_fields(kind).get(str(step)) if isinstance(step, str) else None
        return info.annotation if info else None
    origin, items = get_origin(kind), get_args(kind)
    if origin is dict and isinstance(step, str):
        return items[1]
    if origin is list and isinstance(step, int):
        return items[0]
    if origin is tuple and isinstance(step, int):
        return items[step] if step < len(items) else None
    return kind if kind is Any else None


def model_at(model: type[Model], path: Sequence[Step]) -> type[Model] | None:
    """Return the model that stands at a path, None for a value of another kind."""
    annotation: Any = model
    for step in path:
        annotation = descend(annotation, step)
    kind = bare(annotation)
    return kind if isinstance(kind, type) and issubclass(kind, Model) else None


def is_known(model: type[Model], path: Sequence[Step]) -> bool:
    """Return whether something may stand at a path."""
    annotation: Any = model
    for step in path:
        annotation = descend(annotation, step)
        if annotation is None:
            return False
    return True


def description_at(model: type[Model], path: Sequence[Step]) -> str:
    """Return the description of the nearest field at or above a path's end, without leaving its list or map."""
    for end in range(len(path), 0, -1):
        last = path[end - 1]
        parent = model_at(model, path[: end - 1])
        if parent is not None and isinstance(last, str):
            info = wire_fields(parent).get(last)
            return (info.description or "") if info else ""
    return ""


def show(path: Sequence[Step]) -> str:
    """Return a path as people write it, such as `spec.training.samples.prompts[2]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
