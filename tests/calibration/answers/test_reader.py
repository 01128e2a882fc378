"""Answers compared whole, by the real model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.calibration.answers.reader import (
    AnswerReader,
    ReadExchange,
    Rows,
    beside,
    parts_of,
    same_by_text,
    text_of,
)
from cacheserver.core.types import Entry
from cacheserver.english.language import english
from cacheserver.index.batcher import Batcher
from cacheserver.index.errors import EmbedderFailed, Unreadable
from cacheserver.index.models import OnnxEmbedder
from tests.cache.entries import entry
from tests.models import model_dir

RETURNS = (
    "To return an item, sign in to your account and open the page called My Orders, where every "
    "purchase of the past year is listed with its status. Choose the item you want to send back "
    "and press Start a Return, then pick the reason from the menu so that our warehouse knows what "
    "to expect. You will receive a prepaid label by email within a few minutes, and you can print "
    "it at home or show the code at any post office counter. Pack the item in its original box if "
    "you still have it, include all accessories and the printed slip, and close the parcel well "
    "with tape. Drop the parcel at the post office and keep the receipt until the refund has "
    "arrived, because it is your proof of posting. "
)
PAID = (
    "After the inspection we send the money back to the card you paid with, and your bank shows it "
    "on the next statement. Gift cards are refunded as store credit, which never expires and can "
    "be used for anything in the shop, also together with other ways to pay."
)
VOUCHER = (
    "After the inspection we do not pay money back; instead you receive a voucher for the same "
    "amount, which is valid for one purchase only. Sale items and underwear are excluded from "
    "returns and will be sent back to you at your own expense by ordinary mail."
)


@dataclass
class Reading:
    """`AnswerReader` over the real model, and a vector store that says what was asked of it."""

    batcher: Batcher
    embedded: list[str] = field(default_factory=list)
    kept: dict[str, Rows] = field(default_factory=dict)
    fails_on: str | None = None

    @property
    def answers(self) -> AnswerReader:
        return AnswerReader(self.embed, english(), self)

    async def embed(self, text: str) -> Rows | None:
        self.embedded.append(text)
        if text == self.fails_on:
            raise EmbedderFailed("away")
        try:
            return await self.batcher.embed(text)
        except Unreadable:
            return None

    async def get(self, entries: Sequence[Entry]) -> Sequence[Rows | None]:
        return [self.kept.get(one.id) for one in entries]

    async def put(self, entry: Entry, vectors: Rows) -> bool:
        self.kept[entry.id] = vectors
        return True

    async def said(self, text: str, question: str = "How do I send it back?") -> ReadExchange:
        said = await self.answers.read(question, message(text))
        assert said is not None
        return said


@pytest.fixture
async def reading() -> AsyncIterator[Reading]:
    async with Batcher(OnnxEmbedder(model_dir())) as batcher:
        yield Reading(batcher)


def message(text: str) -> bytes:
    return json.dumps({"content": [{"type": "text", "text": text}]}).encode()


async def test_answers_that_part_at_their_end_are_not_taken_for_the_same(reading: Reading) -> None:
    answers = reading.answers
    paid, voucher = await reading.said(RETURNS + PAID), await reading.said(RETURNS + VOUCHER)
    stored = beside(paid, voucher, "g")
    assert stored.cosines.answers > 0.9  # alike on the whole
    assert stored.cosines.parted
    assert answers.group_of(paid, [stored]) is None
    assert answers.outcome(paid, [stored]) == "open"
    assert same_by_text(paid, voucher) is None
    again = beside(paid, await reading.said(RETURNS + PAID), "g")
    assert answers.group_of(paid, [stored, again]) == "g"
    assert answers.outcome(paid, [stored, again]) == "same"


async def test_a_figure_far_down_a_long_answer_is_read(reading: Reading) -> None:
    long = RETURNS * 5
    one = await reading.said(f"{long} It costs 15 dollars. {PAID}")
    other = await reading.said(f"{long} It costs 50 dollars. {PAID}")
    assert reading.answers.outcome(one, [beside(one, other, "g")]) != "same"
    assert same_by_text(one, other) is False


async def test_a_question_is_read_with_its_answer(reading: Reading) -> None:
    near = await reading.said(PAID, "When is my money back?")
    far = await reading.said("Turn the oven to a low heat.", "How do I bake bread?")
    cosines = beside(near, far, "g").cosines
    assert cosines.questions < 0.4
    assert cosines.lean > 0.3  # each is nearer to its own answer
    again = beside(near, await reading.said(PAID, "When do I get my money back?"), "g").cosines
    assert again.questions > 0.8
    assert abs(again.lean) < 0.01


async def test_signs_that_no_embedder_knows_do_not_hide_an_answer(reading: Reading) -> None:
    plain = await reading.said("It is done in two days, and you get a mail.")
    shown = await reading.said(
        "## It is done in **two days**, and you get a mail. \N{PARTY POPPER}"
    )
    assert reading.answers.outcome(plain, [beside(plain, shown, "g")]) == "same"


async def test_an_answer_is_embedded_once_in_its_life(reading: Reading) -> None:
    stored = [entry(f"f{n}", message=message(f"{PAID} It is case {n}.")) for n in range(3)]
    await reading.answers.recall(stored)
    assert set(reading.kept) == {one.id for one in stored}
    reading.embedded.clear()
    fresh = entry("new", message=message("It is done in a day."))
    found = await reading.answers.recall([fresh, *stored])
    assert reading.embedded == ["It is done in a day.", fresh.text]
    assert all(said is not None for said in found)


async def test_an_exchange_that_the_embedder_failed_to_embed_is_not_kept_by_half(
    reading: Reading,
) -> None:
    one = entry("f", message=message(PAID))
    reading.fails_on = one.text
    assert await reading.answers.recall([one]) == [None]
    reading.fails_on = None
    (found,) = await reading.answers.recall([one])
    assert found is not None
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)


async def test_what_was_kept_says_what_the_answer_says(reading: Reading) -> None:
    one = entry(message=message(RETURNS + PAID))
    (first,) = await reading.answers.recall([one])
    (again,) = await reading.answers.recall([one])
    assert first is not None
    assert again is not None
    assert np.array_equal(first.vectors, again.vectors)
    assert first.exchange == again.exchange
    assert first.vectors.shape == (4, 384)
    assert np.allclose(np.linalg.norm(first.vectors, axis=1), 1, atol=1e-5)


async def test_without_a_place_for_them_vectors_are_made_whenever_asked_for(
    reading: Reading,
) -> None:
    answers = AnswerReader(reading.embed, english())
    for _ in range(2):
        (said,) = await answers.recall([entry(message=message("It is done in a day."))])
        assert said is not None
    assert len(reading.embedded) == 4  # the answer and its question, twice


async def test_a_part_too_long_for_the_window_is_read_in_halves(reading: Reading) -> None:
    code = " ".join(f"self.fields[{n}].encoded_value_of_{n}(buffer_{n})," for n in range(60))
    said = await reading.said(code)
    assert len(reading.embedded) > 3
    assert float(said.vectors[1] @ said.vectors[1]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["", "   ", "日本語の答えです。", "x" * 5_000])
async def test_what_the_embedder_cannot_read_is_not_compared_and_not_kept(
    reading: Reading, text: str
) -> None:
    assert await reading.answers.read("What is it?", message(text)) is None
    assert await reading.answers.recall([entry(message=message(text))]) == [None]
    assert reading.kept == {}


async def test_an_answer_without_text_says_nothing(reading: Reading) -> None:
    tool = json.dumps({"content": [{"type": "tool_use", "name": "x", "input": {}}]}).encode()
    assert text_of(tool) == ""
    assert text_of(b"{}") == ""
    assert await reading.answers.read("What is it?", tool) is None


@given(st.integers(0, 2_000))
def test_the_parts_begin_and_end_the_answer_and_are_few_and_short(count: int) -> None:
    words = [str(n) for n in range(count)]
    parts = parts_of(words)
    assert len(parts) <= 5
    assert all(0 < len(part) <= 60 for part in parts)
    if words:
        assert parts[0][0] == words[0]
        assert parts[-1][-1] == words[-1]
    if count <= 300:  # nothing is left out
        assert {word for part in parts for word in part} == set(words)
    for part in parts:
        assert words[int(part[0]) : int(part[-1]) + 1] == list(part)


async def test_a_short_answer_stands_beside_a_long_one(reading: Reading) -> None:
    long, short = await reading.said(RETURNS + PAID), await reading.said("It is done in a day.")
    for one, other in ((long, short), (short, long)):
        found = beside(one, other, "g").cosines
        assert not found.parted
        assert found.answers == pytest.approx(float(long.vectors[1] @ short.vectors[1]))
    again = replace(short)
    assert reading.answers.outcome(short, [beside(short, again, "g")]) == "same"


async def test_a_question_that_is_not_read_resembles_none(reading: Reading) -> None:
    one, other = await reading.said(PAID, ""), await reading.said(PAID, "日本語の質問")
    assert beside(one, other, "g").cosines.questions == 0
