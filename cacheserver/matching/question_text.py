"""The text that similarity sees: one normalisation, and texts that only an equal text may match.

The exact key is computed from the body as sent; nothing here touches it. For similarity and twins
a text is normalised as follows, and in no other way:

- full-width and half-width forms become the ordinary ones;
- Unicode NFC;
- decimal digits of every script become 0 to 9;
- line ends (CR LF, CR, NEL, line and paragraph separators) become LF, and spaces of every width
  become the ASCII space; the ends of the text are stripped.

A tokenizer drops more than that, and what it drops leaves the vector as it was: zero-width and
bidirectional controls, tags, variation selectors, private use, unassigned code points. A text that
holds any of these is `unreadable`: what it says to Claude is not what the embedder sees. Accents
and other combining marks are dropped by uncased tokenizers too, but belong to ordinary words:
they stay, and twins and vetoes compare them. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from cacheserver.core.invisible_characters import hides
from cacheserver.matching.canonical.forms import without_shells
from cacheserver.matching.code_text import holds_code

_LINE_ENDS = re.compile("\r\n|[\r\u0085\u2028\u2029]")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

# An embedder reads 512 word pieces, of 4 letters on average and never of more than 64: what is
# longer has no vector, and reading it to the end would take seconds (3.4 s for 1 MB of brackets).
MOST_CHARS = 512 * 64


def normalise(text: str) -> str | None:
    """Return the normalised text, or None where it is unreadable. Idempotent."""
    if "\r" in text:
        text = _LINE_ENDS.sub("\n", text)
    if text.isascii():
        return None if _CONTROL.search(text) else text.strip()
    text = _SPACES.sub(" ", _LINE_ENDS.sub("\n", text))
    folded = "".join(map(_folded, text))
    text = unicodedata.normalize("NFC", folded)
    return None if any(map(hides, text)) else text.strip()


def readings(text: str) -> tuple[str, ...]:
    """Return what a text may say, each once: as sent, and normalised without what is not seen.

    An unseen character may stand within a word or between two.
    """
    if text.isascii() and not _CONTROL.search(text):
        return (text,)
    normal = _SPACES.sub(" ", _LINE_ENDS.sub("\n", text))
    normal = unicodedata.normalize("NFC", "".join(map(_folded, normal)))
    apart = ["".join(sign if hides(char) else char for char in normal) for sign in ("", " ")]
    return tuple(dict.fromkeys((text, *apart)))


def matched_text(text: str, *, code: bool = False) -> tuple[str | None, str | None]:
    """Return the text that may be matched by similarity, else why only exactly: one is None.

    It is normalised, and without the greetings and thanks around an English question. `code`: the
    operator lets code, formulas and layout be matched by similarity too.
    """
    if len(text) > MOST_CHARS:
        return None, "window"
    normal = normalise(text)
    if normal is None or not normal:
        return None, "unreadable"
    if not code and holds_code(normal):
        return None, "code"
    return without_shells(normal), None


def is_normal(text: str | None) -> bool:
    """Return True if similarity may match a stored question: an older version kept all."""
    return text is not None and normalise(text) == text


@lru_cache(maxsize=4_096)
def _folded(char: str) -> str:
    """A character without its width, a digit as ASCII."""
    if char < "\x80":
        return char
    decomposition = unicodedata.decomposition(char)
    if decomposition.startswith(("<wide>", "<narrow>")):
        char = chr(int(decomposition.split()[1], 16))
    digit = unicodedata.decimal(char, None)
    return char if digit is None else str(digit)
