"""Literals of a text that need no word list: numbers, times of day, and verbatim spans. Pure."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(\d+(?:[.,:]\d+)*)([a-zA-Z°]*)")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_SPAN = re.compile(
    r"`([^`]+)`|\"([^\"]{2,})\"|“([^”]{2,})”|(?<![\w'])'([^']{2,})'(?!\w)"
    r"|(\b\w+\(\)|\b[a-zA-Z]\w*_\w+\b|(?<=\s)--?[a-zA-Z][\w-]*|(?<![\w/])/[\w.-]+(?:/[\w.-]+)*"
    r"|\b[\w-]+\.(?:py|js|ts|txt|csv|json|xml|html|css|sh|conf|cfg|ini|log|md|exe|deb|jar|yml|yaml"
    r"|pdf|zip|gz|so|dll|sql|java|cpp|h)\b|[=<>!&|*~^]{2,})"
)
# In every text with a span and in few others: tested first, it saves most texts `_SPAN`.
_SPAN_HINT = re.compile(r"[`\"“_(/=<>!&|*~^]|\.\w|'[^']*'|\s-")


def spans(text: str) -> frozenset[str]:
    """Return quoted text, code, flags, paths, file names and operators."""
    if _SPAN_HINT.search(text) is None:
        return frozenset()
    return frozenset(
        ticked or code or next(q for q in quoted if q).lower().strip()
        for ticked, *quoted, code in _SPAN.findall(text)
    )


def split_number(word: str) -> tuple[str, str]:
    """Split a number from its unit: "1,500mg" -> ("1500", "mg")."""
    match = _NUMBER.match(word)
    if match is None:  # digits of another script: a number as it stands
        return word, ""
    value = match[1]
    return value.replace(",", "") if _THOUSANDS.fullmatch(value) else value, match[2]


def time_of_day(value: str, half: str) -> str:
    """Convert ("3", "pm") to "15:00"; a value that is no hour stays as it is."""
    hour, _, minute = value.partition(":")
    if not hour.isascii() or not hour.isdigit() or not 1 <= int(hour) <= 12:
        return f"{value}{half}"
    return f"{int(hour) % 12 + (12 if half == 'pm' else 0):02}:{minute or '00'}"
