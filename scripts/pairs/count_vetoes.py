"""`scripts/count_vetoes --data DIR`: count what each veto stops and what it costs.

Prints the table of `docs/vetoes.md`: for each veto the share of near misses that it rules out and
the share of paraphrases, then all together. Near misses: QQP's hard slice, Kmemo and CheckList with
label 0, and our own (`scripts/pairs/twin_pairs.tsv`). Paraphrases: QQP's hard slice, Kmemo and
AskUbuntu with label 1, and pairs of BANKING77 with one intent and a cosine of at least 0.85. Train
rows; pairs that are matched exactly only are left out.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cacheserver.english import vetoes_wording
from cacheserver.english.language import english
from cacheserver.index.models import OnnxEmbedder
from cacheserver.matching.language import ALL_VETOES, VETO_NAMES, vetoes_between
from cacheserver.matching.question_text import matched_text
from scripts.pairs.own import own_pairs, rows

_NEAR, _PAIRS = 0.85, 5_000  # of BANKING77, drawn with seed 1
_HARD = 0.6  # QQP's slice: Jaccard of the character 4-grams


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/count_vetoes", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--embedder", type=Path, default=Path("var/model"))
    args = parser.parse_args()

    columns = {
        "QQP-hard 0": labelled(args.data / "qqp/train.tsv", "0", hard=True),
        "Kmemo 0": labelled(args.data / "kmemo/tuned.tsv", "0"),
        "CheckList 0": labelled(args.data / "checklist/mft_train.tsv", "0"),
        "own near misses": ((a, b) for a, b, expected, _ in own_pairs() if expected == "miss"),
        "QQP-hard 1": labelled(args.data / "qqp/train.tsv", "1", hard=True),
        "Kmemo 1": labelled(args.data / "kmemo/tuned.tsv", "1"),
        "AskUbuntu 1": labelled(args.data / "askubuntu/train.tsv", "1"),
        "BANKING77 near": banking(args.data, args.embedder),
    }
    counted = {name: count(pairs) for name, pairs in columns.items()}
    print(
        "| veto | "
        + " | ".join(f"{name} ({total:,})" for name, (_, total) in counted.items())
        + " |"
    )
    print("|---" * (len(counted) + 1) + "|")
    for veto in (*VETO_NAMES, "any", "any of the wording"):
        shares = (f"{share[veto]:.1f}" for share, _ in counted.values())
        print(f"| {veto} | " + " | ".join(shares) + " |")


def labelled(path: Path, label: str, *, hard: bool = False) -> Iterator[tuple[str, str]]:
    for row in rows(path):
        if row["label"] == label and not (hard and float(row["char4_jaccard"]) < _HARD):
            yield row["query_a"], row["query_b"]


def banking(data: Path, embedder: Path) -> Iterator[tuple[str, str]]:
    found = [(r["query"], r["intent"]) for r in rows(data / "banking77/train.tsv")]
    vectors = OnnxEmbedder(embedder).embed([text for text, _ in found])
    ones, others = np.nonzero(np.triu(vectors @ vectors.T >= _NEAR, 1))
    near = [(i, j) for i, j in zip(ones, others, strict=True) if found[i][1] == found[j][1]]
    for i, j in random.Random(1).sample(near, _PAIRS):
        yield found[i][0], found[j][0]


def count(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, float], int]:
    """Return the per cent of pairs in which each veto fires, and the number of pairs."""
    language = english()
    fired, total = Counter[str](), 0
    for pair in pairs:
        one, other = (matched_text(text, language)[0] for text in pair)
        if one is None or other is None:
            continue
        names = vetoes_between(language.profile(one), language.profile(other), ALL_VETOES, language)
        total += 1
        fired.update(names)
        fired["any"] += bool(names)
        fired["any of the wording"] += bool(names) and set(names) <= set(vetoes_wording.WORDING)
    return {
        name: 100 * fired[name] / total for name in (*VETO_NAMES, "any", "any of the wording")
    }, total


if __name__ == "__main__":
    main()
