"""The texts of the sample: marked, answered, and with labels that are true."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cacheserver.sample_traffic import traffic
from cacheserver.sample_traffic.claude import direct
from cacheserver.simulated import Directives

KNOWN = traffic.answers()


def body(system: Any, text: str) -> dict[str, Any]:
    return {"system": system, "messages": [{"role": "user", "content": text}]}


def test_it_is_some_300_requests_in_an_order_that_stays() -> None:
    found = traffic.steps()
    assert 250 <= sum(step.copies for step in found) <= 300
    assert found == traffic.steps()
    assert any(step.deferred for step in found)
    assert any(step.fields.get("conversation") for step in found)
    assert any(step.fields.get("stream") for step in found)


def test_every_prompt_says_that_it_is_a_sample() -> None:
    assert all(step.fields["system"].startswith(traffic.MARK) for step in traffic.steps())


def test_every_question_has_one_written_answer() -> None:
    asked = {step.fields["prompt"] for step in traffic.steps()} - {traffic.FAILS}
    assert asked == set(KNOWN.text)
    rows = [row for _, name in traffic._DESKS for row in traffic._table(name)["answers"]]
    others = [row["asked"] for found in traffic._OTHERS.values() for row in found]
    times = Counter([one for row in rows for one in row["asked"]] + others)
    assert {one for one, count in times.items() if count > 1} == set()


def test_phrasings_share_an_answer_and_near_misses_do_not() -> None:
    assert KNOWN.serves("How do I return an item?", "How do I send an item back?") is True
    for one, other in (
        ("How heavy is the Fjell 40 backpack?", "How heavy is the Fjell 60 backpack?"),
        ("How do I enable two-step sign-in?", "How do I disable two-step sign-in?"),
        ("How long does delivery to Norway take?", "How long does delivery to Sweden take?"),
    ):
        assert KNOWN.serves(one, other) is False
    assert KNOWN.serves("How do I return an item?", "What is this?") is None


def test_a_ticket_of_one_queue_answers_for_another_of_it() -> None:
    charged, fee = "I was charged twice for order 48213.", "My discount code was not applied"
    assert KNOWN.serves(charged, f"{fee} at checkout.") is True
    assert KNOWN.serves(charged, "The return label does not print.") is False


def test_the_simulated_claude_answers_the_sample_alone() -> None:
    question = "How long does a refund take?"
    of_sample = direct(body(f"{traffic.MARK}\n\nAnything.", question))
    assert of_sample is not None
    assert of_sample.text == KNOWN.text[question]
    in_blocks = [{"type": "text", "text": f"{traffic.MARK} Anything."}]
    assert direct(body(in_blocks, question)) == of_sample
    others: tuple[Any, ...] = (None, "You are a support agent.", [])
    for system in others:
        assert direct(body(system, question)) is None
    assert direct(body(traffic.MARK, "A question that nobody wrote.")) is None


def test_one_question_of_the_sample_fails() -> None:
    found = direct(body(traffic.MARK, traffic.FAILS))
    assert isinstance(found, Directives)
    assert found.fault is not None
    assert (found.fault.kind, found.fault.status) == ("error", traffic.FAILED_STATUS)
