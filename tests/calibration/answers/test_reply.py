from __future__ import annotations

import pytest

from cacheserver.calibration.answers import reply
from cacheserver.english.language import english

ENGLISH = english()


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("Yes. Any plan has it.", True),
        ("No, it has not.", False),
        ("Usually not, apart from Canada.", False),
        ("In general yes, with a fee.", True),
        ("Better not.", False),
        ("**No**, never.", False),
        ("✅ It is supported.", True),
        ("❌ It is not supported.", False),
        ("No problem! Open the menu.", None),
        ("No need to worry.", None),
        ("Only if the manual says so.", None),
        ("It is not known.", None),
        ("", None),
    ],
)
def test_an_answer_begins_with_yes_with_no_or_with_neither(text: str, yes: bool | None) -> None:
    assert reply.read(reply.plain(text), ENGLISH).yes is yes


@pytest.mark.parametrize(
    ("text", "brief"),
    [("No, they can't.", True), ("spam", True), ("", True), ("It is done in two days.", False)],
)
def test_a_few_words_are_brief(text: str, brief: bool) -> None:
    assert reply.read(text, ENGLISH).brief is brief


def test_layout_is_no_content() -> None:
    lines = ("## Steps", "1. Open **Settings**", "2) Wait 5 minutes", "- Done \N{PARTY POPPER}")
    text = "\n".join((*lines, "```bash", "ls -l", "```"))
    plain = reply.plain(text)
    assert plain.split() == [
        "Steps",
        "Open",
        "Settings",
        "Wait",
        "5",
        "minutes",
        "Done",
        "ls",
        "-l",
    ]
    assert reply.read(plain, ENGLISH).profile.numbers == {"5"}


def test_letters_of_any_script_stay() -> None:
    assert reply.plain("हिन्दी में नहीं 東京") == "हिन्दी में नहीं 東京"
