"""A training checkpoint to the deltas that ship: python -m scripts.pairs.pack CHECKPOINT TO."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

from index.pairs import public_weights
from index.pairs_torch import pack


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the deltas of a checkpoint; its `training.json` goes into the file's metadata."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("to", type=Path)
    asked = parser.parse_args(arguments)
    about = (asked.checkpoint.parent / "training.json").read_text()
    pack(load_file(asked.checkpoint), public_weights(), asked.to, about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
