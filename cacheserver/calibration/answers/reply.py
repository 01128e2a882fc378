"""Reply: an answer's profile, whether it says yes or no, and whether it is brief.

Pure. Layout (list markers, emphasis, pictographs) is no content: "1." before a step is no figure.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from cacheserver.matching.language import Language
from cacheserver.matching.profile import Profile

BRIEF = 4  # words; "No, they can't." and "spam" are brief, a sentence of prose is not
_MARKER = re.compile(r"^[ \t]*(?:#{1,6}|[-*+>•]|\d{1,2}[.)])[ \t]+|^[ \t]*`{3,}.*$|\*\*|__", re.M)
_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_WORD = re.compile(rf"[^\W\d_]+(?:['{_APOSTROPHE}][^\W\d_]+)?|\d+(?:[.,:]\d+)*")
# The two pictographs that answer a question by themselves.
_MARKS = {**dict.fromkeys("✅✔☑👍", " yes "), **dict.fromkeys("❌✖✗🚫👎", " no ")}
_YES = frozenset(("yes", "yeah", "yep", "true", "correct", "ja", "oui"))
_NO = frozenset(("no", "nope", "not", "never", "false", "incorrect", "nein"))
# May precede the deciding word, as words in "ly" may: "Usually not", "In general yes".
_HEDGES = frozenset(("in", "general", "short", "most", "cases", "often", "better", "well"))
_NO_STANCE = frozenset(("problem", "problems", "worries", "need", "doubt", "matter", "one"))


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    profile: Profile
    yes: bool | None  # the answer it begins with; None: it begins with neither yes nor no
    words: tuple[str, ...] | None  # all of a brief one, case folded; None: not brief

    @property
    def brief(self) -> bool:
        return self.words is not None


def read(text: str, language: Language) -> Reply:
    """Read a reply from a text returned by `plain`."""
    found = _WORD.findall(text)
    words = tuple(w.casefold() for w in found) if len(found) <= BRIEF else None
    return Reply(language.profile(text), _yes(found), words)


def plain(text: str) -> str:
    """Return `text` without layout and without signs that embedders do not know."""
    text = _MARKER.sub("", text)
    return "".join([c if c.isascii() else _shown(c) for c in text])


def _shown(sign: str) -> str:
    if sign in _MARKS:
        return _MARKS[sign]
    selector = "\N{VARIATION SELECTOR-1}" <= sign <= "\N{VARIATION SELECTOR-16}"
    return " " if selector or unicodedata.category(sign) in ("So", "Cf") else sign


def _yes(words: list[str]) -> bool | None:
    """Return True or False if the first word after hedges is yes or no, otherwise None."""
    for at, raw in enumerate(words[:3]):
        word = raw.lower()
        if word in _YES:
            return True
        if word in _NO:  # "No problem, open the menu" is no denial
            after = words[at + 1].lower() if at + 1 < len(words) else ""
            return None if after in _NO_STANCE else False
        if word not in _HEDGES and not word.endswith("ly"):
            return None
    return None
