"""Texts that similarity may match, through the front door, at a threshold that serves most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.house import ADMIN_KEY, House, came_from

PLAIN = "What is the refund policy?"


@pytest.fixture
async def eager(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, similarity=0.5) as house:
        yield house


@pytest.mark.parametrize(
    "hidden",
    [f"{PLAIN}\U000e0073\U000e0061\U000e0079", "What is the re\u200bfund policy?", f"{PLAIN}\x00"],
)
async def test_what_nobody_sees_is_matched_exactly_only(eager: House, hidden: str) -> None:
    assert came_from(await eager.ask(hidden)) == ("miss", "unreadable")
    assert came_from(await eager.ask(PLAIN)) == ("miss", "empty")
    assert came_from(await eager.ask(hidden)) == ("exact", "identical")


async def test_code_that_differs_in_a_space_is_matched_exactly_only(eager: House) -> None:
    inside, outside = "if x:\n    a()\n    b()", "if x:\n    a()\nb()"
    assert came_from(await eager.ask(inside)) == ("miss", "code")
    assert came_from(await eager.ask(outside)) == ("miss", "code")
    assert came_from(await eager.ask(inside)) == ("exact", "identical")


async def test_code_is_matched_by_similarity_where_the_operator_says_so(eager: House) -> None:
    async def settle(match_code: bool) -> None:
        done = await eager.http.put(
            "/admin/v1/tenants/default",
            headers={"authorization": f"Bearer {ADMIN_KEY}"},
            json={"match_code": match_code},
        )
        assert (done.status_code, done.json()["settings"]["match_code"]) == (200, match_code)

    inside, outside = "if x:\n    a()\n    b()", "if x:\n    a()\nb()"
    await settle(True)
    assert came_from(await eager.ask(inside)) == ("miss", "empty")
    assert came_from(await eager.ask(outside)) == ("semantic", "similar")
    hidden = f"{inside}\U000e0073"  # what nobody sees stays matched exactly only
    assert came_from(await eager.ask(hidden)) == ("miss", "unreadable")
    await settle(False)
    assert came_from(await eager.ask(outside)) == ("miss", "code")


async def test_width_form_and_courtesy_are_no_difference(eager: House) -> None:
    await eager.ask(PLAIN)
    again = await eager.ask("Hi team, what is the \uff52efund policy? Many thanks!")
    assert came_from(again) == ("semantic", "similar")
    assert float(again.headers["x-cache-similarity"]) == pytest.approx(1.0, abs=0.01)
