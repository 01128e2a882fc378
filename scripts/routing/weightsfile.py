"""The text of `routing/data/complexity_weights.json`, a feature a line."""

from __future__ import annotations

import json

from cacheserver.routing.complexity import Weights


def source(with_vector: Weights, without: Weights) -> str:
    """The whole file. The same weights make the same text."""
    return f'{{"with_vector": {_one(with_vector)},\n"without": {_one(without)}}}\n'


def _one(weights: Weights) -> str:
    simple, complex = ([round(x, 2) for x in row] for row in weights.vector)
    features = ",\n".join(
        f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(both)}"
        for name, both in sorted(weights.features.items())
    )
    return (
        f'{{\n "bias": {json.dumps(weights.bias)},\n "temperature": {weights.temperature},\n'
        f' "vector": [\n  {json.dumps(simple)},\n  {json.dumps(complex)}\n ],\n'
        f' "features": {{\n{features}\n }}\n}}'
    )
