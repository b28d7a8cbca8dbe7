"""Random valid resources as plain values, drawn from the models' JSON schema and made to keep the rules."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

Values = dict[str, Any]
Strategy = st.SearchStrategy[Any]

TEXT = st.characters(exclude_categories=["Cs", "Cc"])
MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001 - the Z is added
MOST_OPTIONAL = 5
LONGEST_TEXT = 24
PRESET_METHODS = {"flickr30k-full": "FullUNet", "flowers-scratch": "FromScratch"}


def resources(model: type[BaseModel]) -> st.SearchStrategy[Values]:
    """Return a strategy for valid resources of a kind, as they stand in YAML."""
    schema = model.model_json_schema(by_alias=True)
    drawer = _Drawer(schema.get("$defs", {}))
    spec = schema["properties"]["spec"]
    head = {"apiVersion": st.just("diptych.dev/v1alpha1"), "kind": st.just(model.__name__)}
    name = st.from_regex(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
    parts = {**head, "metadata": st.fixed_dictionaries({"name": name}), "spec": drawer.values(spec)}
    optional = {"status": drawer.values(schema["properties"]["status"])} if "status" in schema["properties"] else {}
    return st.fixed_dictionaries(parts, optional=optional)


class _Drawer:
    def __init__(self, definitions: dict[str, Values]) -> None:
        self.definitions = definitions
        self.known: dict[str, Strategy] = {}

    def values(self, schema: Values) -> Strategy:
        """Return a strategy for what a schema allows."""
        if "anyOf" in schema:
            return self.values(next(option for option in schema["anyOf"] if option.get("type") != "null"))
        if "$ref" in schema:
            return self.defined(schema["$ref"].rsplit("/", 1)[-1])
        if "const" in schema or "enum" in schema:
            return st.sampled_from(schema.get("enum", [schema.get("const")]))
        by_type = {
            "object": self.objects,
            "array": self.lists,
            "string": _texts,
            "integer": _integers,
            "number": _floats,
        }
        return by_type[schema["type"]](schema) if schema["type"] in by_type else st.booleans()

    def defined(self, name: str) -> Strategy:
        """Return the strategy for a model, which keeps the model's rules."""
        if name not in self.known:
            drawn, repair = self.values(self.definitions[name]), RULES.get(name)
            self.known[name] = st.builds(repair, drawn, st.integers(0, 1000)) if repair else drawn
        return self.known[name]

    def objects(self, schema: Values) -> Strategy:
        if "properties" not in schema:
            inner = schema.get("additionalProperties")
            values = self.values(inner) if isinstance(inner, dict) and inner else st.integers(0, 9)
            return st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), values, max_size=2)
        children = {name: self.values(child) for name, child in schema["properties"].items()}
        required = schema.get("required", ())
        optional = [name for name in children if name not in required]
        chosen = st.lists(st.sampled_from(optional), max_size=MOST_OPTIONAL, unique=True) if optional else st.just([])
        return chosen.flatmap(lambda names: st.fixed_dictionaries({n: children[n] for n in [*required, *names]}))

    def lists(self, schema: Values) -> Strategy:
        if "prefixItems" in schema:
            return st.tuples(*(self.values(item) for item in schema["prefixItems"])).map(list)
        low = schema.get("minItems", 0)
        return st.lists(
            self.values(schema["items"]), min_size=low, max_size=max(low, min(3, schema.get("maxItems", 3)))
        )


def _texts(schema: Values) -> Strategy:
    if schema.get("format") == "date-time":
        return MOMENTS.map(lambda moment: f"{moment.isoformat(timespec='seconds')}Z")
    low, high = schema.get("minLength", 0), schema.get("maxLength", LONGEST_TEXT)
    if "pattern" in schema:
        pattern = (
            schema["pattern"].removeprefix("^").removesuffix("$").replace(r"[^\x00", r"[^\x00-\x1f\x85\ud800-\udfff")
        )
        return st.from_regex(pattern, fullmatch=True).filter(lambda text: low <= len(text) <= high)
    places = st.sampled_from(["runs", "s3://bucket/folder", "https://example.org/a.zip", "no", "1e-4", "12:30", "~"])
    text = st.text(TEXT, min_size=low, max_size=min(high, LONGEST_TEXT))
    return st.one_of(text, places.filter(lambda place: low <= len(place) <= high))


