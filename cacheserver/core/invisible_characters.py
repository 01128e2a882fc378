"""Characters that no reader sees and an embedder drops, though Unicode counts them as printable.

One definition, for questions (`question_text`), free names (`names`), prompts (`lint`, `fragments`)
and answers (`admission`): two texts that differ in these alone look the same and are not. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Unicode's Default_Ignorable_Code_Point outside the categories C*, the blank Braille pattern, and
# the two that stand for what is lost.
UNSEEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc\ufffd"
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn"))
_LAYOUT = "\n\t"


@lru_cache(maxsize=4_096)
def hides(char: str) -> bool:
    """Return True if a tokenizer would drop the character, and it is no mark of a letter."""
    if char < "\x80":
        return (char < " " and char not in _LAYOUT) or char == "\x7f"
    return unicodedata.category(char) in _HIDDEN or char in UNSEEN


def blank(text: str) -> bool:
    """Return True if a reader sees nothing of a text."""
    return all(char.isspace() or hides(char) for char in text)


def found(text: str) -> list[tuple[int, str]]:
    """The characters of a prompt that nobody sees, with their places.

    Left out is what ordinary writing is made of: line ends, joiners and variation selectors after
    a letter or a sign of another script than ASCII (emoji, Persian, Hindi), and those of keycaps.
    """
    if text.isascii() and text.isprintable():
        return []
    return [
        (place, char)
        for place, char in enumerate(text)
        if hides(char) and char != "\r" and not _joins(text, place)
    ]


def _joins(text: str, place: int) -> bool:
    if text[place] not in _JOINERS or place == 0:
        return False
    before = text[place - 1]
    return (before >= "\x80" and not _alone(before)) or text[place + 1 : place + 2] == _KEYCAP


def _alone(char: str) -> bool:
    return hides(char) and char != _EMOJI_FORM


_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")
_EMOJI_FORM, _KEYCAP = "\ufe0f", "\u20e3"


def shown(text: str) -> str:
    """Return a text for a report: each character that nobody sees as `<U+200B>`.

    Spaces that are not the ASCII one are shown so, too: they look like it.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in " \n\t" or not (char.isspace() or hides(char)) else name_of(char)
        for char in text
    )


def line(text: str) -> str:
    """The same for one line: line ends and tabs are shown as well."""
    return shown(text).replace("\n", name_of("\n")).replace("\t", name_of("\t"))


def name_of(char: str) -> str:
    """Return a character's code point, as `<U+200B>`."""
    return f"<U+{ord(char):04X}>"


# Letters of Cyrillic and Greek that are drawn like Latin ones (Unicode's confusables, the pairs
# that most fonts draw alike).
_LIKE_LATIN = (
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u051b\u051d"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0406\u0408\u0405"
    "\u03bf\u03bd\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
)
_WORD = re.compile(r"[^\W\d_]{2,64}")


def look_alikes(text: str) -> list[tuple[int, str]]:
    """Letters drawn like Latin ones in a word that has Latin ones, with their places: one a word.

    A word all of one script is its language's own, and one with letters that are not drawn alike
    deceives nobody.
    """
    if text.isascii():
        return []
    alike = []
    for word in _WORD.finditer(text):
        other = [place for place in range(*word.span()) if text[place] >= "\x80"]
        if 0 < len(other) < len(word[0]) and all(text[place] in _LIKE_LATIN for place in other):
            alike.append((other[0], text[other[0]]))
    return alike
