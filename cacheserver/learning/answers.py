"""Answers held against each other: their text, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cacheserver import jsontext
from cacheserver.policy import profile
from cacheserver.policy.compare import Grouped, assign, verdict
from cacheserver.policy.lexicon import Lexicon
from cacheserver.policy.profile import Profile

Embed = Callable[[str], Awaitable[Any | None]]  # a unit vector; None: beyond the window

# An answer is compared by its beginning: 60 words are some 80 word pieces, 7 ms of a core; what
# figures and denials it holds is read further.
_PIECE_WORDS = 60
_PIECES = 2
_READ_WORDS = 300


class Answers:
    """Compares answers, off the request path."""

    def __init__(self, embed: Embed, lexicon: Lexicon) -> None:
        self._embed = embed
        self._lexicon = lexicon

    async def same(self, one: bytes, other: bytes) -> bool | None:
        """Whether two stored messages say the same; None where that is not sure."""
        a, b = text_of(one), text_of(other)
        one_vector, other_vector = await self._vector(a), await self._vector(b)
        if one_vector is None or other_vector is None:
            return None
        cosine = float(one_vector @ other_vector)
        theirs = Grouped("", cosine, self._profile(b))
        return verdict(self._profile(a), [theirs])

    async def group(self, message: bytes, others: Sequence[tuple[str, bytes]]) -> str | None:
        """The group, of those given with their messages, whose answer says the same."""
        text = text_of(message)
        vector = await self._vector(text)
        if vector is None:
            return None
        found = []
        for group, other in others:
            theirs = text_of(other)
            if (near := await self._vector(theirs)) is not None:
                found.append(Grouped(group, float(vector @ near), self._profile(theirs)))
        return assign(self._profile(text), found)

    def _profile(self, text: str) -> Profile:
        return profile.read(" ".join(text.split()[:_READ_WORDS]), self._lexicon)

    async def _vector(self, text: str) -> Any | None:
        """The mean direction of the text's pieces; None where one of them cannot be read."""
        words = text.split()
        total = None
        for start in range(0, min(len(words), _PIECES * _PIECE_WORDS), _PIECE_WORDS):
            piece = await self._embed(" ".join(words[start : start + _PIECE_WORDS]))
            if piece is None:
                return None
            total = piece if total is None else total + piece
        if total is None:
            return None
        return total / float(total @ total) ** 0.5


def text_of(message: bytes) -> str:
    """What a stored message says."""
    found: Mapping[str, Any] = jsontext.loads(message)
    return "\n".join(b["text"] for b in found.get("content") or () if b.get("type") == "text")
