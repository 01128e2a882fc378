"""Graph of an exported model for several texts of one length a run.

Activations of 8 bits are scaled over all that a run has. Here each text has a scale of its own, so
its vector does not depend on its company: it is the one of the model that takes one text a run, but
for the last bit of its float32 numbers. A text takes a third of the time, for the weights are read
once a run.

Rule: a graph that is not understood whole is not written; its texts go one by one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

# Least scale: of activations that are all zero, which have none.
_LEAST_SCALE = 1e-30
_LEVELS = 255  # steps of 8 bits
_ONE = 1  # text a run, in shapes of the model
_EACH = 0  # in a shape: the size of what is reshaped


class NotUnderstood(Exception):
    """The graph has a step that scales activations in a way that is not known here."""


def write(model: Path, to: Path) -> None:
    """Write the batched graph of a model. Raises `NotUnderstood`."""
    import onnx

    found = onnx.load(model)
    _Rewrite(found.graph).run()
    onnx.save(found, to)


class _Rewrite:
    """Replaces steps with 8-bit activations by ones with a scale for each text."""

    def __init__(self, graph: Any) -> None:
        import onnx

        self._onnx = onnx
        self._graph = graph
        self._values = {one.name: one for one in graph.initializer}
        self._nodes: list[Any] = []
        self._quantised: dict[str, tuple[str, str, str]] = {}  # by the name of the 8-bit output
        self._sums: dict[str, str] = {}  # columns of weights, added up

    def run(self) -> None:
        self._zero = self._constant("zero", np.float32(0))
        self._levels = self._constant("levels", np.float32(_LEVELS))
        self._least = self._constant("least", np.float32(_LEAST_SCALE))
        self._flat = self._constant("flat", np.array([-1], np.int64))
        for node in self._graph.node:
            match node.op_type:
                case "DynamicQuantizeLinear":
                    self._quantised[node.output[0]] = self._quantise(node.input[0])
                case "DynamicQuantizeMatMul":
                    hidden, weights, scale, *rest = node.input
                    self._product(self._quantise(hidden), weights, scale, rest, node.output[0])
                case "MatMulIntegerToFloat":
                    hidden, weights, _, scale, _, *rest = node.input
                    if hidden not in self._quantised:
                        raise NotUnderstood(node.name)
                    parts = self._quantised[hidden]
                    self._product(parts, weights, scale, rest, node.output[0])
                case "MatMulInteger" | "ConvInteger" | "QAttention" | "QGemm":
                    raise NotUnderstood(node.op_type)
                case "Reshape":
                    self._free(node.input[1])
                    self._nodes.append(node)
                case _:
                    self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _quantise(self, hidden: str) -> tuple[str, str, str]:
        """Return 8-bit activations, and each text's scale and zero, as (texts, 1, 1)."""
        low, high = (
            self._node(
                kind, self._node(f"Reduce{kind}", hidden, axes=[1, 2], keepdims=1), self._zero
            )
            for kind in ("Min", "Max")
        )
        step = self._node("Div", self._node("Sub", high, low), self._levels)
        scale = self._node("Max", step, self._least)
        zero = self._node("Round", self._node("Div", self._node("Neg", low), scale))
        kinds = self._onnx.TensorProto
        zeros = self._node("Reshape", self._node("Cast", zero, to=kinds.UINT8), self._flat)
        scales = self._node("Reshape", scale, self._flat)
        small = self._node("QuantizeLinear", hidden, scales, zeros, axis=0)
        return small, scale, self._node("Cast", zero, to=kinds.INT32)

    def _product(
        self, parts: tuple[str, str, str], weights: str, scale: str, rest: list[str], output: str
    ) -> None:
        """Multiply with weights whose zero is 0, in whole numbers, then scale and add the bias."""
        zero_of_weights, bias = rest if len(rest) == 2 else ("?", "")
        if zero_of_weights or not bias or weights not in self._values:
            raise NotUnderstood(output)
        hidden, scales, zeros = parts
        if weights not in self._sums:
            matrix = self._onnx.numpy_helper.to_array(self._values[weights])
            total = matrix.sum(axis=0, dtype=np.int32)[None, None, :]
            self._sums[weights] = self._constant(f"sums_{weights}", total)
        product = self._node("MatMulInteger", hidden, weights)
        shift = self._node("Mul", zeros, self._sums[weights])
        exact = self._node("Sub", product, shift)
        number = self._node("Cast", exact, to=self._onnx.TensorProto.FLOAT)
        scaled = self._node("Mul", number, self._node("Mul", scales, scale))
        self._node("Add", scaled, bias, output=output)

    def _free(self, name: str) -> None:
        """Let a shape that was made for one text take several."""
        if (value := self._values.get(name)) is None:
            return
        shape = self._onnx.numpy_helper.to_array(value).copy()
        if shape.ndim == 1 and len(shape) > 1 and shape[0] == _ONE:
            shape[0] = _EACH
            value.CopyFrom(self._onnx.numpy_helper.from_array(shape, name))

    def _constant(self, name: str, value: Any) -> str:
        name = f"batched_{name}"
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"batched_{kind}_{len(self._nodes)}"
        self._nodes.append(
            self._onnx.helper.make_node(kind, inputs, [output], output, **attributes)
        )
        return output
