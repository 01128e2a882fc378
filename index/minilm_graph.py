"""ONNX graph of all-MiniLM-L6-v2, built from its weights without torch.

A BERT encoder, the mean over the pieces, and a normalisation, for one text a run: nothing is
padded, so the mask hides nothing and only counts the pieces. Rule: the steps and their order are
those that torch's exporter writes, so ONNX Runtime fuses and rounds the same: a vector is the same
to the bit, whichever of the two made the model.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Weights: TypeAlias = Mapping[str, npt.NDArray[np.float32]]

# From the model's `config.json`.
WIDTH, VOCABULARY = 384, 30522
_LAYERS, _HEADS, _POSITIONS = 6, 12, 512
_HEAD_WIDTH = WIDTH // _HEADS
_EPSILON = 1e-12  # of the layer normalisations
_FLOAT = 1  # of `TensorProto.DataType`
_LEAST_LENGTH = 1e-12  # torch's bound below a vector's length
_OPSET, _IR_VERSION = 17, 8  # the first with a layer normalisation; what that opset came with


def read_weights(file: Path) -> Weights:
    """Return the float32 tensors of a safetensors file, by name.

    The format: the header's length in 8 bytes, a JSON header, then the bytes of the tensors.
    """
    content = np.memmap(file, np.uint8, "r")
    (length,) = struct.unpack("<Q", content[:8].tobytes())
    header: dict[str, Any] = json.loads(content[8 : 8 + length].tobytes())
    data = content[8 + length :]
    return {
        name: data[slice(*about["data_offsets"])].view("<f4").reshape(about["shape"])
        for name, about in header.items()
        if name != "__metadata__" and about["dtype"] == "F32"
    }


def build(weights: Weights, to: Path) -> None:
    """Write the model in float32: `input_ids` and `attention_mask` to `embedding`."""
    import onnx

    graph = _Graph(weights)
    hidden = _embeddings(graph)
    for layer in range(_LAYERS):
        hidden = _layer(graph, f"encoder.layer.{layer}.", hidden)
    _sentence(graph, hidden)
    kinds = onnx.TensorProto
    pieces = [
        onnx.helper.make_tensor_value_info(name, kinds.INT64, ["batch", "pieces"])
        for name in ("input_ids", "attention_mask")
    ]
    out = onnx.helper.make_tensor_value_info("embedding", kinds.FLOAT, ["batch", WIDTH])
    made = onnx.helper.make_graph(graph.nodes, "minilm", pieces, [out], graph.constants)
    opset = [onnx.helper.make_opsetid("", _OPSET)]
    onnx.save(onnx.helper.make_model(made, opset_imports=opset, ir_version=_IR_VERSION), to)


class _Graph:
    """Nodes and constants of a graph that is being built."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        import onnx

        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(value, dtype)
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(self._weights[name])

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        import onnx

        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def linear(self, name: str, hidden: str) -> str:
        matrix = self.constant(self._weights[f"{name}.weight"].T)
        return self.node("Add", self.weight(f"{name}.bias"), self.node("MatMul", hidden, matrix))

    def normalised(self, name: str, hidden: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", hidden, scale, bias, axis=-1, epsilon=_EPSILON)

    def looked_up(self, table: str, at: str) -> str:
        return self.node("Gather", self.weight(f"embeddings.{table}_embeddings.weight"), at)


def _embeddings(graph: _Graph) -> str:
    """Add pieces, segments (all of the first) and positions: (1, pieces, width)."""
    ints = np.int64
    words = graph.looked_up("word", "input_ids")
    segments = graph.looked_up("token_type", graph.constant([[0]], ints))
    first, axis = graph.constant([0], ints), graph.constant([1], ints)
    length = graph.node("Slice", graph.node("Shape", "input_ids"), axis, graph.constant([2], ints))
    every = graph.constant([range(_POSITIONS)], ints)
    positions = graph.looked_up("position", graph.node("Slice", every, first, length, axis))
    added = graph.node("Add", graph.node("Add", words, segments), positions)
    return graph.normalised("embeddings.LayerNorm", added)


def _layer(graph: _Graph, name: str, hidden: str) -> str:
    """Attend and transform: (1, pieces, width) to the same."""
    mixed = graph.linear(f"{name}attention.output.dense", _attention(graph, name, hidden))
    mixed = graph.normalised(f"{name}attention.output.LayerNorm", graph.node("Add", mixed, hidden))
    inner = _gelu(graph, graph.linear(f"{name}intermediate.dense", mixed))
    outer = graph.linear(f"{name}output.dense", inner)
    return graph.normalised(f"{name}output.LayerNorm", graph.node("Add", outer, mixed))


def _attention(graph: _Graph, name: str, hidden: str) -> str:
    # In a shape, 0 takes the size from what is reshaped.
    apart = graph.constant([0, 0, _HEADS, _HEAD_WIDTH], np.int64)

    def heads(kind: str, *order: int) -> str:
        made = graph.linear(f"{name}attention.self.{kind}", hidden)
        return graph.node("Transpose", graph.node("Reshape", made, apart), perm=order)

    likeness = graph.node("MatMul", heads("query", 0, 2, 1, 3), heads("key", 0, 2, 3, 1))
    scaled = graph.node("Mul", likeness, graph.constant(_HEAD_WIDTH**-0.5))
    mixed = graph.node("MatMul", graph.node("Softmax", scaled, axis=-1), heads("value", 0, 2, 1, 3))
    back = graph.node("Transpose", mixed, perm=(0, 2, 1, 3))
    # -1, so that the runtime knows no length here and fuses no more than in a traced graph.
    return graph.node("Reshape", back, graph.constant([0, -1, WIDTH], np.int64))


def _gelu(graph: _Graph, x: str) -> str:
    erf = graph.node("Erf", graph.node("Div", x, graph.constant(2**0.5)))
    twice = graph.node("Mul", x, graph.node("Add", erf, graph.constant(1)))
    return graph.node("Mul", twice, graph.constant(0.5))


def _sentence(graph: _Graph, hidden: str) -> None:
    """Average over the pieces and normalise, twice, as the traced model does: (1, width)."""
    axis = graph.constant([1], np.int64)
    total = graph.node("ReduceSum", hidden, axis, keepdims=0)
    mask = graph.node("Cast", "attention_mask", to=_FLOAT)
    pieces = graph.node("ReduceSum", mask, axis, keepdims=1)
    vector = graph.node("Div", total, pieces)
    for output in (None, "embedding"):
        length = graph.node("ReduceL2", vector, axes=[-1], keepdims=1)
        least = graph.node("Clip", length, graph.constant(_LEAST_LENGTH))
        vector = graph.node("Div", vector, least, output=output)
