"""Detects the language of a question as far as word rules need it.

Another script is read off the letters. Among languages in Latin letters, function words decide,
as in Grefenstette, "Comparing two language identification schemes" (JADT 1995); what English and
others share says nothing. A short text without any is `LATIN`: it may be of any of them. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from cacheserver.core import data_files

LATIN = "Latn"  # in Latin letters, language unknown
ENGLISH = "Latn-en"
OTHER_LATIN = "Latn-other"  # in Latin letters and not English
SIGNS = ""  # no letters

# Scripts that write no spaces between words.
UNSPACED = frozenset(("Hani", "Jpan", "Thai", "Laoo", "Khmr", "Mymr"))
_SCRIPTS: Mapping[str, str] = MappingProxyType(
    {
        "LATIN": "Latn",
        "CYRILLIC": "Cyrl",
        "GREEK": "Grek",
        "ARABIC": "Arab",
        "HEBREW": "Hebr",
        "DEVANAGARI": "Deva",
        "BENGALI": "Beng",
        "TAMIL": "Taml",
        "TELUGU": "Telu",
        "GUJARATI": "Gujr",
        "GURMUKHI": "Guru",
        "KANNADA": "Knda",
        "MALAYALAM": "Mlym",
        "THAI": "Thai",
        "LAO": "Laoo",
        "KHMER": "Khmr",
        "MYANMAR": "Mymr",
        "HANGUL": "Hang",
        "HIRAGANA": "Jpan",
        "KATAKANA": "Jpan",
        "CJK": "Hani",
        "ARMENIAN": "Armn",
        "GEORGIAN": "Geor",
        "ETHIOPIC": "Ethi",
    }
)
# Letters that one language of a script has and the commonest does not.
_LETTERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "Cyrl-uk": frozenset("\u0456\u0457\u0454\u0491"),
        "Cyrl-sr": frozenset("\u0452\u0458\u0459\u045a\u045b\u045f"),
        "Arab-fa": frozenset("\u06a9\u06cc\u0679\u0688\u0691\u06d2"),
    }
)
# Another script's share of the letters from which a text is in that script: product names and
# units stay in Latin letters everywhere.
_SHARE = 0.3
_WORD = re.compile(r"[^\W\d_]+")
_FOREIGN_SIGNS = frozenset("\u00bf\u00a1\u00ab\u00bb\u201e")


# Function words by language, and those of them that English or another language has too.
_LISTS = data_files.table("cacheserver.languages", "function_words.json")
_SHARED = frozenset(_LISTS["shared"].split())
_FUNCTION: Mapping[str, frozenset[str]] = MappingProxyType(
    {label: frozenset(words.split()) for label, words in _LISTS["own"].items()}
)
_OWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        word: tuple(name for name, words in _FUNCTION.items() if word in words)
        for words in _FUNCTION.values()
        for word in words
    }
)


def detect(text: str, *, english: bool) -> str:
    """Return the label of a normalised text: a script (ISO 15924), for Latin with a language.

    `english`: its function words are known to be English.
    """
    if english:
        return ENGLISH
    if text.isascii():
        return _latin(text) if any(map(str.isalpha, text)) else SIGNS
    scripts = Counter(found for char in text if (found := _script(char)))
    if not scripts:
        return SIGNS
    if scripts["Jpan"]:
        scripts["Jpan"] += scripts.pop("Hani", 0)
    latin = scripts.pop("Latn", 0)
    if scripts:
        (script, count), *_ = scripts.most_common(1)
        if count >= _SHARE * (count + latin):
            return _by_letters(script, text.lower())
    return _latin(text)


def comparable(one: str, other: str) -> bool:
    """Return True unless two labels say that the texts are in different languages."""
    if one == other or SIGNS in (one, other):
        return True
    if not (one.startswith(LATIN) and other.startswith(LATIN)):
        return False
    return LATIN in (one, other) or (OTHER_LATIN in (one, other) and ENGLISH not in (one, other))


def reads_english(label: str) -> bool:
    """Return True if the rules of English may read a text with this label."""
    return label in (ENGLISH, LATIN, SIGNS)


def _by_letters(script: str, lowered: str) -> str:
    for label, letters in _LETTERS.items():
        if label.startswith(script) and not letters.isdisjoint(lowered):
            return label
    return script


def _latin(text: str) -> str:
    """Return the label of a text in Latin letters that is not known to be English."""
    words = _WORD.findall(text.lower())
    votes = Counter[str]()
    own = 0  # words that no English text has
    for word in words:
        names = () if len(word) == 1 else _OWN.get(word, ())
        votes.update(names)
        own += bool(names) and word not in _SHARED
    marked = sum(not word.isascii() for word in words) + (not _FOREIGN_SIGNS.isdisjoint(text))
    if not own and marked < 2:
        return LATIN
    if own + marked < 2 and len(words) > 4:
        return LATIN  # one borrowed word in a longer text
    ranked = votes.most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return OTHER_LATIN
    return ranked[0][0]


@lru_cache(maxsize=8_192)
def _script(char: str) -> str:
    if not char.isalpha() and unicodedata.category(char) != "Mc":
        return ""
    name = unicodedata.name(char, "").partition(" ")[0].partition("-")[0]
    return _SCRIPTS.get(name, "Zyyy")
