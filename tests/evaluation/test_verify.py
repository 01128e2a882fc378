"""Verification in replays: the simulated model, what it may serve, what it costs."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from random import Random

import numpy as np
import pytest

from cacheserver.matching.verification import ErrorRates
from scripts.evaluation import zipf
from scripts.evaluation.data import Question
from scripts.evaluation.stream import Replay, Settings, Traffic, prepare
from scripts.evaluation.vectors import Embeddings
from scripts.evaluation.verify import cold, money, rows
from scripts.evaluation.verify.step import Simulated, Step
from scripts.pairs.types import Pair
from tests.evaluation.streams import desk

GOOD = Simulated(0.95, 0.02)


@pytest.fixture(scope="module")
def traffic(embeddings: Embeddings) -> Traffic:
    return prepare(desk(500), embeddings)


def replayed(traffic: Traffic, model: Simulated | None) -> Replay:
    replay = Replay(traffic, Settings(verifier=model), 1)
    replay.run()
    return replay


def test_a_model_errs_at_its_rates_and_says_the_same_whenever_it_is_asked() -> None:
    asked = [
        Question(f"question {i}", f"meaning {i % 7}", "x", f"intent {i % 7}") for i in range(150)
    ]
    step = Step(Simulated(0.9, 0.1), asked, 0.01, 1)
    pairs = list(combinations(range(150), 2))
    said = {pair: step.says_yes(*pair) for pair in pairs}
    for same, rate in ((True, 0.9), (False, 0.1)):
        chosen = [
            pair for pair in pairs if (asked[pair[0]].meaning == asked[pair[1]].meaning) is same
        ]
        assert sum(said[pair] for pair in chosen) / len(chosen) == pytest.approx(rate, abs=0.03)
    assert all(step.says_yes(b, a) is yes for (a, b), yes in said.items())


def test_by_intents_one_verdict_holds_for_all_questions_of_a_pair_of_intents() -> None:
    asked = [
        Question(f"question {i}", f"meaning {i % 7}", "x", f"intent {i % 7}") for i in range(70)
    ]
    step = Step(Simulated(0.5, 0.5, by="intents"), asked, 0.01, 1)
    said: dict[tuple[str, ...], set[bool]] = {}
    for a, b in combinations(range(70), 2):
        pair = tuple(sorted((asked[a].intent, asked[b].intent)))
        said.setdefault(pair, set()).add(step.says_yes(a, b))
    assert all(len(verdicts) == 1 for verdicts in said.values())
    assert {verdict for verdicts in said.values() for verdict in verdicts} == {True, False}


def test_verified_hits_are_hits_that_the_model_said_yes_to(traffic: Traffic) -> None:
    without, found = replayed(traffic, None), replayed(traffic, GOOD)
    assert sum(found.outcome.hits) > sum(without.outcome.hits)
    assert sum(found.outcome.verified) > 0
    for verified, asked, hit in zip(
        found.outcome.verified, found.outcome.asked, found.outcome.hits, strict=True
    ):
        assert hit or not verified
        assert asked or not verified  # each text is asked once: no verdict is remembered
    never = replayed(traffic, Simulated(0.0, 0.0, stated=ErrorRates(0.95, 0.02)))
    assert sum(never.outcome.asked) > 0
    assert not any(never.outcome.verified)


def test_a_look_says_what_asking_will_serve(embeddings: Embeddings) -> None:
    made = prepare(desk(150), embeddings)
    replay = Replay(made, Settings(verifier=GOOD), 1)
    for at in range(len(made)):
        served = replay.served(at)
        replay.ask(at)
        if not replay.outcome.exact[at]:
            assert replay.outcome.hits[at] is (served is not None)


def test_in_the_background_no_yes_serves_and_each_verdict_is_checked(traffic: Traffic) -> None:
    without = replayed(traffic, None)
    found = replayed(traffic, replace(GOOD, mode="background"))
    assert found.outcome.hits == without.outcome.hits
    assert found.step is not None
    assert found.step.audited.yeses > 0
    assert found.step.rates.measured or found.step.audited.noes < 150


def test_a_model_that_says_yes_to_everything_is_switched_off(embeddings: Embeddings) -> None:
    words = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "po") for b in ("ra", "se", "ti", "vo")]
    asked = [
        Question(f"where can i find the {one} {other} today", f"{one} {other}", "x")
        for one in words
        for other in words
        if one != other
    ]
    Random(1).shuffle(asked)
    made = prepare(asked, embeddings)
    careless = Simulated(1.0, 1.0, stated=ErrorRates(0.95, 0.001))
    replay = replayed(made, careless)
    assert replay.step is not None
    assert replay.step.off
    wrong = sum(replay.outcome.wrong)
    assert 2 <= wrong < 60
    assert not any(replay.outcome.asked[-100:])


def test_cold_pairs_are_asked_about_but_for_those_that_a_decisive_veto_refuses(
    embeddings: Embeddings,
) -> None:
    listed = [
        Pair("how do i reset my password", "what must i do to set a new password", 1, "mine"),
        Pair("is 5 mg safe for a child", "is 10 mg safe for a child", 0, "mine"),
        Pair("how do i reset my password", "how can i reset my password", 1, "mine"),
    ]
    found = cold.judged(listed, embeddings, {"good": GOOD}, 0.01)
    assert [(one.label, one.served, set(one.asked)) for one in found] == [
        (1, False, {"good"}),
        (0, False, set()),
    ]  # the third pair are twins
    row = cold.row("mine", "good", GOOD, found)
    assert (row.kept, row.served, row.asked) == (0.95, 0.0, 1.0)


def test_a_row_adds_up_seeds_and_its_bill_is_of_misses_audits_and_calls(traffic: Traffic) -> None:
    found = replayed(traffic, GOOD)
    row = rows.row("desk", "95/2", 0.01, [found, found])
    outcome = found.outcome
    assert row.requests == 2 * len(outcome.hits)
    assert row.hits == sum(outcome.hits) / len(outcome.hits)
    assert row.calls == sum(outcome.asked) / len(outcome.hits)
    assert 1 <= row.candidates <= 3
    bills = {one.model: one for one in money.money(row)}
    for model, one in bills.items():
        assert one.without_cache == pytest.approx(1_000 * money.answer_price(model))
        answers = one.paid - one.verification
        share = 1 - row.exact - row.hits + row.audits
        assert answers == pytest.approx(share * one.without_cache)
    assert bills["claude-opus-5-5"].paid > bills["claude-sonnet-5-5"].paid
    later = {one.model: one for one in money.money(row, background=True)}
    for model, one in bills.items():
        waits = one.first_byte_s - later[model].first_byte_s
        assert waits == pytest.approx(row.calls * money.CALL_S)


def test_a_call_pays_from_the_chance_of_a_yes_at_which_it_costs_what_it_saves() -> None:
    for model in money.ANSWERING:
        chance = money.break_even(model, task=300, answer=250)
        saving = money.answer_price(model, task=300, answer=250)
        assert chance * saving == pytest.approx(money.call_price(1.0, task=300, answer=250))
    assert money.break_even(money.VERIFIER, task=300, answer=50) > 1  # never
    assert len(list(money.break_even_lines())) == 13


def test_zipf_traffic_repeats_texts_that_no_model_is_asked_about(embeddings: Embeddings) -> None:
    asked = zipf.draw(desk(60), 200, 1)
    found = replayed(prepare(asked, embeddings), GOOD)
    for exact, verified in zip(found.outcome.exact, found.outcome.asked, strict=True):
        assert not (exact and verified)
    assert np.mean(found.outcome.exact) > 0.2


def test_a_yes_is_remembered_so_the_same_question_is_a_hit_without_a_call(
    embeddings: Embeddings,
) -> None:
    texts = ("how do i reset my password", "what must i do to set a new password")
    asked = [Question(texts[at], "reset", "x") for at in (0, 1, 1)]
    perfect = Simulated(1.0, 0.0, stated=ErrorRates(0.95, 0.02))
    found = replayed(prepare(asked, embeddings), perfect)
    assert found.outcome.verified == [False, True, True]
    assert found.outcome.asked == [False, True, False]
