"""`decisions`, `entries`, `purge`, `stats` and `top`."""

from __future__ import annotations

from tests.commands.conftest import Shell
from tests.house import House

QUESTIONS = ("How is a password reset?", "How is wool washed?", "Who pays for a return?")


async def asked(house: House, key: str = "any") -> None:
    for number, text in enumerate(QUESTIONS):
        await house.ask(text, key=key, headers={"x-cache-tags": f"t{number}"})


async def test_decisions_are_listed_by_condition_and_shown_one_by_one(
    house: House, shell: Shell
) -> None:
    await asked(house)
    await house.ask("How is the password reset?")
    listed = await shell("decisions", "--outcome", "semantic", "--tenant", "default")
    assert listed.status == 0
    assert listed.out.count("\n") == 2
    assert "How is the password reset?" in listed.out
    found = (await shell("decisions", "--outcome", "semantic", "--json")).json["items"]
    one = await shell("decisions", found[0]["id"], "--tenant", "default")
    assert f"served       {QUESTIONS[0]}" in one.out
    assert "semantic (similar)" in one.out
    assert (await shell("decisions", found[0]["id"])).status == 2
    assert (await shell("decisions", "dec_nothing", "--tenant", "default")).status == 2
    wrong = await shell("decisions", "--outcome", "lucky")
    assert (wrong.status, "`outcome`" in wrong.err) == (2, True)
    none = await shell("decisions", "--outcome", "stale")
    assert (none.status, none.out) == (0, "")
    near = await shell("decisions", "--near-misses", "--json")
    assert near.status == 0


async def test_a_list_ends_at_its_limit_and_goes_through_all_pages(
    house: House, shell: Shell
) -> None:
    await asked(house)
    some = await shell("entries", "--limit", "2")
    assert some.out.count("\n") == 3
    assert "--all" in some.err
    both = [(await shell("entries", *much, "--json")).json for much in (("--all",), ())]
    assert [len(one["items"]) for one in both] == [3, 3]
    assert both[0]["next"] is None
    assert (await shell("entries", "--limit", "0")).status == 2


async def test_a_tenant_sees_and_purges_its_own(house: House, shell: Shell) -> None:
    key, other = await house.key("acme"), await house.key("other")
    await asked(house, key)
    await asked(house, other)
    shell.point(house, admin=False, key=key)
    listed = (await shell("entries", "--json")).json["items"]
    assert len(listed) == 3
    shown = await shell("entries", listed[0]["id"])
    assert "tags       t2" in shown.out
    for words in (("--tag", "t0", "--namespace", "default"), ("--text", "a"), ("--everything",)):
        assert (await shell("purge", "--yes", *words)).status == 2
    assert (await shell("purge", "--tag", "t0", "--dry-run")).status == 2
    done = await shell("purge", "--tag", "t0", typed="y\n", terminal=True)
    assert (done.status, done.out) == (0, "1 answer removed.\n")
    assert len((await shell("entries", "--json")).json["items"]) == 2
    assert (await shell("decisions", "--near-misses")).status == 2
    shell.point(house)
    assert len((await shell("entries", "--tenant", "other", "--json")).json["items"]) == 3


async def test_a_purge_is_tried_then_agreed_to_then_made(house: House, shell: Shell) -> None:
    await asked(house)
    tried = await shell("purge", "--tenant", "default", "--tag", "t1", "--dry-run", "--json")
    assert tried.json["would_purge"] == 1
    words = ("purge", "--tenant", "default", "--hits-max", "0", "--pinned", "false")
    shown = await shell(*words, "--dry-run")
    assert "3 answers would be removed" in shown.err
    assert QUESTIONS[0] in shown.out
    assert (await shell(*words)).status == 2  # nobody to ask
    refused = await shell(*words, typed="\n", terminal=True)
    assert refused.status == 1
    assert len((await shell("entries", "--json")).json["items"]) == 3
    for wrong in (
        ("purge", "--yes"),
        ("purge", "--yes", "--hits-max", "few"),
        ("purge", "--yes", "--pinned", "maybe"),
        ("purge", "--yes", "--everything", "--tag", "t1"),
        ("purge", "--yes", "--tenant", "nobody-here"),
    ):
        assert (await shell(*wrong)).status == 2
    done = await shell(*words, "--yes")
    assert (done.status, done.out) == (0, "3 answers removed.\n")
    await asked(house)
    # All of it asks for the phrase that the dry run gave.
    assert (await shell("purge", "--everything", "--yes", "--json")).json == {"purged": 3}


async def test_stats_are_of_a_tenant_or_of_all(house: House, shell: Shell) -> None:
    await asked(house)
    await asked(house)
    shown = await shell("stats")
    assert shown.status == 0
    assert "tenant: all" in shown.out
    assert "hit rate in 7 days: 50.0%" in shown.out
    assert "tenant: default" in (await shell("stats", "--tenant", "default")).out
    unknown = await shell("stats", "--tenant", "nobody-here")
    assert (unknown.status, unknown.out) == (2, "")


async def test_top_prints_what_comes_and_ends_at_its_count(house: House, shell: Shell) -> None:
    await asked(house)
    done = await shell("top", "--count", "1")
    assert done.status == 0
    assert "requests=0" in done.out  # since it listens
    assert (await shell("top", "--count", "1", "--json")).json["of"] == "this server"
