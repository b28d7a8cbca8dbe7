"""One example that keeps and one that breaks each rule of the resources; for models and API servers alike."""

import copy
from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]
SHA = "0" * 64
DIGEST = f"sha256:{SHA}"
BASE: Values = {"builtin": "tiny-emoji"}


@dataclass(frozen=True, slots=True)
class RuleExample:
    """A rule by its message, and two values of the spec: one that keeps and one that breaks it."""

    kind: str
    message: str
    kept: Values
    broken: Values

    def resource(self, *, broken: bool) -> Values:
        """Return the whole resource."""
        spec = copy.deepcopy(self.broken if broken else self.kept)
        name = spec.pop("name", "noto")
        return {
            "apiVersion": "diptych.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": name},
            "spec": MINIMAL[self.kind] | spec,
        }


MINIMAL: dict[str, Values] = {
    "FineTuneJob": {"base": BASE, "dataset": {"source": {"uri": "s3://bucket/pictures"}}},
    "DiffusionDeployment": {"base": BASE},
    "DiffusionModel": {},
    "FineTuneReport": {"phase": "Training", "time": "2026-01-31T12:00:00Z"},
}


def _source(**source: object) -> Values:
    return {"dataset": {"source": source}}


def _split(**split: object) -> Values:
    return {"dataset": {"source": {"uri": "x"}, "split": split}}


def _job(message: str, kept: Values, broken: Values) -> RuleExample:
    return RuleExample("FineTuneJob", message, kept, broken)


def _deployment(message: str, kept: Values, broken: Values) -> RuleExample:
    return RuleExample("DiffusionDeployment", message, kept, broken)


