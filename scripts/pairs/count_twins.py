"""`scripts/count_twins --data DIR`: count twins with different labels.

A twin is another frame of the same question (`Language.are_twins`; here without words typed
wrongly). Prints how many pairs of BANKING77's and CLINC150's train rows are twins, how many of
these have two intents, with Wilson's interval, and those pairs, to be read; once for a cosine of at
least `decision.TWIN_COSINE` and once for any.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from itertools import combinations
from pathlib import Path

from cacheserver.index.models import OnnxEmbedder
from cacheserver.languages.rules import languages
from cacheserver.matching import decision
from cacheserver.matching.conformal_bound import wilson
from cacheserver.matching.question_text import matched_text


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/count_twins", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--embedder", type=Path, default=Path("var/model"))
    args = parser.parse_args()
    language, embedder = languages(), OnnxEmbedder(args.embedder)
    found: list[tuple[tuple[str, str], tuple[str, str]]] = []
    for name in ("banking77", "clinc150"):
        with (args.data / name / "train.tsv").open() as lines:
            rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
        intents: dict[str, tuple[str, str]] = {}
        for row in rows:
            if (text := matched_text(row["query"], language)[0]) is not None:
                intents.setdefault(text.lower(), (row["intent"], text))
        alike = defaultdict(list)
        for intent, text in intents.values():
            read = language.profile(text)
            alike[read.form, read.spans].append((text, intent))
        found += [pair for group in alike.values() for pair in combinations(group, 2)]
    vectors = {t: embedder.embed([t])[0] for t in {text for pair in found for text, _ in pair}}
    for least in (decision.TWIN_COSINE, -1.0):
        near = [p for p in found if float(vectors[p[0][0]] @ vectors[p[1][0]]) >= least]
        apart = [pair for pair in near if pair[0][1] != pair[1][1]]
        low, high = wilson(len(apart), len(near))
        print(f"cosine {least}: {len(apart)} of {len(near)} have two intents", end=": ")
        print(f"[{low:.5f}, {high:.5f}]")
        for (one, _), (other, _) in apart:
            print(f"    {one} | {other}")


if __name__ == "__main__":
    main()
