"""Declared questions: what was not named still separates, and nothing is inferred."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from cacheserver.cache.ask_key import ask_key
from cacheserver.cache.controls import query_controls, read_controls
from cacheserver.cache.fingerprint import read
from cacheserver.core.errors import BadRequest
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.rules.declared import DeclaredRules
from cacheserver.core.types import Controls, Declaration, Query, Tenant, VolatilityCaps
from cacheserver.english.language import english

Body = dict[str, Any]

DECLARING = Tenant("t", declared=DeclaredRules(enabled=True))
QUESTION = "What is the warranty of the X200?"
DOCUMENT = "The X200 has a warranty of two years."


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def rag(document: str = DOCUMENT, asked: str = QUESTION, **fields: Any) -> Body:
    """A prompt with a template, a document, and the question behind it."""
    return {
        "model": "claude-haiku-5-5",
        "max_tokens": 100,
        "system": [text("Answer from the document alone."), text("Be brief.")],
        "messages": [{"role": "user", "content": [text(document), text(asked)]}],
        **fields,
    }


BLOCKS = ("messages.0.content",)


def declare(
    body: Body,
    question: str = QUESTION,
    context: tuple[str, ...] = (),
    blocks: tuple[str, ...] = BLOCKS,
    *,
    tenant: Tenant = DECLARING,
    **controls: Any,
) -> Query:
    declared = Declaration(question, tuple(sorted(context)), blocks)
    return plain(body, tenant=tenant, declared=declared, **controls)


def plain(body: Body, *, tenant: Tenant = DECLARING, **controls: Any) -> Query:
    return read(
        body,
        json.dumps(body).encode(),
        headers={},
        tenant=tenant,
        controls=Controls(**controls),
        upstream="simulated",
        language=english(),
    )


def keys(query: Query) -> tuple[str, str]:
    return query.fingerprint, query.scope


def test_question_and_context_stand_for_what_is_named() -> None:
    one = declare(rag("Two years.", "And the X200?"), context=("kb@v1",))
    other = declare(rag("It is covered for 24 months.", "warranty??"), context=("kb@v1",))
    assert keys(one) == keys(other)
    assert one.text == other.text == "What is the warranty of the X200?"
    assert one.scope


def test_claude_gets_the_prompt_and_only_the_keys_change() -> None:
    body = rag()
    query = declare(copy.deepcopy(body), context=("kb@v1",))
    assert query.body == body
    assert query.raw == json.dumps(body).encode()


def test_similar_questions_share_a_scope_and_no_fingerprint() -> None:
    one = declare(rag())
    other = declare(rag(), question="How long is the X200's warranty?")
    assert one.scope == other.scope
    assert one.fingerprint != other.fingerprint


def test_context_keys_are_tags_that_a_purge_can_name() -> None:
    query = declare(rag(), context=("kb@v2", "doc:7"), tags=("mine",))
    assert query.controls.tags == ("mine", "context:doc:7", "context:kb@v2")


@pytest.mark.parametrize(
    ("context", "other"),
    [((), ("a",)), (("a",), ("b",)), (("a",), ("a", "b")), (("ab",), ("a", "b"))],
)
def test_two_contexts_never_meet(context: tuple[str, ...], other: tuple[str, ...]) -> None:
    one, two = declare(rag(), context=context), declare(rag(), context=other)
    assert one.fingerprint != two.fingerprint
    assert one.scope != two.scope


def test_labels_and_bars_outlive_a_version_of_the_documents() -> None:
    made = [declare(rag(), context=context) for context in ((), ("kb@v1",), ("kb@v2",))]
    assert len({query.scope for query in made}) == 3
    (label_scope,) = {query.label_scope for query in made}
    assert label_scope not in {query.scope for query in made}
    undeclared = plain(rag())
    assert undeclared.label_scope == undeclared.scope != label_scope
    other = declare(rag(**OTHERS["system"]), context=("kb@v1",))
    assert other.label_scope != label_scope


def test_the_order_of_context_keys_does_not_matter() -> None:
    one = read_controls({"x-cache-question": "q", "x-cache-context": "b, a,b"})
    other = read_controls({"x-cache-question": "q", "x-cache-context": "a,b"})
    assert one == other


# Everything but the two blocks that are named, each changed a little.
OTHERS: dict[str, Mapping[str, Any]] = {
    "system": {"system": [text("Answer from the document alone."), text("Be long.")]},
    "no system": {"system": None},
    "model": {"model": "claude-sonnet-5-5"},
    "max_tokens": {"max_tokens": 101},
    "tools": {"tools": [{"name": "f", "input_schema": {}}]},
    "a field of tomorrow": {"b": 1},
    "one turn more": {
        "messages": [
            {"role": "user", "content": [text(DOCUMENT), text(QUESTION)]},
            {"role": "assistant", "content": "Two years."},
            {"role": "user", "content": "And the X300?"},
        ]
    },
    "role": {"messages": [{"role": "system", "content": [text(DOCUMENT), text(QUESTION)]}]},
}


@pytest.mark.parametrize("change", sorted(OTHERS.keys() - {"role"}))
def test_what_is_not_named_still_separates(change: str) -> None:
    one, other = declare(rag()), declare(rag(**OTHERS[change]))
    assert one.fingerprint != other.fingerprint
    assert one.scope != other.scope


@pytest.mark.parametrize("block", range(2))
def test_a_block_beside_a_named_one_still_separates(block: int) -> None:
    named = (f"messages.-1.content.{1 - block}",)
    bodies = rag(), rag("Another document.", "Another question?")
    one, other = (declare(body, blocks=named) for body in bodies)
    assert one.fingerprint != other.fingerprint
    assert one.scope != other.scope
    same = (declare(rag(DOCUMENT, asked), blocks=("messages.0.content.1",)) for asked in "ab")
    assert len({keys(query) for query in same}) == 1


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}}


def test_an_image_that_is_not_named_separates_and_is_matched_exactly() -> None:
    content = [text(DOCUMENT), IMAGE, text(QUESTION)]
    body = rag(messages=[{"role": "user", "content": content}])
    named = ("messages.0.content.0", "messages.0.content.2")
    one = declare(body, blocks=named)
    assert (one.text, one.exact_only, one.scope) == (None, "image", "")
    other = copy.deepcopy(body)
    other["messages"][0]["content"][1]["source"]["data"] = "ab"
    assert declare(other, blocks=named).fingerprint != one.fingerprint
    assert declare(body).exact_only is None  # named, it is replaced


def test_tools_are_matched_exactly_as_ever() -> None:
    query = declare(rag(tools=[{"name": "f", "input_schema": {}}]))
    assert (query.text, query.exact_only) == (None, "tools")


def test_runs_of_turns_of_any_length_are_one_placeholder() -> None:
    """Two chats with histories of their own meet where both declare all turns replaced."""
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And that one?"},
    ]
    short, long = rag(messages=turns), rag(messages=turns[:2] + turns)
    for blocks in (("messages",), ("messages.0:",), ("messages.-1", "messages.0:-1")):
        one, other = (declare(body, blocks=blocks) for body in (short, long))
        assert keys(one) == keys(other)
        assert one.controls.declared is not None
        assert one.controls.declared.blocks == ("messages.0:3",)
    first = declare(short, blocks=("messages.1:",))
    assert keys(first) == keys(declare(long, blocks=("messages.1:",)))
    assert keys(first) != keys(declare(short, blocks=("messages",)))


def test_another_choice_of_blocks_is_another_request() -> None:
    body = rag()
    choices: list[tuple[str, ...]] = [
        *(("messages",), ("messages.0.content",), ("messages.0.content.0",)),
        *(("messages.0.content.1",), ("system", "messages"), ("system.0", "messages")),
        *(("system.1", "messages"), ("system",)),
    ]
    made = [declare(body, blocks=blocks) for blocks in choices]
    assert len({query.fingerprint for query in made}) == len(choices)
    assert len({query.scope for query in made}) == len(choices)


@pytest.mark.parametrize(
    ("blocks", "canonical"),
    [
        (("messages.-1.content.-1",), ("messages.0.content.1",)),
        (("messages.0.content.0", "messages.0.content.1"), ("messages.0.content.0:2",)),
        (("system",), ("system.0:2",)),
        (("system.-1", "messages.0"), ("system.1", "messages.0")),
        (("messages.0", "messages.0.content.1"), ("messages.0",)),
    ],
)
def test_the_decision_names_the_blocks_by_their_places(
    blocks: tuple[str, ...], canonical: tuple[str, ...]
) -> None:
    declared = declare(rag(), blocks=blocks).controls.declared
    assert declared is not None
    assert declared.blocks == canonical
    assert keys(declare(rag(), blocks=canonical)) == keys(declare(rag(), blocks=blocks))


def test_a_string_is_one_block() -> None:
    body = rag(system="Be brief.", messages=[{"role": "user", "content": "Long prompt"}])
    blocks = ("system.0", "messages.-1.content.0")
    spelt = rag(
        system=[text("Be long.")], messages=[{"role": "user", "content": [text("Another")]}]
    )
    assert keys(declare(body, blocks=blocks)) == keys(declare(spelt, blocks=blocks))


@pytest.mark.parametrize(
    "name",
    [
        *("system.2", "system.-3", "messages.1", "messages.-2", "messages.1:", "messages.0:0"),
        *("messages.0.content.2", "messages.1.content", "messages.0.content.5:9"),
    ],
)
def test_a_block_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match=f"there is no `{name}`") as refused:
        declare(rag(), blocks=(name,))
    assert refused.value.field == "x-cache-context-blocks"


def test_no_system_prompt_cannot_be_named() -> None:
    with pytest.raises(BadRequest, match="there is no `system`"):
        declare(rag(system=None), blocks=("system",))


@pytest.mark.parametrize(
    "name",
    [
        *("", "tools", "tools.0", "model", "system.x", "system.0.text", "messages.0.role"),
        *("messages.content", "messages.0:2.content", "messages..1", "messages.0.content.0.text"),
        *("system.1e3", "messages.+1", "messages.\u0663", "messages.0 ", 7, None),
    ],
)
def test_a_name_of_another_form_is_refused(name: Any) -> None:
    with pytest.raises(BadRequest, match="each name must be like") as refused:
        query_controls({"question": "q", "context_blocks": [name]}, {})
    assert refused.value.field == "context_blocks"


def test_a_turn_that_claude_continues_cannot_be_replaced() -> None:
    prefilled = rag()
    prefilled["messages"].append({"role": "assistant", "content": "The warranty is"})
    for blocks in (("messages",), ("messages.1.content.0",)):
        with pytest.raises(BadRequest, match="not the user's"):
            declare(prefilled, blocks=blocks)
    assert declare(prefilled).exact_only == "prefill"


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"x-cache-context": "kb"}, "x-cache-question"),
        ({"x-cache-context-blocks": "messages"}, "x-cache-question"),
        ({"x-cache-question": "q"}, "x-cache-context-blocks"),
        ({"x-cache-question": "q", "x-cache-context": "kb"}, "x-cache-context-blocks"),
    ],
)
def test_half_a_declaration_is_refused(headers: dict[str, str], field: str) -> None:
    with pytest.raises(BadRequest, match="is required") as refused:
        plain(rag(), declared=read_controls(headers).declared)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"x-cache-context": "kb", "x-cache-question": "q"}, "x-cache-question"),
        ({"x-cache-context": "kb"}, "x-cache-context"),
        ({"x-cache-context-blocks": "messages"}, "x-cache-context-blocks"),
    ],
)
def test_a_tenant_must_have_opted_in(headers: dict[str, str], field: str) -> None:
    with pytest.raises(BadRequest, match=r"`declared\.enabled`") as refused:
        plain(rag(), tenant=Tenant("t"), declared=read_controls(headers).declared)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cache_question": "q"}, "cache_question"),
        ({"cache_context": ["kb"]}, "cache_context"),
        ({"system": [text("a", cache_context=True)]}, "system.0.cache_context"),
        (
            {"messages": [{"role": "user", "content": [text("a", cache_context=True)]}]},
            "messages.0.content.0.cache_context",
        ),
        (
            {"messages": [{"role": "user", "content": "a", "cache_context": True}]},
            "messages.0.cache_context",
        ),
    ],
)
def test_so_it_must_for_marks(change: Body, field: str) -> None:
    with pytest.raises(BadRequest, match=r"`declared\.enabled`") as refused:
        plain(rag(**change), tenant=Tenant("t"))
    assert refused.value.field == field


def test_a_tenant_may_require_a_context_key() -> None:
    strict = Tenant("t", declared=DeclaredRules(enabled=True, require_context=True))
    with pytest.raises(BadRequest, match=r"`declared\.require_context`") as refused:
        declare(rag(), tenant=strict)
    assert refused.value.field == "x-cache-context"
    assert declare(rag(), context=("kb@v1",), tenant=strict).scope


# Marks in the body


def marked(**fields: Any) -> Body:
    body = rag(cache_question=QUESTION, cache_context="kb@v1", **fields)
    for block in body["messages"][-1]["content"]:
        block["cache_context"] = True
    return body


def test_marks_say_what_names_say_and_claude_never_sees_them() -> None:
    by_marks = plain(marked())
    by_names = declare(rag(), context=("kb@v1",))
    assert keys(by_marks) == keys(by_names)
    assert by_marks.controls == by_names.controls
    assert by_marks.body == rag()
    assert json.loads(by_marks.raw) == rag()


def test_marks_headers_and_fields_are_one_declaration() -> None:
    body = rag(cache_context=["kb@v1"])
    body["messages"][0]["content"][0]["cache_context"] = True
    headers = {"x-cache-question": QUESTION, "x-cache-context-blocks": "messages.0.content.1"}
    joined = plain(body, declared=read_controls(headers).declared)
    assert keys(joined) == keys(declare(rag(), context=("kb@v1",)))
    with pytest.raises(BadRequest, match="send one"):
        plain(rag(cache_question="Another?"), declared=read_controls(headers).declared)


@pytest.mark.parametrize("value", [False, None, "true", 1, {}])
def test_a_mark_is_true_or_not_there(value: Any) -> None:
    body = rag(cache_question=QUESTION)
    body["system"][1]["cache_context"] = value
    with pytest.raises(BadRequest, match="must be true") as refused:
        plain(body)
    assert refused.value.field == "system.1.cache_context"


@pytest.mark.parametrize("value", [True, 7, ["a b"], [["a"]], {"a": 1}, ["k"] * 2 + [7], ""])
def test_context_keys_beside_the_messages_are_checked(value: Any) -> None:
    with pytest.raises(BadRequest, match="each key must be") as refused:
        plain({**marked(), "cache_context": value})
    assert refused.value.field == "cache_context"


def test_a_mark_elsewhere_is_the_callers_own() -> None:
    """In a tool's schema or input `cache_context` is a name like any other."""
    schema = {"type": "object", "properties": {"cache_context": {"type": "boolean"}}}
    tools = [{"name": "f", "input_schema": schema}]
    body = rag(tools=tools)
    assert plain(body, tenant=Tenant("t")).raw == json.dumps(body).encode()


