"""Trying it without a key: what is made up teaches nothing, and no hit is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cache import cacheability
from cacheserver.config.settings import Settings
from cacheserver.in_process import open_cache
from cacheserver.simulated import Directives
from tests.batches.house import BatchHouse, item
from tests.house import ADMIN_KEY, House, came_from
from tests.models import model_dir
from tests.simulated.conftest import MODEL, Claude

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}

# Each row is one intent, worded so that it reads on behind any of the openings. Rows stand beside
# others that differ in the one word that decides.
INTENTS = (
    "reset the password of an account",
    "reset the username of an account",
    "open a joint account",
    "close a joint account",
    "enable dark mode on the dashboard",
    "disable dark mode on the dashboard",
    "export invoices to a spreadsheet",
    "import invoices from a spreadsheet",
    "cancel a subscription before it renews",
    "pause a subscription before it renews",
    "upgrade a subscription to the yearly plan",
    "downgrade a subscription to the monthly plan",
    "add a teammate to a project",
    "remove a teammate from a project",
    "return a damaged parcel",
    "track a delayed parcel",
    "activate a new debit card",
    "activate a new credit card",
    "block a stolen debit card",
    "bake bread without yeast",
    "bake bread without flour",
    "convert miles into kilometres",
    "convert pounds into kilograms",
    "prune roses in spring",
    "water tomatoes in summer",
    "renew a passport by post",
    "renew a driving licence by post",
    "sharpen a kitchen knife",
    "descale an electric kettle",
    "tune an acoustic guitar",
)
OPENINGS = (
    "How do I {}?",
    "How can I {}?",
    "How do you {}?",
    "What is the best way to {}?",
    "What's the best way to {}?",
    "Can you tell me how to {}?",
    "Please explain how to {}.",
    "I want to {}. How?",
    "Is it possible to {}?",
    "What are the steps to {}?",
)
QUESTIONS = {
    opening.format(intent): intent for opening, intent in itertools.product(OPENINGS, INTENTS)
}


async def test_of_300_questions_without_a_key_no_similar_hit_is_wrong(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, model_dir=model_dir(), upstream="simulated")
    assert len(QUESTIONS) == 300
    async with open_cache(settings) as cache:
        await cache.ready()
        hits = wrong = 0
        for question, intent in QUESTIONS.items():
            answer = await cache.query(question)
            await cache._opened.parts.calibration.learner.idle()
            if answer.decision.kind == "semantic":
                hits += 1
                assert answer.decision.matched is not None
                wrong += QUESTIONS[answer.decision.matched] != intent
        assert wrong == 0
        assert hits > 0
        redis = cache._opened.parts.entries.entries._redis
        assert [key async for key in redis.scan_iter(match="*labels:*")] == []


@pytest.mark.parametrize(
    ("asked", "made_up", "made_up_length"),
    [
        ("Hello?", True, True),
        ("Hello? [[sim thinking=5]]", True, True),
        ("Hello? [[sim stop=end_turn]]", True, True),
        ("Hello? [[sim words=30]]", True, False),
        ("Hello? [[sim text='Good day.']]", False, False),
        ("Hello? [[sim text='']]", False, False),
        ("Hello? [[sim refusal=cyber]]", False, False),
    ],
)
async def test_an_answer_says_by_its_id_whether_it_was_made_up(
    claude: Claude, asked: str, made_up: bool, made_up_length: bool
) -> None:
    whole = await claude.ask(asked)
    async with claude.sdk().messages.stream(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": asked}]
    ) as stream:
        streamed = (await stream.get_final_message()).to_dict()
    for message in (whole, streamed):
        assert str(message["id"]).startswith("msg_sim")
        assert cacheability.made_up(message) == made_up
        assert cacheability.made_up_length(message) == made_up_length


@pytest.mark.parametrize("id", ["msg_01XFDUDYJgAACzvnptvVoYEL", "msg_sim0a1b", "", None, 7])
def test_what_the_real_claude_says_is_never_taken_for_made_up(id: object) -> None:
    assert not cacheability.made_up({} if id is None else {"id": id})


async def stored(house: House, entry_id: str) -> bool:
    entry = await house.parts.entries.entries.by_id("default", entry_id)
    assert entry is not None
    return entry.made_up


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stored_answer_remembers_that_it_was_made_up(house: House, stream: bool) -> None:
    for text, made_up in (("Hello?", True), ("Hello? [[sim text=Hi.]]", False)):
        await house.ask(text, stream=stream)
        again = await house.ask(text)
        assert came_from(again)[0] == "exact"
        assert await stored(house, again.headers["x-cache-entry"]) == made_up


async def test_so_does_one_that_came_by_batch(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        made = await house.sdk().messages.batches.create(
            requests=[item("a", "Hello?"), item("b", "Farewell? [[sim text=Bye.]]")]
        )
        await house.ended(made.id)
        for text, made_up in (("Hello?", True), ("Farewell? [[sim text=Bye.]]", False)):
            again = await house.ask(text)
            assert came_from(again)[0] == "exact"
            assert await stored(house, again.headers["x-cache-entry"]) == made_up


ASKED = "What is the capital of France?"
AGAIN = "What's the capital of France?"
NEAR = "Which city is the capital of the country France?"


def halves(body: Mapping[str, Any]) -> Directives | None:
    """A Claude that was told one answer, and makes the others up."""
    told = str(body["messages"][-1]["content"]) == ASKED
    return Directives(text="The capital of France is Paris.") if told else None


async def put(house: House, **fields: Any) -> None:
    done = await house.http.put("/admin/v1/tenants/default", headers=ADMIN, json=fields)
    assert done.status_code == 200, done.text


async def learned(house: House) -> list[bytes]:
    """The keys of labels and of what became of entries."""
    redis = house.parts.entries.entries._redis
    patterns = ("*labels:*", "*evid:*", "*tomb:*")
    return [key for each in patterns async for key in redis.scan_iter(match=each)]


@pytest.mark.parametrize("claude", [None, halves])
async def test_a_made_up_answer_is_no_label_no_group_and_no_verdict(
    tmp_path: Path, claude: Any
) -> None:
    async with House.open(tmp_path, claude=claude, similarity=None, target=0.5) as house:
        await put(house, bar={"target": 0.5, "audit_share": 1.0})
        first = await house.ask(ASKED)
        assert came_from(await house.ask(AGAIN))[0] == "semantic"
        await house.parts.calibration.learner.idle()
        await put(house, bar={"target": 0.01})
        near = await house.ask(NEAR)
        assert came_from(near)[0] == "miss"
        await house.parts.calibration.learner.idle()
        entries = house.parts.entries.entries
        entry = await entries.by_id("default", near.headers["x-cache-entry"])
        assert entry is not None
        (found,) = await entries.grouped([(entry.fingerprint, entry.id)])
        assert found is not None
        assert found.group == entry.id != first.headers["x-cache-entry"]
        assert await learned(house) == []
        sums = await house.parts.decision_log.stats("default")
        assert not {"audits_right", "audits_wrong"} & sums.keys()
        assert ("audits" in sums) == (claude is not None)  # of a made-up hit none is paid for


async def test_shadow_mode_counts_a_made_up_answer_as_one_that_could_not_be_told(
    tmp_path: Path,
) -> None:
    async with House.open(tmp_path, similarity=None, target=0.5) as house:
        await put(house, shadow=True)
        for text in (ASKED, AGAIN):
            await house.ask(text)
            await house.parts.calibration.learner.idle()
        report = await house.http.get("/admin/v1/tenants/default/shadow", headers=ADMIN)
        would = report.json()["would_have"]
        assert (would["hits"], would["wrong"], would["unsure"]) == (1, 0, 1)
