"""Characters that no reader sees and an embedder drops, though Unicode counts them as printable.

One definition, for questions (`question_text`) and for free names (`names`): two texts
that differ in these alone look the same and are not. Pure.
"""

from __future__ import annotations

# Unicode's Default_Ignorable_Code_Point outside the categories C*, the blank Braille pattern, and
# the two that stand for what is lost.
UNSEEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc\ufffd"
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
