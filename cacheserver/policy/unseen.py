"""Characters that no reader sees and an embedder drops, though Unicode counts them as printable.

One definition, for questions (`question_text`), free names (`names`), prompts (`lint`, `fragments`)
and answers (`admission`): two texts that differ in these alone look the same and are not. Pure.
"""

from __future__ import annotations

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