# Questions


@pytest.mark.parametrize(
    ("header", "question"),
    [
        ("What is 50% of 8?", "What is 50% of 8?"),
        ("UTF-8''Was%20kostet%20ein%20Caf%C3%A9%3F", "Was kostet ein Café?"),
        ("utf-8'de'%E2%82%AC", "€"),
        ("UTF-8''a, b; c", "a, b; c"),
        ("UTF-8'' ' '", " ' '"),
        ("ISO-8859-1''%E9", "ISO-8859-1''%E9"),
    ],
)
def test_a_question_in_a_header_is_ascii_or_rfc_8187(header: str, question: str) -> None:
    declared = read_controls({"x-cache-question": header}).declared
    assert declared is not None
    assert declared.question == question


@pytest.mark.parametrize(
    "header", ["", "  ", "caf\xe9", "a\x00", "UTF-8''%zz", "UTF-8''%E9", "UTF-8''%2", "UTF-8''%20"]
)
def test_another_spelling_is_refused(header: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_controls({"x-cache-question": header})
    assert refused.value.field == "x-cache-question"


@given(st.text(min_size=1, max_size=40).filter(lambda words: words.strip()))
def test_any_question_fits_in_a_header(words: str) -> None:
    try:
        header = "UTF-8''" + quote(words, safe="")
    except UnicodeEncodeError:  # half a surrogate pair
        return
    declared = read_controls({"x-cache-question": header}).declared
    assert declared is not None
    assert declared.question == words


def test_a_question_is_one_header() -> None:
    twice = Headers(raw=[(b"x-cache-question", b"a"), (b"x-cache-question", b"b")])
    with pytest.raises(BadRequest, match="given twice"):
        read_controls(twice)


@pytest.mark.parametrize("question", ["", " \n", "a" * 32_769, 7, ["a"], True])
def test_a_question_has_a_length(question: Any) -> None:
    with pytest.raises(BadRequest, match="1 to 32,768 characters") as refused:
        query_controls({"question": question}, {})
    assert refused.value.field == "question"


@pytest.mark.parametrize("key", ["", "a b", "k" * 129, "é", "a,b", 7, None])
def test_a_context_key_has_a_form(key: Any) -> None:
    with pytest.raises(BadRequest, match="each key must be") as refused:
        query_controls({"question": "q", "context": [key]}, {})
    assert refused.value.field == "context"


def test_keys_and_names_are_counted() -> None:
    with pytest.raises(BadRequest, match="at most 32 keys"):
        query_controls({"question": "q", "context": [f"k{n}" for n in range(33)]}, {})
    with pytest.raises(BadRequest, match="at most 64 names"):
        query_controls(
            {"question": "q", "context_blocks": [f"messages.{n}" for n in range(65)]}, {}
        )
    half = {"x-cache-context": ",".join(f"k{n}" for n in range(20))}
    with pytest.raises(BadRequest, match="at most 32 keys"):
        query_controls({"question": "q", "context": [f"l{n}" for n in range(20)]}, half)


def test_unseen_characters_and_code_in_a_question_are_matched_exactly() -> None:
    assert declare(rag(), question="What is the war\u200branty?").exact_only == "unreadable"
    assert declare(rag(), question="if x:\n    a()\n    b()").exact_only == "code"


def test_volatility_is_read_on_the_question_and_on_what_stays() -> None:
    assert declare(rag(), question="What is the weather today?").volatile == "time"
    stays = rag(DOCUMENT, "Say only what holds today: what is the weather now?")
    assert declare(stays, blocks=("messages.0.content.0",)).volatile == "time"
    assert declare(stays).volatile is None
    assert declare(rag(), question="Where is my order?").bypass == "volatile-personal"
    personal = replace(DECLARING, volatility=VolatilityCaps(personal_s=None))
    assert declare(rag(), question="Where is my order?", tenant=personal).bypass is None


def test_what_must_not_be_shared_is_not_shared_by_a_declaration() -> None:
    """A named block may hold what makes a request a bypass: the whole body is read for that."""
    by_url = {"type": "document", "source": {"type": "url", "url": "https://a.example/x.pdf"}}
    body = rag(messages=[{"role": "user", "content": [by_url, text(QUESTION)]}])
    assert declare(body).bypass == "url-source"
    assert declare(rag(container="c1")).bypass == "container"


# Sharing a call


def test_a_call_is_shared_only_by_equal_prompts() -> None:
    one, other = declare(rag("One.")), declare(rag("Other."))
    assert one.fingerprint == other.fingerprint
    assert ask_key(one) != ask_key(other)
    assert ask_key(one) == ask_key(declare(rag("One.")))
    spelt = rag("One.", stream=True, metadata={"user_id": "u"})
    assert ask_key(one) == ask_key(declare(spelt))


def test_a_tenant_may_let_equal_declarations_share_a_call() -> None:
    sharing = Tenant("t", declared=DeclaredRules(enabled=True, share_calls=True))
    one, other = (declare(rag(word), tenant=sharing) for word in ("One.", "Other."))
    assert ask_key(one) == ask_key(other)


# Properties

words = st.sampled_from(["a", "b", "What is new?", QUESTION, "null", ""])
blocks_of_text = st.builds(text, words)
turns = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant"]),
    words | st.lists(blocks_of_text, min_size=1, max_size=3),
)
bodies = st.builds(
    lambda system, earlier, last, more: {
        **rag(),
        **more,
        "system": system,
        "messages": [*earlier, {"role": "user", "content": last}],
    },
    words | st.lists(blocks_of_text, min_size=1, max_size=3),
    st.lists(turns, max_size=3),
    words | st.lists(blocks_of_text, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["x", "declared", "thinking"]), words, max_size=2),
)
contexts = st.lists(st.sampled_from(["a", "b", "ab", "a@1"]), max_size=2).map(
    lambda found: tuple(sorted(set(found)))
)


