"""What differs between prompts that are otherwise the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.fragments import without_fragments
from cacheserver.core.rules.caching import FragmentKind
from cacheserver.promptcache.skeleton import reordered, skeleton, text_of

KINDS: tuple[FragmentKind, ...] = ("timestamp", "date", "uuid", "number", "name")


@pytest.mark.parametrize(
    ("one", "two", "kind"),
    [
        ("Now: 2026-11-21T04:16:00Z.", "Now: 2027-01-02T23:59:59Z.", "timestamp"),
        ("It is 04:16.", "It is 11:05.", "timestamp"),
        ("Saturday, November 21, 2026 at 04:16", "Sunday, May 3, 2026 at 11:00", "timestamp"),
        ("Asked at 1795000000.", "Asked at 1795000001.", "timestamp"),
        ("Today is 2026-11-21.", "Today is 2026-11-22.", "date"),
        ("Today is 21 Nov 2026.", "Today is 3 May 2026.", "date"),
        (
            "Id 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "Id 00000000-0000-0000-0000-000000000001",
            "uuid",
        ),
        ("Request req_8f7a6b5c4d.", "Request req_00aa11bb22.", "uuid"),
        (
            "Trace 0af7651916cd43dd8448eb211c80319c",
            "Trace 00f067aa0ba902b70af7651916cd43dd",
            "uuid",
        ),
        ("User: Alice", "User: Bob", "name"),
        ("You are helping Alice Smith.", "You are helping Bob Jones.", "name"),
        ("Mail alice@example.com", "Mail bob@example.org", "name"),
        ("You have 5 credits.", "You have 12 credits.", "number"),
    ],
)
def test_prompts_that_differ_in_a_fragment_share_a_skeleton(one: str, two: str, kind: str) -> None:
    first, second = skeleton(one), skeleton(two)
    assert first.digest == second.digest
    (left,), (right,) = first.fragments, second.fragments
    assert left.kind == right.kind == kind
    assert left.digest != right.digest


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Answer in French.", "Answer in German."),
        ("User: Alice. Be brief.", "User: Alice. Be kind."),
        ("Use the word user.", "Use the word client."),
        ("Today is Monday.", "It is Monday."),
    ],
)
def test_prompts_that_differ_in_more_do_not(one: str, two: str) -> None:
    assert skeleton(one).digest != skeleton(two).digest


def test_a_kind_is_part_of_the_skeleton() -> None:
    assert skeleton("At 2026-11-21.").digest != skeleton("At 17.").digest


def test_a_span_tells_place_and_shape_and_no_words() -> None:
    text = "Be kind. Today is 2026-11-21. Ask Plover."
    (found,) = skeleton(text).fragments
    assert text[found.start : found.end] == "2026-11-21"
    assert found.shape == "9999-99-99"
    assert "Plover" not in repr(skeleton(text))


def test_only_the_named_kinds_are_left_out() -> None:
    one, two = "On 2026-11-21, 5 left.", "On 2026-11-22, 5 left."
    assert without_fragments(one, ["date"]) == without_fragments(two, ["date"])
    assert without_fragments(one, ["uuid"]) == one
    assert without_fragments(one, []) is one
    assert without_fragments(one, ["date"]) != without_fragments("On 2026-11-21, 6 left.", ["date"])


def test_blocks_stay_blocks() -> None:
    blocks = [{"type": "text", "text": "At 04:16."}, {"type": "text", "text": "Be kind."}]
    found = without_fragments(blocks, ["timestamp"])
    assert [block["type"] for block in found] == ["text", "text"]
    assert found[1] == blocks[1]
    assert blocks[0]["text"] == "At 04:16."
    assert without_fragments(None, ["timestamp"]) is None


def test_lines_that_change_go_behind_those_that_stay() -> None:
    moved = reordered("Now it is 04:16.\nBe kind.\nAt most 5 words.\nUser: Alice")
    assert moved is not None
    assert [block["text"] for block in moved] == [
        "Be kind.\nAt most 5 words.",
        "Now it is 04:16.\nUser: Alice",
    ]


@pytest.mark.parametrize(
    "system",
    [
        "Be kind.",
        "Now it is 04:16.",
        "",
        None,
        [{"type": "text", "text": "Now 04:16.\nBe kind.", "citations": []}],
    ],
)
def test_what_cannot_be_parted_stays(system: object) -> None:
    assert reordered(system) is None


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=400))
def test_moving_loses_no_line(text: str) -> None:
    moved = reordered(text)
    if moved is not None:
        assert sorted(text_of(moved).split("\n")) == sorted(text.split("\n"))


@given(st.text(max_size=300), st.lists(st.sampled_from(KINDS), unique=True))
def test_leaving_out_is_stable_and_depends_on_the_text_alone(
    text: str, kinds: list[FragmentKind]
) -> None:
    assert without_fragments(text, kinds) == without_fragments(text, kinds[::-1])
    assert skeleton(text) == skeleton(text)


@pytest.mark.parametrize("odd", ["\u200b", "\x00", "\x1c", "\u2066", "\U000e0041"])
@pytest.mark.parametrize(
    "text",
    [
        "Today is 2026-11-21 at 04:16 UTC.",
        "User: Alice Smith. Be brief.",
        "You have 5 credits.",
        "Mail alice@example.com",
        "Be kind.",
    ],
)
def test_an_unseen_character_is_never_lost_with_a_fragment(text: str, odd: str) -> None:
    kinds = list(KINDS)
    for place in range(len(text) + 1):
        other = text[:place] + odd + text[place:]
        assert skeleton(other).digest != skeleton(text).digest
        assert without_fragments(other, kinds) != without_fragments(text, kinds)


PIECES = st.lists(
    st.sampled_from(["\0", "date", "\0date\0", "\0\0", "2026-11-21", " is ", "5", "number", "a"])
).map("".join)


@given(PIECES, PIECES)
def test_a_text_cannot_spell_a_hole(one: str, other: str) -> None:
    """Two that share a skeleton are one text once their fragments are taken out of both."""
    if skeleton(one).digest == skeleton(other).digest:
        assert _bare(one) == _bare(other)


def _bare(text: str) -> list[str]:
    cuts, at = [], 0
    for found in skeleton(text).fragments:
        cuts.append(f"{text[at : found.start]}|{found.kind}")
        at = found.end
    return [*cuts, text[at:]]


@pytest.mark.parametrize(("text", "kind"), [("2026-11-21", "date"), ("5", "number")])
def test_nor_can_it_spell_this_one(text: str, kind: str) -> None:
    spelt = f"On \0{kind}\0."
    assert skeleton(f"On {text}.").digest != skeleton(spelt).digest
    kinds = list(KINDS)
    assert without_fragments(f"On {text}.", kinds) != without_fragments(spelt, kinds)
