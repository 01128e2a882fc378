"""The linter: what it finds, what it proposes, and what it never touches."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.types import Nanodollars, Usage
from cacheserver.lint.rules import Finding, lint
from cacheserver.lint.words import fillers, shorter
from tests.models import ROOT

MODEL = "claude-haiku-5-5"
LONG = "Never promise a refund before the order number has been checked by a person.\n"


def price(model: str, usage: Usage) -> Nanodollars | None:
    assert model == MODEL
    return usage.input_tokens * 100 + usage.output_tokens * 500


def found(body: dict[str, Any], *, a_day: int = 10) -> list[Finding]:
    asked = {"model": MODEL, "max_tokens": 100, **body}
    asked.setdefault("messages", [{"role": "user", "content": "Hi"}])
    return lint(asked, model=MODEL, requests_a_day=a_day, price=price)


def one(body: dict[str, Any], code: str) -> Finding:
    [finding] = [finding for finding in found(body) if finding.code == code]
    return finding


@pytest.mark.parametrize(
    ("text", "proposed"),
    [
        ("Please note that refunds take 5 days.", "Refunds take 5 days."),
        ("I would like you to summarise the text.", "Summarise the text."),
        ("Could you please summarise the text?", "Summarise the text?"),
        ("Read it in order to answer.", "Read it to answer."),
        ("In order to answer, read it.", "To answer, read it."),
        ("Answer due to the fact that I asked.", "Answer because I asked."),
        ("It is very important to note that the sky is blue.", "The sky is blue."),
        ("Be very clear.", "Be clear."),
        ("Say it.\n\n\n\nThen stop.", "Say it.\n\nThen stop."),
        ("Say  it   now.", "Say it now."),
    ],
)
def test_filler_leaves_and_the_sentence_stays(text: str, proposed: str) -> None:
    assert shorter(text) == proposed


@pytest.mark.parametrize(
    "text",
    [
        "Summarise the text.",
        'Say "please note that" to the customer.',
        "Say “please wait” to the customer.",
        "Run `make sure to` in the shell.",
        "```\nplease note that\n```",
        "Fill {please note that} in.",
        "<please note that>",
        "See https://example.com/please%20note",
        "    please note that this is code",
        "Pleasenote that",
        "displease them",
        "",
    ],
)
def test_what_is_quoted_or_code_is_never_touched(text: str) -> None:
    assert shorter(text) == text


words = st.sampled_from(
    (
        *("please ", "note that ", "in order to ", "make sure to ", "not ", "never ", "no ", "5 "),
        *("10%", "prior to ", "`", '"', "{", "}", "\n", "  ", "very ", "important ", "the "),
        *("order ", ". "),
    )
)


@given(st.lists(words, max_size=40).map("".join))
def test_numbers_and_negations_survive_every_proposal(text: str) -> None:
    proposed = shorter(text)
    assert len(proposed) <= len(text)
    assert re.findall(r"\d[\d%]*", proposed) == re.findall(r"\d[\d%]*", text)
    kept = re.compile(r"\b(?:not|never|no)\b", re.I)
    assert [w.lower() for w in kept.findall(proposed)] == [w.lower() for w in kept.findall(text)]


@given(st.lists(words, max_size=40).map("".join))
def test_quoted_text_survives_every_proposal(text: str) -> None:
    quoted = f'{text.replace(chr(34), "").replace("`", "")}"please keep this"'
    assert quoted.rpartition('"please')[2] in shorter(quoted)
    assert '"please keep this"' in shorter(quoted)


def test_a_finding_tells_the_phrases_the_tokens_and_the_money() -> None:
    text = "Please note that refunds take 5 days. " + "x" * 100
    finding = one({"system": text}, "filler")
    assert finding.where == "system"
    assert "note that" in finding.message
    assert (finding.before, finding.after) == (56, 49)
    assert finding.saves == 7 * 100 * 10
    assert fillers(text) == ["please note that"]


def test_a_long_line_said_twice_is_found_across_fields() -> None:
    turn = {"role": "user", "content": f"{LONG}Where is my order?"}
    finding = one({"system": LONG, "messages": [turn]}, "repeated")
    assert finding.where == "messages.0.content"
    assert finding.proposed == "Where is my order?"


def test_short_lines_may_be_said_twice() -> None:
    assert found({"system": "- yes\n- yes\n"}) == []


def test_indented_json_is_shown_without() -> None:
    value = {"orders": [{"id": n, "state": "sent"} for n in range(5)]}
    text = f"Orders:\n{json.dumps(value, indent=4)}\nAnswer."
    finding = one({"messages": [{"role": "user", "content": text}]}, "pretty-json")
    assert finding.proposed is not None
    assert json.loads(finding.proposed) == value
    assert finding.before is not None
    assert finding.after is not None
    assert finding.after < finding.before


def test_encoded_data_as_text_is_found() -> None:
    finding = one({"messages": [{"role": "user", "content": "QUJD" * 200}]}, "base64")
    assert finding.after == 0


def test_a_time_early_in_the_system_prompt_is_found_and_not_shown() -> None:
    finding = one({"system": f"It is 2026-11-21 14:03:22. {LONG * 3}"}, "fragment")
    assert "2026" not in finding.message
    assert "character 6" in finding.message
    assert finding.before is not None
    assert finding.before > 80


def test_json_asked_for_in_words_is_better_asked_for_by_format() -> None:
    asked = {"messages": [{"role": "user", "content": "Answer with a JSON object only."}]}
    assert one(asked, "no-format").saves == 40 * 500 * 10
    formatted = {**asked, "output_config": {"format": {"type": "json_schema", "schema": {}}}}
    assert found(formatted) == []


def test_nothing_that_bounds_the_answer_is_found() -> None:
    assert one({"max_tokens": None}, "no-max-tokens").where == "max_tokens"


def marked(text: str, ttl: str = "5m") -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": ttl}}


def test_marks_that_cannot_work_are_found() -> None:
    many = [marked(f"{n} {LONG * 40}") for n in range(5)]
    assert one({"system": many}, "marks").where == "system.4"
    disordered = [marked(LONG * 40), marked("x" + LONG * 40, "1h")]
    assert "hour" in one({"system": disordered}, "marks").message
    assert one({"system": [marked("Short.")]}, "too-short-to-cache").where == "system.0"
    dated = [marked(f"Today is 2026-11-21. {LONG * 40}")]
    assert one({"system": dated}, "mark-on-fragment").where == "system.0"


def test_a_prompt_that_wastes_nothing_has_no_findings() -> None:
    assert found({"system": "You answer for a bicycle shop. Be brief."}) == []


def test_the_dearest_comes_first_and_every_code_is_known() -> None:
    findings = found(
        {
            "system": f"It is 2026-11-21 14:03:22. Please note that we sell bicycles. {LONG * 9}",
            "max_tokens": None,
        }
    )
    page = (ROOT / "docs/lint.md").read_text()
    assert all(f"`{finding.code}`" in page for finding in findings)
    savings = [finding.saves or 0 for finding in findings]
    assert savings == sorted(savings, reverse=True)
    assert findings[0].code == "fragment"


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("Never do \u200bthis.", "invisible", "U+200B ZERO WIDTH SPACE at character 9"),
        ("\x1b[31mStop\x1b[0m", "invisible", "U+001B unnamed at character 0 and 1 more time"),
        (
            "Ask p\u0430ypal.",
            "look-alike",
            "U+0430 CYRILLIC SMALL LETTER A at character 5",
        ),
    ],
)
def test_what_does_not_look_as_it_is_is_told_by_its_code_point(
    text: str, code: str, told: str
) -> None:
    finding = one({"system": text}, code)
    assert told in finding.message
    assert finding.message.isprintable()
    assert (finding.before, finding.proposed, finding.saves) == (None, None, None)


def test_a_text_with_unseen_characters_gets_no_shorter_one() -> None:
    """A denial that one of them cuts in two is no word to who counts denials."""
    text = "Please note that refunds are n\u200bot due to the fact that you asked."
    assert [finding.code for finding in found({"system": text})] == ["invisible"]
    blob = '{\n  "a": "x\u200by",\n  "b": 1,\n  "c": 2\n}'
    assert [finding.code for finding in found({"system": blob})] == ["invisible"]


@pytest.mark.parametrize(
    "other",
    [
        LONG.replace("refund", "re\u200bfund"),
        LONG.replace(" refund", "\u00a0refund"),
        LONG.replace("refund", "re\u00adfund"),
        LONG.replace("before", "b\u0435fore"),
        LONG.replace("checked", "chec\u212aed"),
        LONG.replace(" by", "\x1cby"),
    ],
)
def test_a_line_that_only_looks_the_same_is_not_said_twice(other: str) -> None:
    assert other != LONG
    codes = {finding.code for finding in found({"system": f"{LONG}{other}"})}
    assert "repeated" not in codes


def test_a_line_in_other_case_or_spacing_is_said_twice() -> None:
    other = f"  {LONG.upper().replace(' ', '  ')}"
    assert one({"system": f"{LONG}{other}"}, "repeated").proposed == LONG
