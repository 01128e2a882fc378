"""Normalises the text that similarity sees, and finds texts that only an equal text may match.

The exact key is computed from the body as sent, without normalisation. For similarity and twins a
text is normalised as follows, and in no other way:

- full-width and half-width forms become the ordinary ones;
- Unicode NFC;
- decimal digits of every script become 0 to 9;
- line ends (CR LF, CR, NEL, line and paragraph separators) become LF, and spaces of every width
  become the ASCII space; spaces at both ends of the text are removed.

A tokenizer drops further characters, which leave no trace in the vector: zero-width and
bidirectional controls, tags, variation selectors, private use, unassigned code points. A text that
holds any of these is `unreadable`: Claude reads something that the embedder does not see. Accents
and other combining marks are dropped by uncased tokenizers too, but belong to ordinary words:
they stay, and twins and vetoes compare them. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from cacheserver.core.invisible_characters import hides
from cacheserver.matching.code_text import holds_code
from cacheserver.matching.language import Language

_LINE_ENDS = re.compile("\r\n|[\r\u0085\u2028\u2029]")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

# An embedder reads 512 word pieces of at most 64 letters. Longer texts have no vector, and reading
# one to the end would take seconds (3.4 s for 1 MB of brackets).
MOST_CHARS = 512 * 64


def normalise(text: str) -> str | None:
    """Return the normalised text, or None if it is unreadable. Idempotent."""
    if "\r" in text:
        text = _LINE_ENDS.sub("\n", text)
    if text.isascii():
        return None if _CONTROL.search(text) else text.strip()
    text = _SPACES.sub(" ", _LINE_ENDS.sub("\n", text))
    folded = "".join(map(_folded, text))
    text = unicodedata.normalize("NFC", folded)
    return None if any(map(hides, text)) else text.strip()


def readings(text: str) -> tuple[str, ...]:
    """Return the distinct readings of a text: as sent, and normalised without unseen characters.

    An unseen character may be within a word (removed) or between two words (made a space).
    """
    if text.isascii() and not _CONTROL.search(text):
        return (text,)
    normal = _SPACES.sub(" ", _LINE_ENDS.sub("\n", text))
    normal = unicodedata.normalize("NFC", "".join(map(_folded, normal)))
    apart = ["".join(sign if hides(char) else char for char in normal) for sign in ("", " ")]
    return tuple(dict.fromkeys((text, *apart)))


def matched_text(
    text: str, language: Language, *, code: bool = False
) -> tuple[str | None, str | None]:
    """Return (text for similarity, None), or (None, why only an equal text may match).

    The text is normalised, without the greetings and thanks around a question. `code`: the operator
    lets code, formulas and layout be matched by similarity too.
    """
    if len(text) > MOST_CHARS:
        return None, "window"
    normal = normalise(text)
    if normal is None or not normal:
        return None, "unreadable"
    if not code and holds_code(normal):
        return None, "code"
    return language.without_courtesies(normal), None


def is_normal(text: str | None) -> bool:
    """Return True if a stored question is normalised: older versions stored any text."""
    return text is not None and normalise(text) == text


@lru_cache(maxsize=4_096)
def _folded(char: str) -> str:
    """Return the character in its ordinary width, or as an ASCII digit."""
    if char < "\x80":
        return char
    decomposition = unicodedata.decomposition(char)
    if decomposition.startswith(("<wide>", "<narrow>")):
        char = chr(int(decomposition.split()[1], 16))
    digit = unicodedata.decimal(char, None)
    return char if digit is None else str(digit)