ADAPTER: Values = {"name": "noto", "uri": "s3://bucket/noto"}
STYLE: Values = {"name": "pencil", "template": "{prompt}, pencil"}
BLOCKS: Values = {"downBlockTypes": ["DownBlock2D"] * 2, "upBlockTypes": ["UpBlock2D"] * 2}
EXAMPLES = (
    *(
        RuleExample(kind, "metadata.name must be", {"name": "a" * 40}, {"name": name})
        for kind in MINIMAL
        for name in ("a" * 41, "1a", "a.b")
    ),
    _job("set exactly one of builtin", {"base": {"uri": "s3://b/m"}}, {"base": {"uri": "s3://b/m", **BASE}}),
    _job("set exactly one of builtin", {"base": {"pvc": {"claimName": "c"}}}, {"base": {"sha256": SHA}}),
    _job(
        "an https:// uri needs sha256",
        {"base": {"uri": "https://a.b/c.zip", "sha256": SHA}},
        {"base": {"uri": "https://a.b/c.zip"}},
    ),
    _job("set exactly one of uri, huggingFace and pvc", _source(pvc={"claimName": "c"}), _source(sha256=SHA)),
    _job(
        "set exactly one of uri, huggingFace and pvc",
        _source(uri="s3://b/d"),
        _source(uri="s3://b/d", pvc={"claimName": "c"}),
    ),
    _job("an https:// uri needs sha256", _source(uri="https://a.b/c", sha256=SHA), _source(uri="https://a.b/c")),
    _job("set exactly one of uri and pvc", {"output": {"uri": "s3://b/r"}}, {"output": {}}),
    _job(
        "set exactly one of uri and pvc",
        {"output": {"pvc": {"claimName": "c"}}},
        {"output": {"uri": "s3://b/r", "pvc": {"claimName": "c"}}},
    ),
    _job("set only one of fraction", _split(trainRange=[0, 5], validationRange=[5, 9]), _split(count=3, fraction=0.1)),
    _job("set only one of fraction", _split(), _split(count=3, validationRange=[0, 5])),
    _job("a range is [first, past-the-end]", _split(trainRange=[0, 1]), _split(trainRange=[1, 1])),
    _job("a range is [first, past-the-end]", _split(), _split(validationRange=[5, 3])),
    _job(
        "trainRange and validationRange may",
        _split(trainRange=[5, 9], validationRange=[0, 5]),
        _split(trainRange=[0, 5], validationRange=[4, 9]),
    ),
    _job("set steps or epochs", {"training": {"steps": 3}}, {"training": {"steps": 3, "epochs": 3}}),
    _job(
        "microBatchSize may not be above batchSize",
        {"training": {"microBatchSize": 8, "batchSize": 8}},
        {"training": {"microBatchSize": 8}},
    ),
    _job(
        "minWorkers may not be above workers",
        {"resources": {"minWorkers": 2, "workers": 2}},
        {"resources": {"minWorkers": 2}},
    ),
    _job("unet is set exactly when", {"method": "FromScratch", "unet": {}}, {"unet": {}}),
    _job("unet is set exactly when", {"preset": "flowers-scratch"}, {"method": "FromScratch"}),
    _job("unet is set exactly when", {"preset": "flowers-scratch", "unet": {}}, {"preset": "lora-r4", "unet": {}}),
    _job(
        "blockOutChannels, downBlockTypes",
        {"method": "FromScratch", "unet": {"blockOutChannels": [32, 64], **BLOCKS}},
        {"method": "FromScratch", "unet": {"blockOutChannels": [32, 64]}},
    ),
    _job(
        "preset flickr30k-full trains",
        {"preset": "lora-r4", "method": "LoRA"},
        {"preset": "lora-r4", "method": "FullUNet"},
    ),
    _job(
        "training.trainTextEncoder needs",
        {"preset": "flowers-scratch", "training": {"trainTextEncoder": True}},
        {"preset": "lora-r16", "training": {"trainTextEncoder": True}},
    ),
    _job(
        "training.trainTextEncoder needs",
        {"training": {"trainTextEncoder": False}},
        {"method": "FullUNet", "training": {"trainTextEncoder": True}},
    ),
    _deployment("set exactly one of builtin", {"base": {"uri": "s3://b/m"}}, {"base": {}}),
    _deployment("an https:// uri needs sha256", {}, {"base": {"uri": "https://a.b/c.zip"}}),
    _deployment(
        "set exactly one of uri, fromJob",
        {"adapters": [{"name": "noto", "fromJob": {"name": "noto"}}]},
        {"adapters": [ADAPTER | {"fromModel": {"name": "noto"}}]},
    ),
    _deployment(
        "digest belongs to uri",
        {"adapters": [ADAPTER | {"digest": DIGEST}]},
        {"adapters": [{"name": "noto", "fromJob": {"name": "noto"}, "digest": DIGEST}]},
    ),
    _deployment(
        "adapter names must be unique",
        {"adapters": [ADAPTER, ADAPTER | {"name": "other"}]},
        {"adapters": [ADAPTER, ADAPTER]},
    ),
    _deployment(
        "names of promptTemplates must",
        {"promptTemplates": [STYLE, STYLE | {"name": "other"}]},
        {"promptTemplates": [STYLE, STYLE]},
    ),
    _deployment(
        "slots must hold",
        {"adapters": [ADAPTER], "slots": 1},
        {"adapters": [ADAPTER, ADAPTER | {"name": "b"}], "slots": 1},
    ),
    _deployment("set replicas or autoscaling", {"autoscaling": {}}, {"replicas": 1, "autoscaling": {}}),
    _deployment("min may not be above max", {"autoscaling": {"min": 0, "max": 1}}, {"autoscaling": {"min": 5}}),
    _deployment("minSide may not be above", {"limits": {"minSide": 64, "maxSide": 64}}, {"limits": {"minSide": 2048}}),
    _deployment(
        "adminRoutes needs apiKeys",
        {"auth": {"adminRoutes": True, "apiKeys": {"name": "keys", "key": "keys.json"}}},
        {"auth": {"adminRoutes": True}},
    ),
    _deployment(
        "http.port, grpc.port",
        {"endpoints": {"http": {"port": 9000}, "grpc": {"port": 8000}}},
        {"endpoints": {"http": {"port": 9000}}},
    ),
)
