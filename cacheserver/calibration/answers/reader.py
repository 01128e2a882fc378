"""Reads exchanges and compares their answers.

Rule: an answer is embedded once. Its vectors are stored with its entry, so learning from a miss
costs embedding the fresh answer and its question only.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cacheserver.calibration.answers import comparison, reply
from cacheserver.calibration.answers.comparison import Cosines, Exchange, Grouped, Outcome
from cacheserver.core import json_text
from cacheserver.core.types import Entry
from cacheserver.index.errors import IndexingError
from cacheserver.matching.language import Language
from cacheserver.matching.prior import MINILM, Prior

Rows = npt.NDArray[np.float32]  # unit vectors: one, or one a row
# None: the embedder cannot read the text. Raises `IndexingError` where it fails.
Embed = Callable[[str], Awaitable[Rows | None]]

# An answer is embedded in parts, one call each: 60 words are some 70 word pieces and hold the
# model for 6 ms, which a question that comes meanwhile waits. Five parts are 300 words, all of most
# answers; of a longer one they stand evenly from its beginning to its end.
_PART_WORDS = 60
_PARTS = 5
# Version of stored vectors: those of two versions are not compared.
READING = f"question+{_PARTS}x{_PART_WORDS}"
_FEWEST = 8  # words; a part of fewer that cannot be read is not tried in halves
# Figures and denials are read to here, 5 ms in a thread: of a longer answer both ends.
_READ_WORDS = 1_500
# Long answers whose beginnings, or whose ends, are less alike than the whole by more than this may
# say another thing there: of rewordings they were less by up to 0.14, of another ending by 0.3.
_PARTED = 0.2


class Vectors(Protocol):
    """Vectors of stored exchanges, a row each: question, answer, and the ends of a long answer."""

    async def get(self, entries: Sequence[Entry]) -> Sequence[Rows | None]: ...
    async def put(self, entry: Entry, vectors: Rows) -> bool: ...


@dataclass(frozen=True, slots=True)
class ReadExchange:
    """Question and answer with their vectors."""

    exchange: Exchange
    vectors: Rows  # as `Vectors` keeps them
    prior: Prior = MINILM  # of the embedder that made them


class AnswerReader:
    """Reads and compares answers, off the request path."""

    def __init__(
        self,
        embed: Embed,
        language: Language,
        vectors: Vectors | None = None,
        prior: Prior = MINILM,
    ) -> None:
        self._embed = embed
        self._language = language
        self._prior = prior
        self._vectors = vectors  # None: every answer is embedded whenever it is compared

    async def read(self, question: str, message: bytes) -> ReadExchange | None:
        """Read the question and a message; None if the embedder cannot."""
        text = reply.plain(text_of(message))
        vectors = await self._embedded(question, text)
        return None if vectors is None else await self._read_exchange(question, text, vectors)

    async def recall(self, entries: Sequence[Entry]) -> list[ReadExchange | None]:
        """Read stored exchanges. Those without vectors are embedded, and these stored.

        Raises `StoreError`.
        """
        stored: Sequence[Rows | None] = [None] * len(entries)
        if self._vectors is not None:
            stored = await self._vectors.get(entries)
        exchanges: list[ReadExchange | None] = []
        for entry, vectors in zip(entries, stored, strict=True):
            question, text = entry.text or "", reply.plain(text_of(entry.message))
            found = vectors
            if found is None and (found := await self._embedded(question, text)) is not None:
                await self._keep(entry, found)
            exchanges.append(
                None if found is None else await self._read_exchange(question, text, found)
            )
        return exchanges

    def outcome(self, fresh: ReadExchange, group: Sequence[Grouped]) -> Outcome:
        """Compare a fresh answer with a group's available ones."""
        return comparison.verdict(fresh.exchange, group, self._language)

    def group_of(self, fresh: ReadExchange, stored: Sequence[Grouped]) -> str | None:
        """Return the group whose answer says the same throughout; None: a new group."""
        return comparison.assign(fresh.exchange, stored, self._language)

    async def _keep(self, entry: Entry, vectors: Rows) -> None:
        if self._vectors is not None:
            await self._vectors.put(entry, vectors)

    async def _read_exchange(self, question: str, text: str, vectors: Rows) -> ReadExchange:
        words = text.split(" ")
        if len(words) > _READ_WORDS:
            words = [*words[: _READ_WORDS // 2], *words[-_READ_WORDS // 2 :]]
        read = " ".join(words)

        def work() -> Exchange:
            question_profile = self._language.profile(question)
            return Exchange(question_profile, reply.read(read, self._language))

        return ReadExchange(await asyncio.to_thread(work), vectors, self._prior)

    async def _embedded(self, question: str, text: str) -> Rows | None:
        """Return the rows of an exchange; None if the answer cannot be read or the embedder fails.

        What a failure leaves out would be stored as if it could not be read.
        """
        try:
            return await self._rows(question, text)
        except IndexingError:
            return None

    async def _rows(self, question: str, text: str) -> Rows | None:
        """Return rows as `Vectors` stores them; an answer's is the mean direction of its parts.

        A question that is absent or cannot be read is a row of zeros.
        """
        parts: list[Rows] = []
        for words in parts_of(text.split()):
            if (part := await self._part(words)) is None:
                return None
            parts.append(part)
        if not parts:
            return None
        ends = [] if len(parts) == 1 else [parts[0], parts[-1]]
        question_vector = await self._embed(question) if question else None
        mean = _unit(np.sum(parts, axis=0))
        return np.stack(
            [np.zeros_like(mean) if question_vector is None else question_vector, mean, *ends]
        )

    async def _part(self, words: Sequence[str]) -> Rows | None:
        """Embed a part. If it is too long for the window, as code may be, embed its halves."""
        found = await self._embed(" ".join(words))
        if found is not None or len(words) < _FEWEST:
            return found
        half = len(words) // 2
        one, other = await self._part(words[:half]), await self._part(words[half:])
        return None if one is None or other is None else _unit(one + other)


def beside(fresh: ReadExchange, stored: ReadExchange, group: str) -> Grouped:
    """Compare a stored exchange with a fresh one by their vectors."""
    if not fresh.prior.fitted:
        return Grouped(group, stored.exchange, comparison.NEUTRAL)
    scale = fresh.prior.scale
    (question_vector, answer, *parts), (stored_vector, stored_answer, *stored_parts) = (
        fresh.vectors,
        stored.vectors,
    )
    answers = scale(float(answer @ stored_answer))
    ends = [scale(float(one @ other)) for one, other in zip(parts, stored_parts, strict=False)]
    own = scale(float(question_vector @ answer)) + scale(float(stored_vector @ stored_answer))
    crossed = scale(float(question_vector @ stored_answer)) + scale(float(stored_vector @ answer))
    cosines = Cosines(
        questions=scale(float(question_vector @ stored_vector)),
        answers=answers,
        lean=own - crossed,
        parted=min(ends, default=1.0) < answers - _PARTED,
    )
    return Grouped(group, stored.exchange, cosines)


def same_by_text(one: ReadExchange, other: ReadExchange) -> bool | None:
    """Return True if two answers say the same, by their texts alone; None if unsure.

    For two models' answers to one question: that the questions are equal is no evidence there.
    """
    found = beside(one, other, "")
    if not found.cosines.known:
        return None
    probability = comparison.same_text(
        found.cosines.answers, one.exchange.reply.profile, other.exchange.reply.profile
    )
    if 1 - comparison.SURE < probability < comparison.SURE or (
        probability > comparison.SURE and found.cosines.parted
    ):
        return None
    return probability >= comparison.SURE


def parts_of(words: Sequence[str]) -> list[Sequence[str]]:
    """Return the parts of an answer to embed: the first begins it, the last ends it."""
    count = min(_PARTS, math.ceil(len(words) / _PART_WORDS))
    if count < 2:
        return [words] if words else []
    size = min(_PART_WORDS, math.ceil(len(words) / count))
    step = (len(words) - size) / (count - 1)
    starts = [round(part * step) for part in range(count)]
    return [words[start : start + size] for start in starts]


def text_of(message: bytes) -> str:
    """Return the text of a stored message."""
    found: Mapping[str, Any] = json_text.loads(message)
    return "\n".join(b["text"] for b in found.get("content") or () if b.get("type") == "text")


def _unit(vector: Rows) -> Rows:
    unit: Rows = vector / np.linalg.norm(vector)
    return unit
