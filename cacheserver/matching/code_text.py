"""Detects code, formulas and layout, where one sign or one space more makes another text.

An embedder sees little of these, and no indentation. An `identifier`, the name of an operator
("C++", "10%") or a command within a sentence does not count. Pure.
"""

from __future__ import annotations

import re

# One match is enough.
_SURE = re.compile(
    r"""```|^~~~
    |\\(?:frac|sqrt|sum|int|prod|lim|begin|mathbb|mathrm|left|alpha|beta|theta|pi)\b   # LaTeX
    |\$\$|\$[^$\n]*[\\^_{][^$\n]*\$|\\\(|\\\[
    |\n[ \t]+\S                                           # indentation, of one space too
    |[^\n]\t[^\n]*\n[^\n]*\t                              # columns
    |^[^\n|]*\|[^\n|]*\|[^\n]*\n[^\n|]*\|[^\n]*\|         # rows of a table
    |\#include\b|</?[a-zA-Z][^<>\n]*>[^\n]*</[a-zA-Z]
    |[;{}][ ]*\n[^\n]*[;{}][ ]*$                          # two lines that end as statements do
    |\b(?:def|function)\s+\w+\s*\(|\bSELECT\s[^\n]+\sFROM\b
    |\bselect\s[\w*,.\s()]+\sfrom\s+\w+\s+(?:where|join|order\sby)\b
    |[\u2200-\u22ff\u27c0-\u27ef\u2980-\u2aff]            # mathematical operators
    """,
    re.MULTILINE | re.VERBOSE,
)
# Two patterns must match.
_SIGNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"[\w)\]]\s*[-+*/^=]\s*[\w(\[]+\s*[+*/^=<>]\s*[\w(\[]",  # two operators on operands
        r"\w\^\w|\)\^|\w\s*(?:[=!<>]=|[<>])\s*\w",
        r"[;{](?:\s|$)",
        r"\b\w+\([^()\n]*[\"'=,\[][^()\n]*\)",  # a call with its arguments
        r"\b(?:def|class|function|fn|func|const|let|var|int|void)\s+\w+\s*[(=:{]",
        r"\b(?:for|if|while)\s*\([^)]*\)|\b(?:for \w+ in \w+\S*|if \S+|while \S+|else|try):\s",
        r"=>|->|::|&&|\|\||\breturn\s+[\w(]+[;}]|\w\+\+[;)]",
        r"\{[^{}\n]*[:;][^{}\n]*\}",
        r"\w\[[\w:\"'+-]*\]",
        r"(?:^|\s)\w+(?:\.\w+)*\s=\s\S",
        r"\b\w+\.\w+\([^()\n]*\)",
    )
)
# If a question is about spacing, two spaces differ from one. Elsewhere they are a typing habit.
_SPACING = re.compile(
    r"(?i)\b(?:white)?spac(?:es?|ed|ing)\b|\bblanks?\b|\btabs?\b|\bgaps?\b|\bindent|\btrim|\bstrip"
)
_HINTS = frozenset("\n\t=<>{}[]()\\^|$;`~:")


def holds_code(text: str) -> bool:
    """Return True if `text` holds code, a formula or layout."""
    if "  " in text and _SPACING.search(text):
        return True
    if _HINTS.isdisjoint(text) and text.isascii() and "SELECT" not in text:
        return False
    return bool(_SURE.search(text)) or sum(bool(sign.search(text)) for sign in _SIGNS) >= 2
