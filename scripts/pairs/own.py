"""Pairs of questions in tab-separated files."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

LANGUAGES = Path(__file__).with_name("languages")
OWN = Path(__file__).with_name("twin_pairs.tsv")
_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|U[0-9a-f]{8}|x[0-9a-f]{2}|[nrt\\])")


def rows(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)


def own_pairs() -> list[tuple[str, str, str, str]]:
    """Our own pairs: two texts, what is expected ("miss", "twin", "paraphrase"), the class.

    The file spells line ends and what cannot be seen as Python's escapes.
    """
    return [
        (_plain(row["query_a"]), _plain(row["query_b"]), row["expected"], row["class"])
        for row in rows(OWN)
    ]


def language_pairs() -> dict[str, list[tuple[str, str, str, str]]]:
    """Our pairs in other languages by the language's code, as `own_pairs`."""
    return {
        path.stem: [
            (row["query_a"], row["query_b"], row["expected"], row["class"]) for row in rows(path)
        ]
        for path in sorted(LANGUAGES.glob("*.tsv"))
    }


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: match[0].encode("ascii").decode("unicode_escape"), text)