def places(body: Body) -> list[str]:
    """The name of every block and turn that may be replaced."""
    found = [f"system.{at}" for at in range(size(body["system"]))]
    for at, turn in enumerate(body["messages"]):
        found.append(f"messages.{at}")
        found += [f"messages.{at}.content.{place}" for place in range(size(turn["content"]))]
    return found


def size(content: Any) -> int:
    return len(content) if isinstance(content, list) else 1


def left(body: Body, named: tuple[str, ...]) -> Any:
    """The body with one word for each run of replaced neighbours, written plainly."""

    def list_of(content: Any, at: str) -> list[Any]:
        items = content if isinstance(content, list) else [text(content)]
        return run(["-" if f"{at}.{n}" in named else one for n, one in enumerate(items)])

    def run(items: list[Any]) -> list[Any]:
        return [one for n, one in enumerate(items) if one != "-" or n == 0 or items[n - 1] != "-"]

    messages = [
        "-"
        if f"messages.{at}" in named
        else {**turn, "content": list_of(turn["content"], f"messages.{at}.content")}
        for at, turn in enumerate(body["messages"])
    ]
    return {**body, "system": list_of(body["system"], "system"), "messages": run(messages)}


@st.composite
def declared_bodies(draw: st.DrawFn) -> tuple[Body, tuple[str, ...], str, tuple[str, ...]]:
    body = draw(bodies)
    named = draw(st.lists(st.sampled_from(places(body)), min_size=1, max_size=4, unique=True))
    return body, tuple(named), draw(st.sampled_from([QUESTION, "q", "Q"])), draw(contexts)


