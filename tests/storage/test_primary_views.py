"""Answers of nodes and Sentinels on where the primary is, and the choice among them."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from cacheserver.storage import primary_views
from cacheserver.storage.primary_views import Unsettled, View

NODES = """\
aaa 10.0.0.1:7000@17000,one.example.com master - 0 1700000000000 4 connected 0-8191
bbb 10.0.0.2:7000@17000,two.example.com,shard-id=ff myself,master - 0 1700000000000 7 \
connected 8192 8194-16383
ccc 10.0.0.3:7000@17000 slave aaa 0 1700000000000 4 connected
ddd 10.0.0.4:7000@17000 master,fail - 1700000000000 1700000000000 3 disconnected
eee :0@0 master,noaddr - 1700000000000 1700000000000 2 disconnected
"""
ASKED = ("seed", 7000)


def of(nodes: str, slot: int, *, by_name: bool = False) -> View:
    return primary_views.of_node(nodes, slot=slot, asked=ASKED, by_name=by_name)


def test_a_node_says_who_has_a_slot_and_since_which_epoch() -> None:
    view = of(NODES, 8191)
    assert (view.voter, view.epoch, view.primary) == ("bbb", 4, ("10.0.0.1", 7000))
    assert view.others == tuple((f"10.0.0.{n}", 7000) for n in (1, 2, 3))
    for slot in (8192, 8194, 16383):
        assert of(NODES, slot).primary == ("10.0.0.2", 7000)
    assert of(NODES, 0, by_name=True).primary == ("one.example.com", 7000)


def test_a_node_that_does_not_know_its_own_address_is_where_it_was_asked() -> None:
    view = of("aaa :7000@17000 myself,master - 0 0 1 connected 0-16383\n", 5)
    assert view.primary == ASKED


def test_a_slot_that_nobody_has_is_for_the_operator() -> None:
    with pytest.raises(Unsettled, match=r"serves slot 8193.*--cluster check") as caught:
        of(NODES, 8193)
    assert not caught.value.passing


@pytest.mark.parametrize("mark", ["[8192->-aaa]", "[8192-<-aaa]"])
def test_a_slot_that_is_being_moved_is_reported(mark: str) -> None:
    moving = NODES.replace("connected 8192 ", f"connected 8192 {mark} ")
    assert of(moving, 8192).moving
    assert not of(moving, 8194).moving


def test_a_sentinel_says_who_is_the_primary_and_who_else_can_be_asked() -> None:
    master = ["name", "main", "ip", "10.0.0.1", "port", "6379", "config-epoch", "3"]
    other = ["name", "x", "ip", "10.0.1.2", "port", "26379", "runid", "y"]
    view = primary_views.of_sentinel("me", ["10.0.0.9", "6380"], master, [other])
    assert view == View("me", 3, ("10.0.0.9", 6380), (("10.0.1.2", 26379),), 2)


def test_the_newest_answer_counts() -> None:
    old, new = View("a", 3, ("old", 1), (), 3), View("b", 4, ("new", 1), (), 3)
    assert primary_views.newest([old, new, old]) is new


@pytest.mark.parametrize("prefix", ["cs1:", "{cs1:}"])
def test_all_keys_of_a_tagged_prefix_are_in_one_slot(prefix: str) -> None:
    tagged = primary_views.tagged(prefix)
    slot = primary_views.slot_of(tagged)
    for rest in ("", "schema", "e:{other}", "t:5:a}b{c"):
        assert key_slot(f"{tagged}{rest}".encode()) == slot
    assert primary_views.untagged(tagged) == "cs1:"
