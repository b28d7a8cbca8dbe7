"""LoRA slots in the graph of a UNet: adapters come in beside the picture, so one file draws the base and all of them.

A layer that is open to adapters adds B·(s ∘ A·x) to what it makes of x. A and B are those of all adapters of a pass,
one beside another; s has a row's strength where its own adapter stands, and zero elsewhere. So rows of the base and
of adapters of any rank go through one matrix product.

Shapes: R rows, K the ranks of all adapters together, I inputs and O outputs of a layer, k sides of a kernel.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import onnx_ir as ir

from diptych_diffusion.onnx_file import layer_of
from diptych_diffusion.onnx_parts import UNET_PREFIX

STRENGTHS: Final = {2: "lora.strengths.rows", 3: "lora.strengths.sequences", 4: "lora.strengths.pictures"}
"""Inputs for s by the axes of what a layer makes, ``[R, K]``, ``[R, 1, K]`` and ``[R, K, 1, 1]``, where needed."""
Side = int | ir.SymbolicDim
ROWS, RANKS = ir.SymbolicDim("batch"), ir.SymbolicDim("ranks")
STRENGTH_SHAPES: Final = {2: (ROWS, RANKS), 3: (ROWS, 1, RANKS), 4: (ROWS, RANKS, 1, 1)}
CONVOLUTION: Final = "Conv"


def names_of(layer: str) -> tuple[str, str]:
    """Return the inputs for A, ``[I, K]``, and B, ``[K, O]``; of a convolution ``[K, I, k, k]``, ``[O, K, 1, 1]``."""
    return f"lora.{layer}.A", f"lora.{layer}.B"


def opened(file: Path, layers: Iterable[str]) -> bytes:
    """Return the graph of a file of `write_part` with these layers open; its weights stay in their file."""
    model = ir.load(file)
    graph, strengths = model.graph, dict[int, ir.Value]()
    nodes = {name.removeprefix(UNET_PREFIX): node for node in graph if (name := layer_of(node)) is not None}
    for layer in sorted(layers):
        _open(graph, nodes[layer], layer, strengths)
    graph.inputs.extend(strengths.values())
    content: bytes = ir.to_proto(model).SerializeToString()
    return content


def _open(graph: ir.Graph, node: ir.Node, layer: str, strengths: dict[int, ir.Value]) -> None:
    """Let what a layer makes of its input go through the sum with the update."""
    x, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    assert x is not None and weight is not None and x.shape is not None  # noqa: PT018, S101 -- of a layer
    axes, names = len(x.shape), names_of(layer)
    a, b = (_input(name, shape) for name, shape in zip(names, _shapes(node, weight), strict=True))
    graph.inputs.extend([a, b])
    s = strengths.setdefault(axes, _input(STRENGTHS[axes], STRENGTH_SHAPES[axes]))
    kind = CONVOLUTION if node.op_type == CONVOLUTION else "MatMul"
    within = ir.node(kind, [x, a], attributes=node.attributes if kind == CONVOLUTION else None)
    weighed = ir.node("Mul", [within.outputs[0], s])
    update = ir.node(kind, [weighed.outputs[0], b])
    total = ir.node("Add", [output, update.outputs[0]])
    for part, name in ((within, "within"), (weighed, "weighed"), (update, "update"), (total, "total")):
        part.outputs[0].name = f"lora.{layer}.{name}"
    for user, index in list(output.uses()):
        if user is not total:
            user.replace_input_with(index, total.outputs[0])
    graph.insert_after(node, [within, weighed, update, total])
    _keep_output(graph, output, total.outputs[0])


def _shapes(node: ir.Node, weight: ir.Value) -> tuple[Sequence[Side], Sequence[Side]]:
    """Return the shapes of A and B."""
    assert weight.shape is not None  # noqa: S101 -- an initializer has one
    sides = weight.shape.numpy()
    if node.op_type == CONVOLUTION:
        outputs, inputs, *kernel = sides
        return (RANKS, inputs, *kernel), (outputs, RANKS, 1, 1)
    outputs, inputs = sides if node.op_type == "Gemm" else reversed(sides)
    return (inputs, RANKS), (RANKS, outputs)


def _keep_output(graph: ir.Graph, before: ir.Value, after: ir.Value) -> None:
    """Give the sum the name of the graph's output, where the layer made that."""
    for index, value in enumerate(graph.outputs):
        if value is before:
            before.name, after.name = after.name, before.name
            after.shape, after.type = before.shape, before.type
            graph.outputs[index] = after


def _input(name: str, shape: Sequence[Side]) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