@settings(max_examples=300)
@given(declared_bodies(), declared_bodies())
def test_two_declared_requests_meet_only_where_all_that_was_not_named_is_equal(
    one: tuple[Body, tuple[str, ...], str, tuple[str, ...]],
    other: tuple[Body, tuple[str, ...], str, tuple[str, ...]],
) -> None:
    first, second = (
        declare(copy.deepcopy(body), question, context, named)
        for body, named, question, context in (one, other)
    )
    same = (left(one[0], one[1]), one[3]) == (left(other[0], other[1]), other[3])
    assert (first.scope == second.scope) is same
    assert (first.fingerprint == second.fingerprint) is (same and one[2] == other[2])


@given(declared_bodies(), bodies)
def test_a_declared_question_meets_no_request_that_declares_nothing(
    one: tuple[Body, tuple[str, ...], str, tuple[str, ...]], other: Body
) -> None:
    body, named, question, context = one
    declared = declare(copy.deepcopy(body), question, context, named)
    bare = {**rag(), "system": None, "messages": [{"role": "user", "content": question}]}
    forged = {**other, "declared": {"context": list(context), "question": question}}
    for undeclared in (plain(body), plain(other), plain(bare), plain(forged)):
        assert declared.fingerprint not in keys(undeclared)
        assert not declared.scope or declared.scope not in keys(undeclared)


