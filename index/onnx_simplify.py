"""Simplifies an exported graph for one text a run: the same vectors, to the bit, in less time.

A traced graph computes at each run what one text does not need: shapes that are known, a mask that
hides nothing, positions and segments expanded to a batch. What depends on a text's length alone is
computed at two lengths here, and replaced by a constant where it stays the same. Rule: the result
is used only if it gives every probe the bits of the graph before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cacheserver.index.runtime import onnxruntime

Array: TypeAlias = npt.NDArray[Any]

_LENGTHS = (5, 9)  # pieces; what is equal at both does not depend on the length
_LONGEST = 256  # pieces of a probe: a long one takes a tenth of a second
_PIECES, _MASK = "input_ids", "attention_mask"
_NEUTRAL = {"Add": 0, "Mul": 1}
_ZERO_POINT = {"MatMulIntegerToFloat": 5, "DynamicQuantizeMatMul": 3}  # input with the weights'


def simplify(path: Path, scratch: Path, probes: Sequence[Array]) -> None:
    """Simplify the graph in `path` in place; leave it if a probe would get another vector.

    `probes` are the pieces of one text each, of shape (1, length).
    """
    fused, small = scratch / "fused.onnx", scratch / "small.onnx"
    # Fused first: a rewriting could keep the runtime from fusing some, which rounds otherwise.
    _session(path, fused=fused)
    _rewrite(fused, small)
    if _agree(path, small, probes):
        small.replace(path)


def probes(vocabulary: int, window: int) -> list[Array]:
    """Return pieces of texts of any length that the model reads."""
    drawn = np.random.default_rng(0)
    longest = min(window, _LONGEST)
    lengths = sorted({*range(2, min(longest, 16) + 1), *range(16, longest, 16), longest})
    return [drawn.integers(0, vocabulary, (1, length)) for length in lengths]


def _agree(one: Path, other: Path, probes: Sequence[Array]) -> bool:
    before = _session(one)
    try:
        after = _session(other)
        return all(np.array_equal(_run(before, probe), _run(after, probe)) for probe in probes)
    except Exception:  # the runtime's own, about a graph that a rewriting broke
        return False


def _rewrite(source: Path, to: Path) -> None:
    import onnx

    model = onnx.load(source)
    graph = model.graph
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    short, longer = _derived(model, weights)

    def constant(value: Array) -> str:
        name = f"simplified_{len(graph.initializer)}"
        graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        return name

    outputs = {one.name for one in graph.output}
    renamed: dict[str, str] = {}  # outputs of nodes that are left out -> what stands for them
    for node in graph.node:
        node.input[:] = [_followed(renamed, name) for name in node.input]
        derived = [name for name in node.input if name in short]
        others = [name for name in node.input if name not in short]
        kind = node.op_type
        if (at := _ZERO_POINT.get(kind)) is not None:
            if len(node.input) > at and not np.any(weights.get(node.input[at], 1)):
                node.input[at] = ""
        elif not derived or node.output[0] in short or node.output[0] in outputs:
            continue
        elif kind == "Reshape" and (shape := _shape(short, longer, node.input[1])) is not None:
            node.input[1] = constant(shape)
        elif kind == "Expand":
            renamed[node.output[0]] = others[0]  # what uses it broadcasts
        elif kind in _NEUTRAL and (value := _same(short, longer, derived[0])) is not None:
            if np.all(value == _NEUTRAL[kind]):
                renamed[node.output[0]] = others[0]
            else:
                node.input[list(node.input).index(derived[0])] = constant(value)
    _sweep(graph, renamed)
    onnx.save(model, to)


def _derived(model: Any, weights: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return what depends on the length alone, computed at each of `_LENGTHS`, by name."""
    import onnx

    free = {*weights, _MASK}
    names: list[str] = []
    for node in model.graph.node:
        if node.op_type == "Shape" or all(not name or name in free for name in node.input):
            free.update(node.output)
            names += node.output
    told = onnx.ModelProto()
    told.CopyFrom(model)
    told.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = _session(told.SerializeToString())
    short, longer = (
        dict(zip(names, session.run(names, _feed(np.full((1, n), 1, np.int64))), strict=True))
        for n in _LENGTHS
    )
    return short, longer


def _shape(short: Mapping[str, Array], longer: Mapping[str, Array], name: str) -> Array | None:
    """Return a shape for any length; None if more than one of its sizes depends on it."""
    if name not in short:
        return None
    differs = short[name] != longer[name]
    # 0 takes the size from what is reshaped, -1 what is left; there may be one -1.
    left = 0 if np.any(short[name] == -1) else -1
    shape: Array = np.where(differs, left, short[name])
    return shape if int(differs.sum()) <= 1 else None


def _same(short: Mapping[str, Array], longer: Mapping[str, Array], name: str) -> Array | None:
    """Return a tensor as it is at any length, to be broadcast; None if it depends on the length."""
    one, other = short[name], longer[name]
    for axis, sizes in enumerate(zip(one.shape, other.shape, strict=True)):
        if sizes == _LENGTHS:
            first = one.take([0], axis)
            if not (np.all(one == first) and np.all(other == other.take([0], axis))):
                return None
            one, other = first, other.take([0], axis)
    return one if np.array_equal(one, other) else None


def _followed(renamed: Mapping[str, str], name: str) -> str:
    while name in renamed:
        name = renamed[name]
    return name


def _sweep(graph: Any, renamed: Mapping[str, str]) -> None:
    """Remove the nodes and weights that nothing uses any more."""
    gone = set(renamed)
    nodes = [node for node in graph.node if not gone.intersection(node.output)]
    used = {one.name for one in graph.output}
    kept = []
    for node in reversed(nodes):  # in the order they run, so each comes after its uses here
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    weights = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _session(model: Path | bytes, *, fused: Path | None = None) -> Any:
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if fused is not None:
        extended = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED  # the same on any CPU
        options.graph_optimization_level = extended
        options.optimized_model_filepath = str(fused)
    source = model if isinstance(model, bytes) else str(model)
    return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _feed(pieces: Array) -> dict[str, Array]:
    return {_PIECES: pieces, _MASK: np.ones_like(pieces)}


def _run(session: Any, pieces: Array) -> Array:
    vector: Array = session.run(None, _feed(pieces))[0]
    return vector
