"""`tenant`, `bar`, `review` and `calibrate`."""

from __future__ import annotations

from pathlib import Path

from tests.commands.conftest import Shell
from tests.house import House

# Near enough to be in the queue, by a target; the house's threshold would decide alone.
SIMILAR = ("How do I reset my password?", "How can I reset my password?", "Reset my password?")


async def test_settings_of_a_tenant_are_set_shown_and_returned_to_the_default(
    shell: Shell,
) -> None:
    done = await shell("tenant", "set", "shop", "default_ttl_s=60", "bar.target=0.02", "--json")
    assert done.status == 0, done.err
    assert done.json["own"] == {"default_ttl_s": 60, "bar": {"target": 0.02}}
    assert "bar.target     0.02" in (await shell("tenant", "show", "shop")).out
    shown = await shell("tenant", "show", "shop", "--defaults")
    assert "bar.top_k" in shown.out
    assert (await shell("tenant", "set", "shop", "bar=null", "default_ttl_s=null")).status == 0
    assert (await shell("tenant", "show", "shop")).out == ""
    assert "shop" in (await shell("tenant", "list")).out
    for wrong in ("default_ttl_s", "=1", "a..b=1", "default_ttl_s=soon", "nothing_such=1"):
        refused = await shell("tenant", "set", "shop", wrong)
        assert (refused.status, refused.out) == (2, ""), wrong
    for twice in (("bar=1", "bar.target=2"), ("stale_s=1", "stale_s=2")):
        assert (await shell("tenant", "set", "shop", *twice)).status == 2


async def test_a_setting_that_erases_is_agreed_to_first(house: House, shell: Shell) -> None:
    await house.ask("What is kept?")
    words = ("tenant", "set", "default", "no_content=true")
    assert (await shell(*words)).status == 2
    assert (await shell(*words, typed="n\n", terminal=True)).status == 1
    assert len((await shell("entries", "--json")).json["items"]) == 1
    told = await shell(*words, "--yes")
    assert "CACHESERVER_ENCRYPTION_KEY_FILE" in told.err  # this server has none


async def test_a_bar_is_tried_set_listed_and_taken_back(house: House, shell: Shell) -> None:
    await house.ask(SIMILAR[0])
    await house.ask(SIMILAR[1])
    tried = await shell("bar", "set", "--tenant", "default", "--similarity", "0.999", "--dry-run")
    assert "0 new hits, 1 hit lost." in tried.out, tried.err
    assert f"ends    {SIMILAR[1]}\n  stored  {SIMILAR[0]}  (similarity 0.9" in tried.out
    assert "Nothing is changed" in tried.err
    assert "similarity 0.95" in (await shell("bar", "show", "--tenant", "default")).out
    done = await shell(
        "bar", "set", "--tenant", "default", "--target", "0.02", "--veto-off", "order"
    )
    assert "target 2.00%, without the vetoes order" in done.out
    history = await shell("bar", "history", "--tenant", "default")
    assert "target 2.00%" in history.out
    assert "similarity 0.95" in (await shell("bar", "undo", "--tenant", "default")).out
    assert (await shell("bar", "undo", "--tenant", "default", "--namespace", "default")).status == 2
    for wrong in (
        (),
        ("--target", "2"),
        ("--target", "0.1", "--similarity", "0.9"),
        ("--default", "--veto-off", "order"),
        ("--exact-only", "--namespace", "nowhere"),
    ):
        assert (await shell("bar", "set", "--tenant", "default", *wrong)).status == 2


async def test_pairs_are_labelled_one_after_the_other_and_the_last_taken_back(
    house: House, shell: Shell
) -> None:
    for text in SIMILAR:
        await house.ask(text)
    listed = (await shell("review", "--tenant", "default", "--list", "--json")).json["items"]
    assert len(listed) == 2
    undone = await shell("review", "--tenant", "default", "--json", typed="y\nu\nn\n?\ns\n")
    assert undone.json == {"yes": 0, "no": 1, "skip": 1}, undone.err
    assert "Taken back: yes." in undone.err
    # One was refused and one left out: nothing waits, and what is taken back waits again.
    assert "No pair waits" in (await shell("review", "--tenant", "default", typed="y\n")).err
    assert (await shell("review", "--tenant", "nobody-here")).status == 2