@given(declared_bodies())
def test_a_declaration_meets_no_other_tenants(
    one: tuple[Body, tuple[str, ...], str, tuple[str, ...]],
) -> None:
    body, named, question, context = one
    mine = declare(copy.deepcopy(body), question, context, named)
    other = replace(DECLARING, name="other")
    theirs = declare(copy.deepcopy(body), question, context, named, tenant=other)
    assert mine.fingerprint != theirs.fingerprint
    assert not mine.scope or mine.scope != theirs.scope


@given(declared_bodies())
def test_marks_are_stripped_and_all_else_stays_as_it_was(
    one: tuple[Body, tuple[str, ...], str, tuple[str, ...]],
) -> None:
    body, named, question, context = one
    bodied = json.loads(json.dumps(body))
    for content in (bodied["system"], *(turn["content"] for turn in bodied["messages"])):
        if not isinstance(content, list):
            return  # a string has no place for a mark
    for name in named:
        *way, last = (int(step) if step.isdecimal() else step for step in name.split("."))
        inner: Any = bodied
        for step in way:
            inner = inner[step]
        inner[last]["cache_context"] = True
    given = {**bodied, "cache_question": question, "cache_context": list(context)}
    by_marks, by_names = plain(given), declare(body, question, context, named)
    assert by_marks.body == body
    assert json.dumps(json.loads(by_marks.raw)) == json.dumps(body)
    assert keys(by_marks) == keys(by_names)


def test_a_tenant_without_content_has_keyed_digests_of_declared_questions_too() -> None:
    tenant = replace(DECLARING, no_content=True, digest_key=b"k" * 32)
    plain_keys = keys(declare(rag()))
    assert keys(declare(rag(), tenant=tenant)) == tuple(keyed(tenant, one) for one in plain_keys)
