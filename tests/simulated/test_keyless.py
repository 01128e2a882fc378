"""Trying it without a key: nothing is learned from answers that were made up, and no hit is wrong."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from cacheserver.config import Settings
from cacheserver.local import open_cache
from cacheserver.policy import admission
from cacheserver.simulated import Directives
from tests.batches.house import BatchHouse, item
from tests.house import ADMIN_KEY, House, came_from
from tests.models import model_dir
from tests.simulated.conftest import Claude

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
            await cache._parts.learner.idle()
            if answer.decision.kind == "semantic":
                hits += 1
                assert answer.decision.matched is not None
                wrong += QUESTIONS[answer.decision.matched] != intent
        assert wrong == 0
        assert hits > 0
        redis = cache._parts.entries.entries._redis
        assert [key async for key in redis.scan_iter(match="*labels:*")] == []
