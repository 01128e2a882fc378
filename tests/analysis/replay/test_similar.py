"""The semantic tier of a replay decides as the server does, and over processes as in one."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cacheserver.analysis.replay import workers
from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.engine import Engine
from cacheserver.analysis.replay.similar import Similar
from cacheserver.analysis.replay.step import Step
from cacheserver.core.types import Bar, Tenant
from cacheserver.index.errors import EmbedderFailed
from cacheserver.simulated import Directives
from tests.analysis.replay.calls import MODEL, call
from tests.analysis.replay.engines import away, broken, make
from tests.house import House


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = make(None)
    yield made.engine
    made.close()


def steps(engine: Engine, *calls: Call) -> list[Step]:
    return [step for _, step in engine.replay(calls)]


def test_a_rewording_is_answered_and_another_question_is_not(engine: Engine) -> None:
    first, twin, other = steps(
        engine,
        call("What is the capital of France?", 0, source="log:1"),
        call("What's the capital of France?", 10),
        call("What is the capital of Germany?", 20, answer="Berlin."),
    )
    assert (first.kind, first.reason) == (None, "empty")
    assert (twin.kind, twin.reason, twin.like) == ("semantic", "probable", "log:1")
    assert twin.right is True
    assert twin.spent is not None
    # Some such hits are asked again: that is taken off.
    assert 0.5 * twin.spent < twin.together["semantic"] < twin.spent
    assert twin.alone["semantic"] == twin.together["semantic"]
    assert (other.kind, other.reason) == (None, "vetoed")


def test_a_rewording_whose_logged_answer_differs_is_told(engine: Engine) -> None:
    _, twin = steps(
        engine,
        call("How much is the ticket?", 0, answer="It is 12 euros for adults."),
        call("How much is the ticket", 10, answer="It is 90 euros for adults."),
    )
    assert (twin.kind, twin.right) == ("semantic", False)


def test_a_threshold_decides_as_in_the_server_vetoes_and_all() -> None:
    text = "How do I enable dark mode in the settings of the app?"
    calls = (call(text, 0), call(text.replace("enable", "disable"), 1))
    for off, told in (((), (None, "vetoed")), (("antonym",), ("semantic", "similar"))):
        made = make(None, Tenant("default", bar=Bar(similarity=0.9, vetoes_off=off)))
        _, second = steps(made.engine, *calls)
        made.close()
        assert (second.kind, second.reason) == told


def test_another_tenants_question_is_never_near(engine: Engine) -> None:
    _, other = steps(
        engine,
        call("What is the capital of France?", 0, tenant="one"),
        call("What's the capital of France?", 1, tenant="two"),
    )
    assert (other.kind, other.reason) == (None, "empty")


def test_an_answer_past_its_lifetime_is_not_near(engine: Engine) -> None:
    _, late = steps(
        engine,
        call("What is the capital of France?", 0),
        call("What's the capital of France?", 3_601),
    )
    assert (late.kind, late.reason) == (None, "empty")


def test_no_more_texts_are_embedded_than_may_be() -> None:
    made = make(1)
    found = steps(
        made.engine,
        call("What is the capital of France?", 0),
        call("Who wrote Hamlet?", 1),
        call("What's the capital of France?", 2),
    )
    made.close()
    assert [step.reason for step in found] == ["empty", "not-sought", "not-sought"]


def log() -> list[Call]:
    questions = ("How do I reset my password?", "How can I reset my password?", "Who are you?")
    return [
        call(questions[n % 3], n, system=f"You are shop {n % 5}.", source=f"log:{n}", answer="So.")
        for n in range(120)
    ]


def test_several_processes_say_what_one_says() -> None:
    making = partial(make, None)
    one = list(workers.replay(log(), making, processes=1))
    two = list(workers.replay(log(), making, processes=2))
    assert [each.source for each, _ in two] == [each.source for each in log()]
    assert [step for _, step in one] == [step for _, step in two]
    assert {step.kind for _, step in one} == {None, "exact", "semantic"}


@pytest.mark.filterwarnings("ignore")
def test_a_process_that_dies_is_told_and_not_waited_for() -> None:
    with pytest.raises(RuntimeError, match="ended before"):
        list(workers.replay(log(), broken, processes=2))


def test_a_process_says_that_its_embedder_failed() -> None:
    with pytest.raises(EmbedderFailed, match="the endpoint is away"):
        list(workers.replay(log(), away, processes=2))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes of others")
def test_no_process_outlives_the_one_that_gave_it_work() -> None:
    command = [sys.executable, "-m", "tests.analysis.replay.parent"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        children = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.kill()
        for child in children:  # readable once it has ended
            assert select.select([child], [], [], 60)[0] == [child]
            os.close(child)


ASKED = (
    "What is the capital of France?",
    "What's the capital of France?",
    "What is the capital of Germany?",
    "What is the capital of France?",
    "How do I reset my password?",
    "How can I reset my password?",
    "How do I delete my account?",
    "What is the weather in Rome today?",
    "What is the weather in Rome today?",
    "Where is the nearest pharmacy to me?",
    "Where is the nearest pharmacy to me?",
    "How can I delete my account?",
)


def all_of(calls: list[Call]) -> list[Step]:
    made = make(None)
    try:
        return steps(made.engine, *calls)
    finally:
        made.close()


async def test_a_log_of_the_server_is_replayed_as_it_was_decided(tmp_path: Path) -> None:
    async with House.open(
        tmp_path, claude=lambda _: Directives(text="An answer."), similarity=None, target=0.01
    ) as house:
        calls, kinds = [], []
        for at, text in enumerate(ASKED):
            response = await house.ask(text, model=MODEL)
            kinds.append((response.headers["x-cache"], response.headers["x-cache-reason"]))
            calls.append(call(text, at, max_tokens=100, answer="An answer."))
    replayed = await asyncio.to_thread(all_of, calls)  # a replay has a loop of its own
    for text, was, step in zip(ASKED, kinds, replayed, strict=True):
        kind = step.kind or ("bypass" if was[0] == "bypass" else "miss")
        assert (text, kind, step.reason) == (text, *was)


def test_a_right_label_of_a_replay_has_its_foil() -> None:
    made = make(None)
    said = {
        "Germany": "Berlin has been the capital of Germany since 1990.",
        "Spain": "Madrid has been the capital of Spain since 1561.",
        "Italy": "Rome has been the capital of Italy since 1871.",
        "France": "The capital of France has been Paris since 987.",
    }
    asked = [call(f"What is the capital of {land}?", answer=said[land]) for land in said]
    reworded = "Which city is the capital of the country France?"
    asked.append(call(reworded, answer=said["France"]))
    assert steps(made.engine, *asked)[-1].kind is None
    made.close()
    similar = made.engine._similar
    assert isinstance(similar, Similar)
    (scope,) = similar._scopes.values()
    last = scope.state.labels[-1]
    assert last.right
    assert last.foil is not None
    assert last.foil.company == 4
    assert last.foil.cosine < last.evidence.cosine
