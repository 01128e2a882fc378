"""Answers held against each other: what they say, and how alike two of them are.

Rule: an answer is read once in its life. Its vectors are kept with its entry, so what is learned of
a miss costs embedding the fresh answer and no other.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cacheserver import jsontext
from cacheserver.policy import profile
from cacheserver.policy.compare import Grouped, assign, verdict
from cacheserver.policy.lexicon import Lexicon
from cacheserver.policy.profile import Profile
from cacheserver.types import Entry

Rows = npt.NDArray[np.float32]  # unit vectors: one, or one a row
Embed = Callable[[str], Awaitable[Rows | None]]  # None: beyond the window

# An answer is embedded in parts, one call each: 60 words are some 70 word pieces and hold the
# model for 6 ms, which a question that comes meanwhile waits. Five parts are 300 words, all of most
# answers; of a longer one they stand evenly from its beginning to its end.
_PART_WORDS = 60
_PARTS = 5
READING = f"{_PARTS}x{_PART_WORDS}"  # of what is kept: vectors of two readings are not compared
_FEWEST = 8  # words; a part of fewer that cannot be read is not tried in halves
# Figures and denials are read to here, 5 ms in a thread: of a longer answer both ends.
_READ_WORDS = 1_500
# Two long answers whose beginnings, or whose ends, are less alike than this may say another thing
# there, however alike they are on the whole: rewordings were at 0.76, another ending at 0.61.
_ALIKE = 0.7


class Vectors(Protocol):
    """Vectors of stored answers: a row each, or three: the mean, the first and the last part."""

    async def get(self, entries: Sequence[Entry]) -> Sequence[Rows | None]: ...
    async def put(self, entry: Entry, vectors: Rows) -> bool: ...


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says."""

    profile: Profile
    vectors: Rows  # a row, or three


@dataclass(frozen=True, slots=True)
class Beside:
    """A stored answer beside a fresh one."""

    grouped: Grouped
    parted: bool  # alike on the whole, and not at the beginning or the end


class Answers:
    """Reads and compares answers, off the request path."""

    def __init__(self, embed: Embed, lexicon: Lexicon, vectors: Vectors | None = None) -> None:
        self._embed = embed
        self._lexicon = lexicon
        self._vectors = vectors  # None: every answer is embedded whenever it is compared

    async def read(self, message: bytes) -> Said | None:
        """What a message says; None where the embedder cannot read it."""
        text = text_of(message)
        vectors = await self._embedded(text)
        return None if vectors is None else await self._said(text, vectors)

    async def recall(self, entries: Sequence[Entry]) -> list[Said | None]:
        """What stored answers say. One that was never embedded is, and that is kept.

        Raises `StoreError`.
        """
        known: Sequence[Rows | None] = [None] * len(entries)
        if self._vectors is not None:
            known = await self._vectors.get(entries)
        said: list[Said | None] = []
        for entry, vectors in zip(entries, known, strict=True):
            text = text_of(entry.message)
            found = vectors
            if found is None and (found := await self._embedded(text)) is not None:
                await self._keep(entry, found)
            said.append(None if found is None else await self._said(text, found))
        return said

    async def _keep(self, entry: Entry, vectors: Rows) -> None:
        if self._vectors is not None:
            await self._vectors.put(entry, vectors)

    async def _said(self, text: str, vectors: Rows) -> Said:
        words = text.split()
        if len(words) > _READ_WORDS:
            words = [*words[: _READ_WORDS // 2], *words[-_READ_WORDS // 2 :]]
        read = " ".join(words)
        return Said(await asyncio.to_thread(profile.read, read, self._lexicon), vectors)

    async def _embedded(self, text: str) -> Rows | None:
        """The mean direction of the text's parts, and of several the first and the last one's."""
        parts: list[Rows] = []
        for words in parts_of(text.split()):
            if (part := await self._part(words)) is None:
                return None
            parts.append(part)
        if not parts:
            return None
        mean = _unit(np.sum(parts, axis=0))
        return np.stack([mean] if len(parts) == 1 else [mean, parts[0], parts[-1]])

    async def _part(self, words: Sequence[str]) -> Rows | None:
        """A part's vector. What is too long for the window, as code may be, is read in halves."""
        found = await self._embed(" ".join(words))
        if found is not None or len(words) < _FEWEST:
            return found
        half = len(words) // 2
        one, other = await self._part(words[:half]), await self._part(words[half:])
        return None if one is None or other is None else _unit(one + other)


def beside(fresh: Said, stored: Said, group: str) -> Beside:
    """A stored answer as it stands to a fresh one."""
    cosines = [float(a @ b) for a, b in zip(fresh.vectors, stored.vectors, strict=False)]
    grouped = Grouped(group, cosines[0], stored.profile)
    return Beside(grouped, parted=min(cosines[1:], default=1.0) < _ALIKE)


def group_of(fresh: Said, stored: Sequence[Beside]) -> str | None:
    """The group whose answer says the same throughout; None: a group of its own."""
    return assign(fresh.profile, [one.grouped for one in stored if not one.parted])


def same(fresh: Said, group: Sequence[Beside]) -> bool | None:
    """Whether a fresh answer says what a group's do; None where that is not sure."""
    whole = [one.grouped for one in group if not one.parted]
    told = verdict(fresh.profile, whole or [one.grouped for one in group])
    return None if told and not whole else told


def parts_of(words: Sequence[str]) -> list[Sequence[str]]:
    """The parts of an answer that are embedded: the first begins it, the last ends it."""
    count = min(_PARTS, math.ceil(len(words) / _PART_WORDS))
    if count < 2:
        return [words] if words else []
    size = min(_PART_WORDS, math.ceil(len(words) / count))
    step = (len(words) - size) / (count - 1)
    starts = [round(part * step) for part in range(count)]
    return [words[start : start + size] for start in starts]


def text_of(message: bytes) -> str:
    """What a stored message says."""
    found: Mapping[str, Any] = jsontext.loads(message)
    return "\n".join(b["text"] for b in found.get("content") or () if b.get("type") == "text")


def _unit(vector: Rows) -> Rows:
    unit: Rows = vector / np.linalg.norm(vector)
    return unit
