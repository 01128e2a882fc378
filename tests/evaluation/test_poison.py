"""Poisoning: far questions before and after an attacker's requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from cacheserver.matching.support import ReferenceRange, Support
from scripts.evaluation import poison, poisons
from scripts.evaluation.data import Question
from scripts.evaluation.noise import Rates
from scripts.evaluation.shift import Shifted
from scripts.evaluation.stream import Replay, Settings, Traffic
from scripts.evaluation.vectors import Embeddings
from tests.evaluation.streams import SIZES, desk, strange

ROOT = Path(__file__).parents[2]
ANYWHERE = Support(ReferenceRange(-1.0, 1.0), ReferenceRange(0.0, 1.0), least=-1.0)


def test_every_way_gives_the_requests_asked_for_and_they_differ() -> None:
    victims = [f"how do i get to pier {i}" for i in range(60)]
    for name, way in poisons.WAYS.items():
        steps = way(Random(2), victims, 90)
        assert len(steps) == (675 if name == "volume" else 90), name
        assert len({step.text for step in steps}) == len(steps), name
        assert steps == way(Random(2), victims, 90)
    assert len(poisons.WAYS) == 10


def test_what_an_attack_moves_is_told(
    embeddings: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grab(rng: Random, victims: object, count: int) -> list[poisons.Step]:
        return [poisons.Step("Do pears keep in a cellar?", "Yes.")]

    def idle(rng: Random, victims: object, count: int) -> list[poisons.Step]:
        return [poisons.Step(f"Do pears keep for {i} weeks?", "Yes.") for i in range(5)]

    ask = Replay.ask

    def planted(replay: Replay, at: int) -> None:
        """A decision that one request opens wide."""
        if replay.traffic.questions[at].text == "Do pears keep in a cellar?":
            replay.bar = replace(replay.bar, level=0.0, support=ANYWHERE)
        else:
            ask(replay, at)

    monkeypatch.setitem(poisons.WAYS, "grab", grab)
    monkeypatch.setitem(poisons.WAYS, "idle", idle)
    monkeypatch.setattr(Replay, "ask", planted)
    made = poison.Poisoned(
        desk(400),
        strange(30),
        embeddings,
        seed=1,
        sizes=poison.Sizes(learned=60, each=30, pool=60, questions=20),
        ways=("grab", "idle"),
        settings=Settings(),
    )
    rows = {(row.way, row.caller): row for row in poison.added(list(made.moved("desk")))}
    assert set(rows) == {(w, c) for w in ("grab", "idle") for c in poison.CALLERS}
    for caller in poison.CALLERS:
        moved, still = rows["grab", caller], rows["idle", caller]
        assert moved.far == still.far > 50
        assert moved.changed >= moved.begun > 0
        assert moved.wrong_after > moved.wrong
        assert (still.changed, still.begun, still.ended, still.poisoned) == (0, 0, 0, 0)
    assert "MISSED" in poison.verdict(list(rows.values()))
    assert "kept" in poison.verdict([rows["idle", "another key"]])


def test_attackers_are_told_from_honest_callers(embeddings: Embeddings) -> None:
    made = poison.Poisoned(
        desk(200),
        strange(5),
        embeddings,
        seed=1,
        sizes=poison.Sizes(learned=20, each=5, pool=10, questions=8),
        ways=("traps",),
        settings=Settings(),
    )
    assert Counter(one.caller for one in made.traffic.questions)["attacker."] == 8


def test_bad_feedback_is_a_label_and_its_answer_is_not_served_to_that_question_again() -> None:
    texts = ("how do i open the heath gate", "how do i open the heath gate please")
    questions = [Question(text, "heath", "heath") for text in texts]
    row = np.eye(4, dtype=np.float32)[[0, 0]]
    replay = Replay(Traffic(questions, row), Settings(), 1)
    replay.ask(0)
    assert replay.peek(1).serve is not None
    replay.blame(1)
    assert replay.peek(1).serve is None
    assert [label.right for label in replay.state.labels] == [False]


def test_same_answers_called_different_or_left_open_teach_otherwise(embeddings: Embeddings) -> None:
    questions = [replace(one, meaning="one", topic="one") for one in desk(60)]
    made = Shifted(questions, {}, embeddings, seed=1, sizes=SIZES)
    told: list[Counter[bool]] = []
    for rates in (Rates(), Rates(same_different=1.0), Rates(same_open=1.0)):
        replay = Replay(made.traffic, Settings(noise=rates), 1)
        replay.run()
        told.append(Counter(label.right for label in replay.state.labels))
    truth, different, left_open = told
    assert truth[True] > 5
    assert different[True] == left_open[True] == 0
    assert different[False] > left_open[False] + 5
