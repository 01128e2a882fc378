"""all-MiniLM-L6-v2 by way of torch: its export, and the vectors that sentence-transformers makes.

`python -m tests.index.traced_minilm DIR`; a process of its own, for it needs torch. `DIR` must hold
a manifest and a tokeniser of the model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(to: Path) -> None:
    import numpy as np

    from cacheserver.index import minilm_model, onnx_graph, onnx_simplify
    from cacheserver.index.models import MANIFEST, MODEL, file_hash
    from cacheserver.index.traced_model import TracedOriginal

    original = TracedOriginal(minilm_model.find())
    np.save(to / "probes.npy", original.vectors(onnx_graph.PROBES))
    scratch = to / "scratch"
    scratch.mkdir()
    next(original.graphs(scratch / MODEL))
    onnx_graph.quantise(scratch / MODEL, to / MODEL)
    probes = onnx_simplify.probes(original.vocabulary, original.window)
    onnx_simplify.simplify(to / MODEL, scratch, probes)
    about = json.loads((to / MANIFEST).read_text())
    about["files"][MODEL] = file_hash(to / MODEL)
    (to / MANIFEST).write_text(json.dumps(about))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
