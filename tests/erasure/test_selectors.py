"""Selectors of erasures: their fields, and the records that they cover."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.conversation_mark import conversation_mark
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Tenant
from cacheserver.erasure import selectors
from cacheserver.erasure.selectors import Selector, read

GOOD: list[tuple[dict[str, Any], Selector]] = [
    ({"entry_id": "0" * 32}, Selector("entry_id", ("0" * 32,))),
    ({"tag": "a:b/c"}, Selector("tag", ("a:b/c",))),
    ({"namespace": "n"}, Selector("namespace", ("n",))),
    ({"tenant": "acme"}, Selector("tenant", ("acme",))),
    ({"conversation": "c"}, Selector("conversation", ("c",))),
    ({"conversation": "c", "namespace": "n"}, Selector("conversation", ("c",), "n")),
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "entry_id"),
    ({"tag": "a", "actor": "b"}, "actor"),
    ({"tag": "a", "namespace": "n"}, "namespace"),
    ({"entry_id": "*"}, "entry_id"),
    ({"entry_id": ["0" * 32]}, "entry_id"),
    ({"tag": "a b"}, "tag"),
    ({"tag": None}, "tag"),
    ({"actor": ""}, "actor"),
    ({"actor": "a\u200bb"}, "actor"),
    ({"actor": 7}, "actor"),
    ({"conversation": "c", "namespace": "*"}, "namespace"),
    ({"conversation": {}}, "conversation"),
    ({"namespace": "a:b"}, "namespace"),
    ({"tenant": "other"}, "tenant"),
    ({"tenant": None}, "tenant"),
    ({"everything": True}, "everything"),
    ({"tag": "a", "tga": "b"}, "tga"),
]


@pytest.mark.parametrize(("fields", "selector"), GOOD)
def test_one_selector_is_read(fields: dict[str, Any], selector: Selector) -> None:
    assert read(fields, Tenant("acme")) == selector


@pytest.mark.parametrize(("fields", "field"), BAD)
def test_a_selector_that_will_not_do_is_refused_by_its_field(
    fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        read(fields, Tenant("acme"))
    assert refused.value.field == field


def test_an_actor_is_known_by_digests_of_its_tenant_alone() -> None:
    mine, other = read({"actor": "ann"}, Tenant("acme")), read({"actor": "ann"}, Tenant("other"))
    assert "ann" not in mine.values
    assert not set(mine.values) & set(other.values)


MARKS = st.fixed_dictionaries(
    {
        "namespace": st.sampled_from(["n", "m", None]),
        "tags": st.lists(st.sampled_from(["s", "t", "n"]), max_size=3),
        "actor": st.sampled_from(["a", "b", "n", None]),
        "conversation": st.sampled_from(
            [conversation_mark("n", "c"), conversation_mark("m", "c"), None]
        ),
    }
)


@given(MARKS)
def test_a_selector_covers_by_its_own_kind_of_mark_only(marks: dict[str, Any]) -> None:
    for kind, covered in (
        ("namespace", marks["namespace"] == "n"),
        ("tag", "n" in marks["tags"]),
        ("actor", marks["actor"] == "n"),
        ("entry_id", False),
        ("tenant", True),
    ):
        assert Selector(kind, ("n",)).covers(**marks) == covered, kind  # type: ignore[arg-type]
    talk = Selector("conversation", ("c",), "m")
    assert talk.covers(**marks) == (marks["conversation"] == conversation_mark("m", "c"))


def test_a_record_is_covered_by_the_entry_it_is_about_and_quotes_others() -> None:
    shown = {
        "candidate": "e1",
        "question": "one",
        "candidates": [{"entry": "e1", "question": "one"}, {"entry": "e2", "question": "two"}],
    }
    record = {"entry_id": "e3", "namespace": "n", "decision": shown, "at": 2.0}
    nobody = Selector("entry_id", ("e3",))
    assert selectors.covers_decision(nobody, record, {"e3"}, at=1.0)
    assert not selectors.covers_decision(nobody, record, {"e1"}, at=2.0)
    space = Selector("namespace", ("n",))
    assert selectors.covers_decision(space, record, set(), at=2.0)
    assert not selectors.covers_decision(space, record, set(), at=1.0)
    assert selectors.covers_decision(space, record | {"received_at": 1.0}, set(), at=1.0)
    assert sorted(selectors.quoted(record)) == ["e1", "e1", "e2"]
    bare = selectors.unquoted(record, {"e1"})["decision"]
    assert bare["question"] is None
    assert [one["question"] for one in bare["candidates"]] == [None, "two"]
    assert selectors.quoted(selectors.unquoted(record, {"e1", "e2"})) == []
    assert shown["question"] == "one"
