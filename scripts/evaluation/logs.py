"""A real query log without labels: how much of it each tier would answer, nothing about errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cacheserver.policy import bound, lexicon, vetoes
from cacheserver.policy.calibrate import Calibration
from cacheserver.policy.judge import Verdict, judge
from cacheserver.policy.neighbours import Neighbour
from cacheserver.policy.profile import Profile, read
from scripts.evaluation.stream import TOP
from scripts.evaluation.vectors import Embeddings

_STATIC = 0.95


def replay(queries: Sequence[str], embeddings: Embeddings, target: float) -> Mapping[str, float]:
    """Shares of the requests: exact text, the same but for case and blanks, and beyond these.

    `semantic` is by the shipped prior alone, without a verifier: no label ever comes.
    """
    words, level = lexicon.standard(), bound.bar_for(Calibration(), target).level
    exact, plain = set[str](), set[str]()
    counts = {"exact": 0, "normalised": 0, "semantic": 0, "static 0.95": 0}
    vectors = embeddings.of(queries)
    kept = np.empty_like(vectors)
    texts: list[Profile] = []
    for at, query in enumerate(queries):
        folded = " ".join(query.lower().split())
        if query in exact:
            counts["exact"] += 1
            continue
        exact.add(query)
        if folded in plain:
            counts["normalised"] += 1
            continue
        plain.add(folded)
        profile = read(query, words)
        if texts:
            near = kept[: len(texts)] @ vectors[at]
            rows = np.argsort(-near, kind="stable")[:TOP]
            counts["static 0.95"] += bool(near[rows[0]] >= _STATIC)
            neighbours = [Neighbour(str(r), float(near[r]), str(r), texts[r]) for r in rows]
            step = judge(
                profile,
                neighbours,
                None,
                Calibration(),
                level,
                lexicon=words,
                enabled=frozenset(vetoes.VETOES),
            )
            if isinstance(step, Verdict) and step.serve is not None:
                counts["semantic"] += 1
                continue
        kept[len(texts)] = vectors[at]
        texts.append(profile)
    return {name: count / len(queries) for name, count in counts.items()}
