"""A right label carries its foil, where the nearest other answer was compared and is different."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.calibration import foils
from cacheserver.calibration.answers.comparison import Outcome
from cacheserver.core.evidence import read_evidence
from cacheserver.english.language import english
from cacheserver.matching.neighbours import Neighbour
from cacheserver.simulated import Directives
from tests.house import House

PARIS, REWORDED = (
    "What is the capital of France?",
    "Which city is the capital of the country France?",
)
ANSWERS = {
    "France": "The capital of France has been Paris since 987.",
    "Germany": "Berlin has been the capital of Germany since 1990.",
    "Spain": "Madrid has been the capital of Spain since 1561.",
    "Italy": "Rome has been the capital of Italy since 1871.",
}


def answering(body: Mapping[str, Any]) -> Directives:
    text = str(body["messages"][-1]["content"])
    return Directives(text=next(answer for land, answer in ANSWERS.items() if land in text))


async def labels(house: House) -> list[Mapping[str, Any]]:
    kept = house.parts.calibration.feedback._states._labels
    return [
        row
        for scope in await kept.scopes("default")
        for _, row in await kept.window("default", scope)
    ]


@pytest.mark.parametrize("others", [2, 3])
async def test_a_right_label_of_a_miss_has_a_foil_where_three_others_came_near(
    tmp_path: Path, others: int
) -> None:
    async with House.open(tmp_path, claude=answering, similarity=None, target=0.01) as house:
        for land in list(ANSWERS)[1 : 1 + others]:
            await house.ask(f"What is the capital of {land}?")
        await house.ask(PARIS)
        await house.parts.calibration.learner.idle()
        before = len(await labels(house))
        await house.ask(REWORDED)
        await house.parts.calibration.learner.idle()
        (label,) = (await labels(house))[before:]
        assert label["right"]
        if others == 2:
            assert label["foil"] is None
            return
        foil = read_evidence(label["foil"])
        assert foil.cosine < label["evidence"]["cosine"]
        assert (foil.company, foil.group, foil.entry) == (4, "", "")


ENGLISH = english()
ASKED = ENGLISH.profile(PARIS)
NEAR = [
    Neighbour(str(n), 0.95 - n / 100, "mine" if n < 2 else f"g{n}", ASKED) for n in range(6)
]  # the nearest two have the right answer


@pytest.mark.parametrize(("told", "found"), [("different", True), ("same", False), ("open", False)])
def test_a_foil_is_of_an_answer_that_is_known_to_differ(told: Outcome, found: bool) -> None:
    def outcome(id: str) -> Outcome:
        return told if id == "2" else "different"

    foil = foils.of_neighbours(ASKED, NEAR, "mine", outcome, ENGLISH)
    assert (foil is not None) == found
    if foil is not None:
        assert foil.cosine == NEAR[2].similarity


def test_where_all_say_the_same_there_is_no_foil() -> None:
    assert foils.of_neighbours(ASKED, NEAR[:2], "mine", lambda _: "different", ENGLISH) is None
