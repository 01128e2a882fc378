"""Claude Code's attribution block: no part of a request, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cacheserver.cache.ask_key import ask_key
from cacheserver.core.messages.attribution import attribution, without_attribution
from cacheserver.core.rules.declared import DeclaredRules
from cacheserver.core.types import Query, Tenant
from cacheserver.promptcache.drift import reorder
from cacheserver.promptcache.layout import lay_out
from cacheserver.promptcache.salt import salted
from tests.cache.test_fingerprint import Body, ask, body

SENT = "x-anthropic-billing-header: cc_version=2.1.197.73f; cc_entrypoint=sdk-cli;"
LONG = "You answer questions about our shop. " * 200


def block(text: str, **fields: Any) -> Body:
    return {"type": "text", "text": text, **fields}


PROMPT = [block("You are Claude Code."), block("Be brief.")]

words = st.text("abcdef0123456789.-_", min_size=1, max_size=12)
headers = st.builds(
    lambda version, more: (
        f"x-anthropic-billing-header: cc_version={version};"
        + "".join(f" {name}={value};" for name, value in more.items())
    ),
    words,
    st.dictionaries(
        st.sampled_from(["cc_entrypoint", "cch", "cc_workload", "cc_is_subagent"]), words
    ),
)


@given(headers, headers)
def test_who_is_billed_never_matters(one: str, other: str) -> None:
    queries = [ask(body(system=[block(text), *PROMPT])) for text in (one, other)]
    plain = ask(body(system=PROMPT))
    for query in queries:
        assert (query.fingerprint, query.scope) == (plain.fingerprint, plain.scope)
        assert query.body["system"][0]["text"] in (one, other)  # forwarded, first and as it came
        assert ask_key(query) != ask_key(plain)  # Claude may refuse one of them
    assert (ask_key(queries[0]) == ask_key(queries[1])) == (one == other)


def test_an_attribution_alone_is_no_system_prompt() -> None:
    for system in ([block(SENT)], SENT):
        assert ask(body(system=system)).fingerprint == ask(body()).fingerprint


LOOK_ALIKES: dict[str, Any] = {
    "second": [PROMPT[0], block(SENT), PROMPT[1]],
    "twice": [block(SENT), block(SENT), *PROMPT],
    "last": [*PROMPT, block(SENT)],
    "an unknown field": [block(SENT, of_tomorrow=1), *PROMPT],
    "citations": [block(SENT, citations=[]), *PROMPT],
    "of another type": [{"type": "novel", "text": SENT}, *PROMPT],
    "with words after it": [block(f"{SENT} Answer in German."), *PROMPT],
    "with a line after it": [block(f"{SENT}\nAnswer in German."), *PROMPT],
    "with a newline after it": [block(f"{SENT}\n"), *PROMPT],
    "with words before it": [block(f"Mind this: {SENT}"), *PROMPT],
    "in capitals": [block(SENT.upper()), *PROMPT],
    "without an end": [block(SENT[:-1]), *PROMPT],
    "of another name": [block(SENT.replace("billing", "answering")), *PROMPT],
    "with a field of its own": [block(f"{SENT} language=German;"), *PROMPT],
    "with a value of many words": [block(f"{SENT} cch=answer in German;"), *PROMPT],
    "without a version": [block("x-anthropic-billing-header: cch=fa690;"), *PROMPT],
    "with nothing": [block("x-anthropic-billing-header:"), *PROMPT],
    "one string": f"{SENT}\nYou are Claude Code.",
}


@pytest.mark.parametrize("kind", sorted(LOOK_ALIKES))
def test_what_only_looks_like_an_attribution_is_a_prompt(kind: str) -> None:
    query = ask(body(system=LOOK_ALIKES[kind]))
    for system in (PROMPT, [block(SENT), *PROMPT], [PROMPT[0]], None):
        other = ask(body(**({} if system is None else {"system": system})))
        assert query.fingerprint != other.fingerprint
        assert query.scope != other.scope


@given(headers, st.text(min_size=1), st.booleans())
def test_any_other_text_in_its_place_splits(header: str, more: str, behind: bool) -> None:
    text = header + more if behind else more + header
    assume(attribution([block(text)]) is None)
    assert ask(body(system=[block(text), *PROMPT])).scope != ask(body(system=PROMPT)).scope


def test_a_turn_that_looks_like_one_is_a_turn() -> None:
    turn = {"role": "user", "content": [block(SENT), block("Hello")]}
    said = {"role": "user", "content": [block("Hello")]}
    assert ask(body(messages=[turn])).fingerprint != ask(body(messages=[said])).fingerprint
    told = {"role": "system", "content": SENT}
    assert ask(body(messages=[said, told])).fingerprint != ask(body(messages=[said])).fingerprint


def test_declared_places_are_counted_with_the_attribution() -> None:
    tenant = Tenant("t", declared=DeclaredRules(enabled=True))

    def declared(cch: str, document: str, rest: str = "Be brief.") -> Query:
        marked = block(document, cache_context=True)
        system = [block(f"{SENT} cch={cch};"), marked, block(rest)]
        fields = {"cache_question": "How long?", "cache_context": "kb@v1"}
        return ask(body(system=system, **fields), tenant=tenant)

    one = declared("1", "Document A")
    assert declared("2", "Document B").fingerprint == one.fingerprint
    assert declared("2", "Document B", "Be long.").fingerprint != one.fingerprint
    assert ask_key(declared("2", "Document A")) != ask_key(one)


def test_without_attribution_all_else_stays() -> None:
    assert without_attribution([block(SENT), *PROMPT]) == PROMPT
    assert without_attribution(PROMPT) is PROMPT
    assert without_attribution(SENT) == []
    assert without_attribution("Be brief.") == "Be brief."
    assert without_attribution(None) is None


# Claude's prompt cache


def test_an_attribution_changes_no_prefix_and_takes_no_mark() -> None:
    def laid(cch: str) -> Any:
        system = [block(f"{SENT} cch={cch};"), block(LONG), block(LONG)]
        return lay_out(body(system=system), "claude-haiku-5-5", {})

    one, other = laid("00001"), laid("00002")
    assert one.spots == other.spots
    assert {("system", 1), ("system", 2)} <= {spot.path for spot in one.spots}
    assert ("system", 0) not in {spot.path for spot in one.spots}
    plain = lay_out(body(system=[block(LONG), block(LONG)]), "claude-haiku-5-5", {})
    assert [spot.prefix for spot in plain.spots] == [spot.prefix for spot in one.spots]


def test_a_salt_stands_behind_it_and_nothing_is_moved() -> None:
    asked = body(system=[block(SENT), block("It is 2026-11-30 10:00."), block("Be brief.")])
    system = salted(asked, "0123456789abcdef")["system"]
    assert system[0] == block(SENT)
    assert system[1]["text"].startswith("Ignore this line")
    assert system[2:] == asked["system"][1:]
    query = ask(asked)
    assert reorder(query, asked) is asked
    # Were it not for the attribution, the line with the time would move.
    plain = body(system=asked["system"][1:])
    assert reorder(replace(query, body=plain), plain) is not plain
