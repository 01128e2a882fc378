"""Writes `policy/complexity_weights.py`: numbers packed to the width of a page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from cacheserver.policy.complexity import Weights

_HEAD = '''"""Weights of `policy.complexity`. Made by `scripts/train_router`: change that.

What they were fitted on and how well they do is in docs/routing.md.
"""

from __future__ import annotations

from cacheserver.policy.complexity import Weights

# fmt: off
'''


def source(with_vector: Weights, without: Weights) -> str:
    """The whole file. The same weights make the same text."""
    return "\n".join([_HEAD + _one("WITH_VECTOR", with_vector), _one("WITHOUT", without)])


def _one(name: str, weights: Weights) -> str:
    simple, complex = weights.vector
    pairs = [f"{key!r}: {value}" for key, value in sorted(weights.features.items())]
    return "\n".join(
        [
            f"{name} = Weights(",
            f"    bias={weights.bias},",
            f"    temperature={weights.temperature},",
            "    vector=(",
            "        (",
            _packed([f"{x:.2f}" for x in simple], 12),
            "        ),",
            "        (",
            _packed([f"{x:.2f}" for x in complex], 12),
            "        ),",
            "    ),",
            "    features={",
            _packed(pairs, 8),
            "    },",
            ")",
            "",
        ]
    ).replace("(\n\n", "(\n")


def _packed(items: Sequence[str], indent: int) -> str:
    lines: list[str] = []
    line = ""
    for item in items:
        if line and len(line) + len(item) + 2 > 99 - indent:
            lines.append(line.rstrip())
            line = ""
        line += f"{item}, "
    if line:
        lines.append(line.rstrip())
    return textwrap.indent("\n".join(lines), " " * indent)
