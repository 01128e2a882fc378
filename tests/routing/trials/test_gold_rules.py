"""Gold sets as operators write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.validation import Check
from cacheserver.routing.trials import gold_rules

ASKED = {"messages": [{"role": "user", "content": "hi"}]}


def lines(*rows: Any) -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in rows)


def test_prompts_and_bodies_are_read_and_kept_as_they_were() -> None:
    rows = (
        {"prompt": "Refund or order?", "expected": "refund"},
        {"body": {**ASKED, "model": "x", "max_tokens": 5, "system": "s"}, "check": {"json": True}},
    )
    first, second = gold_rules.read(lines(*rows) + b"\n\n")
    assert first.body["messages"] == [{"role": "user", "content": "Refund or order?"}]
    assert (first.expected, first.check) == ("refund", None)
    assert "model" not in second.body
    assert (second.body["max_tokens"], second.check) == (5, Check(json=True))
    for item in (first, second):
        assert gold_rules.item_of(json.loads(json.dumps(gold_rules.as_json(item)))) == item


def test_a_question_is_asked_of_the_model_without_what_shapes_no_answer() -> None:
    (item,) = gold_rules.read(
        lines({"body": {**ASKED, "stream": True, "metadata": {}}, "expected": "x"})
    )
    body = gold_rules.body_for(item, "claude-haiku-5-5")
    assert body["model"] == "claude-haiku-5-5"
    assert not {"stream", "metadata"} & body.keys()
    assert body["max_tokens"] > 1_024


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (b"", "body"),
        (b"\n \n", "body"),
        (b"{", "line 1"),
        (b"[]", "line 1"),
        (lines({"prompt": "a", "expected": "b"}, {"prompt": "a"}), "line 2.expected"),
        (lines({"expected": "b"}), "line 1.prompt"),
        (lines({"prompt": "a", "body": ASKED, "expected": "b"}), "line 1.prompt"),
        (lines({"prompt": " ", "expected": "b"}), "line 1.prompt"),
        (lines({"prompt": "a", "expected": 1}), "line 1.expected"),
        (lines({"prompt": "a", "expect": "b"}), "line 1.expect"),
        (lines({"prompt": "a", "check": {"json": 1}}), "line 1.check.json"),
        (lines({"body": {"messages": []}, "expected": "b"}), "line 1.body.messages"),
        (lines({"body": 1, "expected": "b"}), "line 1.body"),
        (lines({"body": {**ASKED, "tools": [{}]}, "expected": "b"}), "line 1.body.tools"),
        (lines(*[{"prompt": "a", "expected": "b"}] * 501), "body"),
    ],
)
def test_a_set_that_will_not_do_is_refused_with_its_line(sent: bytes, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        gold_rules.read(sent)
    assert refused.value.field == field