def _integers(schema: Values) -> Strategy:
    step = schema.get("multipleOf", 1)
    low, high = schema.get("minimum", 0), schema.get("maximum", 2**31)
    return st.integers(-(-low // step), high // step).map(lambda count: count * step)


def _floats(schema: Values) -> Strategy:
    return st.floats(
        min_value=schema.get("minimum", schema.get("exclusiveMinimum")),
        max_value=schema.get("maximum", schema.get("exclusiveMaximum")),
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
        allow_nan=False,
        allow_infinity=False,
        allow_subnormal=False,
    )


def _one_of(*ways: str, default: str) -> Callable[[Values, int], Values]:
    def repair(values: Values, choice: int) -> Values:
        present = [way for way in ways if way in values]
        kept = present[choice % len(present)] if present else "uri"
        values = {name: value for name, value in values.items() if name not in ways or name == kept}
        values.setdefault(kept, default)
        if kept == "uri" and str(values["uri"]).startswith("https://"):
            values.setdefault("sha256", "0" * 64)
        return values

    return repair


def _without(values: Values, *names: str) -> Values:
    return {name: value for name, value in values.items() if name not in names}


def _adapter(values: Values, choice: int) -> Values:
    values = _without(_ADAPTER_WAYS(values, choice), "sha256")
    return values if "uri" in values else _without(values, "digest", "credentials")


def _split(values: Values, choice: int) -> Values:
    ways = [way for way in (["fraction"], ["count"], ["trainRange", "validationRange"]) if set(way) & set(values)]
    kept = ways[choice % len(ways)] if ways else []
    ranges = {"trainRange": [0, 1 + choice], "validationRange": [1 + choice, 2 + 2 * choice]}
    values = {k: v for k, v in values.items() if k in kept or k == "seed"}
    return values | ranges if set(ranges) & set(values) else values


def _training(values: Values, choice: int) -> Values:
    if "steps" in values and "epochs" in values:
        values = _without(values, ("steps", "epochs")[choice % 2])
    if "microBatchSize" in values:
        values["microBatchSize"] = min(values["microBatchSize"], values.get("batchSize", 4), 1)
    values.pop("trainTextEncoder", None)
    return values


def _unet(values: Values, choice: int) -> Values:
    blocks = {"blockOutChannels": 64, "downBlockTypes": "DownBlock2D", "upBlockTypes": "UpBlock2D"}
    return values | {name: [block] * (1 + choice % 4) for name, block in blocks.items()}


def _job(values: Values, choice: int) -> Values:
    if "preset" in values:
        values.pop("method", None)
    method = PRESET_METHODS.get(values.get("preset", ""), values.get("method", "LoRA"))
    if method == "FromScratch":
        values.setdefault("unet", _unet({}, choice))
        values.setdefault("training", {})["trainTextEncoder"] = bool(choice % 2)
    else:
        values.pop("unet", None)
    return values


def _deployment(values: Values, choice: int) -> Values:
    if "replicas" in values and "autoscaling" in values:
        values.pop(("replicas", "autoscaling")[choice % 2])
    for part in ("adapters", "promptTemplates"):
        if part in values:
            values[part] = list({item["name"]: item for item in values[part]}.values())
    if len(values.get("adapters", ())) > values.get("slots", 8):
        values["slots"] = len(values["adapters"])
    return values


def _status(values: Values, _: int) -> Values:
    for part, key in (("adapters", "name"), ("conditions", "type")):
        if part in values:
            values[part] = list({item[key]: item for item in values[part]}.values())
    return values


def _no_more(low: str, high: str, default: float) -> Callable[[Values, int], Values]:
    def repair(values: Values, _: int) -> Values:
        if low in values:
            values[low] = min(values[low], values.get(high, default))
        return values

    return repair


def _sides(values: Values, _: int) -> Values:
    return _without(values, "minSide")


def _autoscaling(values: Values, _: int) -> Values:
    return values | {"min": min(values.get("min", 1), values.get("max", 4))}


def _endpoints(values: Values, choice: int) -> Values:
    for number, (part, field) in enumerate(PORTS):
        if part in values and field in values[part]:
            values[part][field] = 10_000 + 4 * choice + number
    return values


_ADAPTER_WAYS = _one_of("uri", "fromJob", "fromModel", default="s3://bucket/adapter")
_OUTPUT_WAYS = _one_of("uri", "pvc", default="runs")
PORTS = (("http", "port"), ("grpc", "port"), ("compatible", "port"), ("compatible", "pingPort"))
RULES: dict[str, Callable[[Values, int], Values]] = {
    "Base": _one_of("builtin", "huggingFace", "uri", "pvc", default="s3://bucket/base"),
    "DatasetSource": _one_of("uri", "huggingFace", "pvc", default="s3://bucket/pictures"),
    "Output": lambda values, choice: _without(_OUTPUT_WAYS(values, choice), "sha256"),
    "Adapter": _adapter,
    "Split": _split,
    "Training": _training,
    "UNet": _unet,
    "Resources": _no_more("minWorkers", "workers", 1),
    "Auth": lambda values, _: values if "apiKeys" in values else _without(values, "adminRoutes"),
    "Autoscaling": _autoscaling,
    "Limits": _sides,
    "Endpoints": _endpoints,
    "FineTuneJobStatus": _status,
    "DiffusionDeploymentStatus": _status,
    "DiffusionModelStatus": _status,
    "FineTuneJobSpec": _job,
    "DiffusionDeploymentSpec": _deployment,
}
