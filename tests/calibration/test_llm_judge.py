"""Claude as the judge of answers that embeddings leave undecided, through the front door."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cacheserver.calibration.labels import SHADOW
from cacheserver.simulated import Directives, Fault
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
ASKED, AGAIN = "What is the capital of France?", "Which city is the capital of the country France?"
ANSWERS = {
    ASKED: "The capital of France is Paris, on the river Seine.",
    AGAIN: "It lies in the north, on a river, and is best known for its iron tower.",
}


@dataclass
class Judge:
    """A Claude that knows the answers, and is asked to judge them."""

    verdict: str | None = "SAME"  # None: it makes one up
    fault: Fault | None = None
    judged: list[Mapping[str, Any]] = field(default_factory=list)

    def __call__(self, body: Mapping[str, Any]) -> Directives:
        text = str(body["messages"][-1]["content"])
        if text in ANSWERS:
            return Directives(text=ANSWERS[text])
        self.judged.append(body)
        return Directives(text=self.verdict, fault=self.fault)


@asynccontextmanager
async def judged_by(judge: Judge, data_dir: Path, **settings: Any) -> AsyncIterator[House]:
    given = {"judge_usd_per_day": 1.0, "judge_share": 1.0, **settings}
    async with House.open(data_dir, claude=judge, similarity=None, target=0.01, **given) as house:
        yield house


async def ask_both(house: House) -> list[str]:
    """Two questions whose answers the embedder cannot tell apart or together; their groups."""
    found = [await house.ask(text) for text in (ASKED, AGAIN)]
    assert [came_from(answer)[0] for answer in found] == ["miss", "miss"]
    await house.parts.calibration.learner.idle()
    entries = house.parts.entries.entries
    ids = [answer.headers["x-cache-entry"] for answer in found]
    stored = [await entries.by_id("default", entry_id) for entry_id in ids]
    refs = [(entry.fingerprint, entry.id) for entry in stored if entry is not None]
    groups = [one.group for one in await entries.grouped(refs) if one is not None]
    return ["own" if group == one else "first" for group, one in zip(groups, ids, strict=True)]


async def labels(house: House) -> list[Mapping[str, Any]]:
    kept = house.parts.calibration.feedback._states._labels
    (scope,) = [s for s in await kept.scopes("default") if s != SHADOW]
    return [row for _, row in await kept.window("default", scope)]


@pytest.mark.parametrize(
    ("verdict", "right", "group"),
    [("SAME", True, "first"), ("DIFFERENT", False, "own"), ("Yes, the SAME.", False, "own")],
)
async def test_the_judge_decides_what_embeddings_leave_open(
    tmp_path: Path, verdict: str, right: bool, group: str
) -> None:
    judge = Judge(verdict)
    async with judged_by(judge, tmp_path) as house:
        assert await ask_both(house) == ["own", group]
        (asked,) = judge.judged
        told = json.loads(asked["messages"][0]["content"])
        assert told == {
            "question": AGAIN,
            "answer_a": ANSWERS[ASKED],
            "answer_b": ANSWERS[AGAIN],
        }
        (label,) = await labels(house)
        assert (label["right"], label["source"], label["weight"]) == (right, "miss", 1.0)
        sums = await house.parts.decision_log.stats("default")
        assert sums["judge"] == 1
        assert sums["judge_same" if right else "judge_different"] == 1
        assert sums["judge_cost_nanodollars"] > 0
        kept = house.parts.calibration.feedback._states._labels
        now = house.clock()
        spent = await kept.spent("default", "judge", period_s=86_400, now=now)
        assert spent == sums["judge_cost_nanodollars"]  # the rest of what was reserved came back


async def test_a_verdict_that_the_simulated_claude_made_up_is_none(tmp_path: Path) -> None:
    async with judged_by(Judge(None), tmp_path) as house:
        await ask_both(house)
        kept = house.parts.calibration.feedback._states._labels
        assert await kept.scopes("default") == []
        sums = await house.parts.decision_log.stats("default")
        assert not {"judge", "judge_same", "judge_different"} & sums.keys()


async def test_the_judge_is_off_unless_asked_for(tmp_path: Path) -> None:
    judge = Judge()
    async with judged_by(judge, tmp_path, judge_usd_per_day=0) as house:
        await ask_both(house)
        assert judge.judged == []
        assert "judge" not in await house.parts.decision_log.stats("default")
        assert not {"judge", "judge-cap"} & await swallowed(house)  # being off is no failure


async def test_a_cap_that_is_reached_asks_nobody_and_is_counted(tmp_path: Path) -> None:
    judge = Judge()
    async with judged_by(judge, tmp_path, judge_usd_per_day=1e-9) as house:
        await ask_both(house)
        assert judge.judged == []
        assert "judge-cap" in await swallowed(house)


@pytest.mark.parametrize(
    ("verdict", "fault"),
    [("SAME", Fault("error", status=400)), ("SAME", Fault("cut"))],
)
async def test_a_judge_that_fails_tells_nothing_costs_nothing_and_is_counted(
    tmp_path: Path, verdict: str, fault: Fault
) -> None:
    judge = Judge(verdict, fault)
    async with judged_by(judge, tmp_path) as house:
        assert await ask_both(house) == ["own", "own"]  # as without a judge
        assert judge.judged
        assert "judge" in await swallowed(house)
        assert "judge" not in await house.parts.decision_log.stats("default")
        kept = house.parts.calibration.feedback._states._labels
        assert await kept.spent("default", "judge", period_s=86_400, now=house.clock()) == 0
        assert await kept.scopes("default") == []


async def test_a_model_without_a_price_is_never_asked(tmp_path: Path) -> None:
    judge = Judge()
    async with judged_by(judge, tmp_path, judge_model="claude-nobody-knows") as house:
        await ask_both(house)
        assert judge.judged == []
        assert "judge-price" in await swallowed(house)


async def test_a_sampled_verdict_stands_for_those_not_asked_about(tmp_path: Path) -> None:
    judge = Judge()
    async with judged_by(judge, tmp_path, judge_share=0.999999) as house:
        await ask_both(house)
        assert len(judge.judged) == 1
        (label,) = await labels(house)
        assert label["weight"] == pytest.approx(1 / 0.999999)


async def swallowed(house: House) -> set[str]:
    page = await house.http.get("/metrics", headers=ADMIN)
    lines = [line for line in page.text.splitlines() if line.startswith("cacheserver_swallowed")]
    return {line.split('"')[1] for line in lines if "site=" in line and not line.endswith(" 0.0")}
