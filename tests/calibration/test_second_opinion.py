"""A contradiction of a sure decision is asked twice before it counts, through the front door."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cacheserver.calibration.answers import confirmation
from cacheserver.simulated import Directives, Fault
from tests.calibration.test_llm_judge import swallowed
from tests.calibration.test_past import audit
from tests.house import House, came_from

PARIS, SIMILAR = "What is the capital of France?", "What's the capital of France?"
RIGHT = "The capital of France has been Paris since 987."
UNCONFIRMED = 1 / confirmation.FOUND  # labels that one stands for
CONFIRMED = 1 / (confirmation.FOUND * confirmation.CONFIRMED)
WRONG = "Berlin has been the capital of Germany since 1990."


@dataclass
class Claude:
    """A Claude whose answers to one wording are given; to all else it answers right."""

    answers: list[str | Fault]  # to `SIMILAR`, in turn
    verdict: str = "SAME"  # as the judge of two answers
    judged: int = 0

    def __call__(self, body: Mapping[str, Any]) -> Directives:
        text = str(body["messages"][-1]["content"])
        if "answer_a" in text:
            self.judged += 1
            return Directives(text=self.verdict)
        if text != SIMILAR or not self.answers:
            return Directives(text=RIGHT)
        match self.answers.pop(0):
            case str(answer):
                return Directives(text=answer)
            case fault:
                return Directives(text=WRONG, fault=fault)


@asynccontextmanager
async def audited(claude: Claude, data_dir: Path, **settings: Any) -> AsyncIterator[House]:
    """A server on which a sure hit was served, audited, and all of it learned."""
    given = {"similarity": None, "target": 0.5, **settings}
    async with House.open(data_dir, claude=claude, **given) as house:
        await audit(house, 1.0)
        await house.ask(PARIS)
        hit = await house.ask(SIMILAR)
        assert came_from(hit)[0] == "semantic"
        assert float(hit.headers["x-cache-probability"]) >= confirmation.SURE
        await house.parts.calibration.learner.idle()
        yield house


async def labels(house: House) -> list[tuple[bool, float]]:
    kept = house.parts.calibration.feedback._states._labels
    return [
        (row["right"], row["weight"])
        for scope in await kept.scopes("default")
        for _, row in await kept.window("default", scope)
    ]


async def served(house: House) -> bool:
    return (await house.ask(SIMILAR)).headers["x-cache"] == "semantic"


async def test_a_contradiction_that_is_confirmed_counts_and_ends_the_hit(tmp_path: Path) -> None:
    async with audited(Claude([WRONG, WRONG]), tmp_path) as house:
        assert await labels(house) == [(False, CONFIRMED)]
        sums = await house.parts.decision_log.stats("default")
        assert (sums["audits"], sums["audits_again"], sums["audits_wrong"]) == (1, 1, 1)
        assert len(house.asked) == 3
        kept = house.parts.calibration.feedback._states._labels
        spent = await kept.spent("default", "audit", period_s=86_400, now=house.clock())
        assert spent == sums["audit_cost_nanodollars"]  # both were paid for, and counted
        assert not await served(house)


@pytest.mark.parametrize("second", [RIGHT, "It is the city with the iron tower."])
async def test_a_contradiction_that_is_not_confirmed_teaches_nothing(
    tmp_path: Path, second: str
) -> None:
    async with audited(Claude([WRONG, second]), tmp_path) as house:
        assert await labels(house) == []
        sums = await house.parts.decision_log.stats("default")
        assert sums["audits_again"] == 1
        assert "audits_wrong" not in sums
        assert await served(house)


async def test_an_answer_that_says_the_same_is_asked_once(tmp_path: Path) -> None:
    async with audited(Claude([RIGHT]), tmp_path) as house:
        assert await labels(house) == [(True, 1.0)]
        assert len(house.asked) == 2


async def test_where_claude_fails_the_second_time_the_first_counts(tmp_path: Path) -> None:
    claude = Claude([WRONG, Fault("error", status=400)])
    async with audited(claude, tmp_path) as house:
        assert await labels(house) == [(False, UNCONFIRMED)]
        assert "audit-again" in await swallowed(house)
        assert not await served(house)


async def test_where_the_day_s_cap_is_reached_the_first_counts(tmp_path: Path) -> None:
    async with audited(Claude([RIGHT]), tmp_path / "a") as house:
        cost = (await house.parts.decision_log.stats("default"))["audit_cost_nanodollars"]
    # An audit reserves twice the answer's cost: the first fits into this, the second does not.
    async with audited(
        Claude([WRONG, RIGHT]), tmp_path / "b", audit_usd_per_day=2.5 * cost / 1e9
    ) as house:
        assert await labels(house) == [(False, UNCONFIRMED)]
        assert len(house.asked) == 2
        assert "audit-cap" in await swallowed(house)


@pytest.mark.parametrize(("verdict", "wanted"), [("SAME", []), ("DIFFERENT", [(False, CONFIRMED)])])
async def test_a_judge_that_has_money_is_the_second_opinion(
    tmp_path: Path, verdict: str, wanted: list[tuple[bool, float]]
) -> None:
    claude = Claude([WRONG, RIGHT], verdict)
    # A share of nearly none of the undecided: a surprise is judged all the same.
    async with audited(claude, tmp_path, judge_usd_per_day=1.0, judge_share=1e-9) as house:
        assert await labels(house) == wanted
        assert claude.judged == 1
        assert "audits_again" not in await house.parts.decision_log.stats("default")


async def test_nothing_of_what_was_asked_or_answered_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "cacheserver")
    async with audited(Claude([WRONG, Fault("error", status=400)]), tmp_path):
        await asyncio.sleep(0)
    assert not any(word in caplog.text for word in ("capital", "Paris", "Berlin"))
