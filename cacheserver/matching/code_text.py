"""Detects code, formulas and layout, where one sign or one space more makes another text.

An embedder sees little of these, and no indentation. An `identifier`, the name of an operator
("C++", "10%") or a command within a sentence does not count. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Sign:
    """A pattern, and what it cannot match without: a long text is searched only where it pays.

    The pattern reads 10,000 characters in a millisecond, `in` in less than one microsecond.
    """

    needs: tuple[str, ...]  # one of these is in whatever matches
    pattern: re.Pattern[str]

    def is_in(self, text: str) -> bool:
        return any(map(text.__contains__, self.needs)) and self.pattern.search(text) is not None


def _sign(pattern: str, *needs: str) -> _Sign:
    return _Sign(needs, re.compile(pattern, re.MULTILINE))


# One match is enough.
_SURE = (
    _sign(r"```|^~~~", "```", "~~~"),
    _sign(
        r"\\(?:frac|sqrt|sum|int|prod|lim|begin|mathbb|mathrm|left|alpha|beta|theta|pi)\b"  # LaTeX
        r"|\\\(|\\\[",
        "\\",
    ),
    _sign(r"\$\$|\$[^$\n]*[\\^_{][^$\n]*\$", "$"),
    _sign(r"\n[ \t]+\S", "\n ", "\n\t"),  # indentation, of one space too
    _sign(r"[^\n]\t[^\n]*\n[^\n]*\t", "\t"),  # columns
    _sign(r"^[^\n|]*\|[^\n|]*\|[^\n]*\n[^\n|]*\|[^\n]*\|", "|"),  # rows of a table
    _sign(r"\#include\b|</?[a-zA-Z][^<>\n]*>[^\n]*</[a-zA-Z]", "#include", "</"),
    _sign(r"[;{}][ ]*\n[^\n]*[;{}][ ]*$", ";", "{", "}"),  # two lines that end as statements do
    _sign(r"\b(?:def|function)\s+\w+\s*\(", "("),
    _sign(r"\bSELECT\s[^\n]+\sFROM\b", "SELECT"),
    _sign(r"\bselect\s[\w*,.\s()]+\sfrom\s+\w+\s+(?:where|join|order\sby)\b", "select"),
)
_MATHEMATICAL = re.compile("[\u2200-\u22ff\u27c0-\u27ef\u2980-\u2aff]")  # operators
# Two patterns must match.
_SIGNS = (
    # two operators on operands
    _sign(r"[\w)\]]\s*[-+*/^=]\s*[\w(\[]+\s*[+*/^=<>]\s*[\w(\[]", *"+*/^=<>"),
    _sign(r"\w\^\w|\)\^|\w\s*(?:[=!<>]=|[<>])\s*\w", *"^=<>"),
    _sign(r"[;{](?:\s|\Z)", *";{"),
    _sign(r"\b\w+\([^()\n]*[\"'=,\[][^()\n]*\)", "("),  # a call with its arguments
    _sign(
        r"\b(?:def|class|function|fn|func|const|let|var|int|void)\s+\w+\s*[(=:{]",
        *"(=:{",
    ),
    _sign(
        r"\b(?:for|if|while)\s*\([^)]*\)|\b(?:for \w+ in \w+\S*|if \S+|while \S+|else|try):\s",
        *("(", ":"),
    ),
    _sign(
        r"=>|->|::|&&|\|\||\breturn\s+[\w(]+[;}]|\w\+\+[;)]",
        *("=>", "->", "::", "&&", "||", "return", "++"),
    ),
    _sign(r"\{[^{}\n]*[:;][^{}\n]*\}", "{"),
    _sign(r"\w\[[\w:\"'+-]*\]", "["),
    _sign(r"(?:\A|\s)\w+(?:\.\w+)*\s=\s\S", "="),
    _sign(r"\b\w+\.\w+\([^()\n]*\)", "("),
)
# If a question is about spacing, two spaces differ from one. Elsewhere they are a typing habit.
_SPACING = re.compile(
    r"(?i)\b(?:white)?spac(?:es?|ed|ing)\b|\bblanks?\b|\btabs?\b|\bgaps?\b|\bindent|\btrim|\bstrip"
)
_HINTS = tuple("\n\t=<>{}[]()\\^|$;`~:")


def holds_code(text: str) -> bool:
    """Return True if `text` holds code, a formula or layout."""
    if "  " in text and _SPACING.search(text):
        return True
    found = map(text.__contains__, _HINTS)
    if not any(found) and text.isascii() and "SELECT" not in text:
        return False
    if any(sign.is_in(text) for sign in _SURE):
        return True
    if not text.isascii() and _MATHEMATICAL.search(text):
        return True
    return sum(sign.is_in(text) for sign in _SIGNS) >= 2