async def test_a_review_that_ends_early_keeps_what_was_said(house: House, shell: Shell) -> None:
    for text in SIMILAR:
        await house.ask(text)
    done = await shell("review", "--tenant", "default", typed="u\ny\nq\n")
    assert (done.status, done.out) == (0, "yes: 1, no: 0, skip: 0\n")
    assert "No verdict was given yet" in done.err
    assert (
        len((await shell("review", "--tenant", "default", "--list", "--json")).json["items"]) == 1
    )
    one = await shell("review", "--tenant", "default", "--limit", "1", typed="n\nn\nn\n")
    assert one.out == "yes: 0, no: 1, skip: 0\n"


async def test_labelled_pairs_recommend_a_bar_or_say_why_not(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text(
        "query_a\tquery_b\tlabel\n"
        f"{SIMILAR[0]}\t{SIMILAR[1]}\tyes\n{SIMILAR[0]}\tWhere is my parcel?\tno\n"
    )
    done = await shell("calibrate", str(pairs))
    assert done.status == 1
    assert "recommended bar: none (" in done.out
    assert (await shell("calibrate", str(pairs), "--json")).json["pairs"] == 2
    shown = await shell("calibrate", str(pairs), "--target", "0.5")
    await house.ask(SIMILAR[0])
    ((scope),) = (one["scope"] for one in (await shell("entries", "--json")).json["items"])
    taught = ("calibrate", str(pairs), "--tenant", "default", "--scope", scope)
    assert "2 labels would be learned" in (await shell(*taught)).out, shown.out
    assert "2 labels learned." in (await shell(*taught, "--confirm")).out
    for wrong, text in (
        ("pairs.txt", "a"),
        ("pairs.tsv", "query_a\tlabel\nx\t1\n"),
        ("pairs.jsonl", '{"query_a": "x", "query_b": "y", "label": "perhaps"}\n'),
        ("pairs.jsonl", '{"query_a": "x", "query_b": "y"}\n'),
    ):
        (tmp_path / wrong).write_text(text)
        refused = await shell("calibrate", str(tmp_path / wrong))
        assert (refused.status, wrong in refused.err) == (2, True)
    assert (await shell("calibrate", str(pairs), "--confirm")).status == 2


async def test_an_erasure_is_agreed_to_first(house: House, shell: Shell) -> None:
    key = await house.key("shop")
    await house.ask(SIMILAR[0], key=key)
    words = ("erase", "--tenant", "shop", "--all")
    for typed, terminal, status, says in (
        ("", False, 2, "give --yes"),
        ("n\n", True, 1, "Erase all content of tenant shop? Nothing brings it back. [y/N]"),
    ):
        done = await shell(*words, typed=typed, terminal=terminal)
        assert (done.status, done.out, says in done.err) == (status, "", True), done.err
    actor = await shell(
        "erase", "--tenant", "shop", "--tag", "a\x1b[2K", typed="n\n", terminal=True
    )
    assert "what tenant shop has of tag a<U+001B>[2K?" in actor.err
    for wrong in ((), ("--tag", "a", "--actor", "b"), ("--namespace", "n", "--all")):
        done = await shell("erase", "--tenant", "shop", *wrong, "--yes")
        assert (done.status, "give one of --entry-id" in done.err) == (2, True), done.err
    assert (await house.ask(SIMILAR[0], key=key)).headers["x-cache"] == "exact"
    agreed = await shell(*words, "--json", typed="y\n", terminal=True)
    assert agreed.status == 0, agreed.err
    assert (await house.ask(SIMILAR[0], key=key)).headers["x-cache"] == "miss"
    assert (await shell(*words, "--yes")).status == 0
