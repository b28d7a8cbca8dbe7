"""YAML as Kubernetes reads it: text to plain values with the line of each, and back. Nothing in it can run code.

Differences from PyYAML's own reading: `1e-4` is a number, dates and `12:30` are text, keys stand once, `n` is
false, anchors cannot blow up, and only plain tags are known.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Step = str | int
Place = tuple[Step, ...]

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 20_000
TAG = "tag:yaml.org,2002:"
NUMBER = r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
RESOLVERS = (
    ("bool", r"[yYnN]|[yY]es|YES|[nN]o|NO|[tT]rue|TRUE|[fF]alse|FALSE|[oO]n|ON|[oO]ff|OFF", [*"yYnNtTfFoO"]),
    ("int", r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    ("float", rf"{NUMBER}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", [*"-+0123456789."]),
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("merge", r"<<", ["<"]),
)


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something that is wrong with the YAML itself, at a line counted from 1."""

    line: int
    place: Place
    message: str


@dataclass(slots=True)
class Document:
    """One YAML document: its plain value, the line of every place in it, and what is wrong with it."""

    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML declares it as an instance attribute
    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it open
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML declares it as an instance attribute

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


for _tag, _pattern, _first in RESOLVERS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(TAG + _tag, re.compile(f"^(?:{_pattern})$"), _first)


def documents(text: str) -> list[Document]:
    """Return the documents of a YAML text that are not empty. A syntax error makes a last document of its own."""
    if len(text) > MAX_CHARACTERS:
        return [Document(mistakes=[Mistake(1, (), f"the file is larger than {MAX_CHARACTERS} characters.")])]
    found: list[Document] = []
    try:
        for node in _compose(text):
            document = Document()
            document.value = _Builder(document).value(node, ())
            if document.value is not None or document.mistakes:
                found.append(document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found.append(Document(mistakes=[Mistake(mark.line + 1 if mark else 1, (), f"not YAML: {error.problem}.")]))
    except yaml.YAMLError as error:
        found.append(Document(mistakes=[Mistake(1, (), f"not YAML: {str(error).splitlines()[0]}.")]))
    return found


def to_yaml(value: object) -> str:
    """Return plain values as YAML: keys in their order, no anchors, long texts on one line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)


def _compose(text: str) -> Iterator[Node]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()


class _Builder:
    """Turns nodes into values; counts them, so that nested aliases end in a mistake and not in a full memory."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def value(self, node: Node, place: Place) -> Any:  # noqa: ANN401 - YAML holds anything
        self.count += 1
        self.document.lines.setdefault(place, node.start_mark.line + 1)
        if self.count > MAX_VALUES or len(place) > MAX_DEPTH:
            if not self.document.mistakes:
                self.mistake(node, (), f"aliases make more than {MAX_VALUES} values of it.")
            return None
        if isinstance(node, MappingNode) and node.tag == TAG + "map":
            return self.mapping(node, place)
        if isinstance(node, SequenceNode) and node.tag == TAG + "seq":
            return [self.value(child, (*place, i)) for i, child in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self.scalar(node, place)
        return self.mistake(node, place, f"the tag {node.tag.removeprefix(TAG)} is not known here.")

    def mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.tag != TAG + "str":
                text = "merge keys are not read; write the fields out." if key_node.tag == TAG + "merge" else ""
                self.mistake(key_node, place, text or "every key must be text; put it in quotes.")
                continue
            key = key_node.value
            here = (*place, key)
            if key in values:
                self.mistake(key_node, here, f"stands here twice; first on line {self.document.lines[here]}.")
                continue
            self.document.lines[here] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, here)
        return values

    def scalar(self, node: ScalarNode, place: Place) -> Any:  # noqa: ANN401 - YAML holds anything
        text: str = node.value
        match node.tag.removeprefix(TAG):
            case "str" | "merge":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() in ("y", "yes", "true", "on")
            case "int" | "float" as kind:
                return self.number(node, place, kind)
        return self.mistake(node, place, f"the tag {node.tag.removeprefix(TAG)} is not known here.")

    def number(self, node: ScalarNode, place: Place, kind: str) -> Any:  # noqa: ANN401 - None after a mistake
        text = node.value.replace("_", "").lower()
        try:
            if kind == "int":
                return int(text, 16) if text.startswith("0x") else int(text)
            return float(text.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            return self.mistake(node, place, f"'{node.value[:40]}' is not a number.")

    def mistake(self, node: Node, place: Place, message: str) -> None:
        self.document.mistakes.append(Mistake(node.start_mark.line + 1, place, message))
