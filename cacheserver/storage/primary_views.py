"""Answers of Sentinels and of nodes of a cluster on where the primary is. Pure.

Rule: of several answers the one of the highest epoch is right; who was cut off has an older one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.crc import key_slot

from cacheserver.storage.node_url import Address

SLOTS: Final = 16_384  # of a cluster


@dataclass(frozen=True, slots=True)
class View:
    """One answer. `voter` is who gave it; `voters` is how many there are, as far as it knows.

    `moving`: the slot of our keys is being moved to another node, key by key.
    """

    voter: str
    epoch: int
    primary: Address
    others: tuple[Address, ...]  # who can be asked too
    voters: int
    moving: bool = False


class Unsettled(Exception):
    """There is no primary that may be used. `passing`: waiting may help."""

    def __init__(self, why: str, *, passing: bool = True) -> None:
        super().__init__(why)
        self.why, self.passing = why, passing


def slot_of(prefix: str) -> int:
    """Return the slot of all keys that begin with a prefix in braces (`tagged`)."""
    return int(key_slot(prefix.encode()))


def tagged(prefix: str) -> str:
    """Return a prefix with a hash tag, which brings all keys that begin with it to one node."""
    return prefix if prefix.startswith("{") else f"{{{prefix}}}"


def untagged(prefix: str) -> str:
    """Return a prefix without its hash tag, for keys that have tags of their own."""
    return prefix.strip("{}")


def of_node(nodes: str, *, slot: int, asked: Address, by_name: bool) -> View:
    """Read a reply to `CLUSTER NODES`.

    `by_name`: use host names where there are any, for their certificates. Raises `Unsettled`.
    """
    voter, found, others, moving = "", None, [], False
    for line in nodes.splitlines():
        id, at, flag_list, _, _, _, epoch, _, *slots = line.split()
        flags = flag_list.split(",")
        address = _address_of(at, by_name=by_name)
        if "myself" in flags:
            voter = id
            address = asked if address is None or not address[0] else address
            moving = any(one.startswith(f"[{slot}-") for one in slots)
        if address is None or "noaddr" in flags or "handshake" in flags:
            continue
        if "fail" not in flags:
            others.append(address)
        if any(_has(one, slot) for one in slots):
            found = int(epoch), address
    if found is None:
        raise Unsettled(
            f"no node of the cluster serves slot {slot}, that of our keys; see "
            "`redis-cli --cluster check`",
            passing=False,
        )
    return View(voter, *found, tuple(others), len(others), moving)


def of_sentinel(
    id: str, primary: Sequence[str], master: Sequence[str], sentinels: Sequence[Sequence[str]]
) -> View:
    """Read a Sentinel's replies: its id, `GET-MASTER-ADDR-BY-NAME`, `MASTER` and `SENTINELS`."""
    found = _pairs(master)
    others = tuple((one["ip"], int(one["port"])) for one in map(_pairs, sentinels))
    return View(
        id, int(found["config-epoch"]), (primary[0], int(primary[1])), others, len(others) + 1
    )


def newest(views: Sequence[View]) -> View:
    """Return the answer of the highest epoch."""
    return max(views, key=lambda one: one.epoch)


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _has(slots: str, slot: int) -> bool:
    first, _, last = slots.partition("-")
    return first.isdecimal() and int(first) <= slot <= int(last or first)


def _address_of(text: str, *, by_name: bool) -> Address | None:
    """Read `ip:port@busport[,hostname[,...]]`; None if the node has no address."""
    at, *names = text.split(",")
    host, _, port = at.partition("@")[0].rpartition(":")
    if by_name and names and names[0] and "=" not in names[0]:
        host = names[0]
    return (host, int(port)) if port.isdecimal() and int(port) else None
