"""Check of the servers on the store: their leases, settings, and who does which work."""

from __future__ import annotations

from typing import Any

from cacheserver.api.components import Components
from cacheserver.api.resources.operations.check import check
from cacheserver.core.errors import StoreError
from cacheserver.core.times import iso
from cacheserver.peers.roster import Server, differences


async def check_servers(parts: Components) -> dict[str, Any]:
    """Check the servers that share the store. Raises nothing."""
    host = parts.host
    try:
        live, holders = await host.roster.servers(), await host.leases.holders()
    except StoreError:
        return check("servers", "failed", "the store is away", "See the check `store`.")
    places = {one.name: one.name if one.about is None else one.about.place for one in live}
    work = {
        work: None if who is None else places.get(who.server, who.server)
        for work, who in holders.items()
        if who is not None or work in host.leases.standing
    }
    facts = {"servers": [_shown(one, own=one.name == host.peers.name) for one in live]}
    if host.peers.name not in places:
        do = "See the check `store`: the lease is renewed four times a second. Then restart it."
        found = "this server has no lease: it serves nothing that is stored"
        return check("servers", "degraded", found, do, work=work, **facts)
    others = [
        (one.about.place, one.about.should)
        for one in live
        if one.about is not None and one.name != host.peers.name
    ]
    if wrong := differences(host.roster.about.should, others):
        name, mine, theirs, place = wrong[0]
        do = (
            "Give all servers the same settings. While they are replaced one after another this "
            "passes by itself."
        )
        found = f"`{name}` is {mine} here and {theirs} on {place}"
        differ = sorted({one[0] for one in wrong})
        return check("servers", "degraded", found, do, work=work, differ=differ, **facts)
    if idle := [one for one, who in work.items() if who is None]:
        do = "Wait: another server takes it within 15 seconds."
        found = f"nobody does: {', '.join(idle)}"
        return check("servers", "degraded", found, do, work=work, **facts)
    count = len(live)
    found = "one server uses the store" if count == 1 else f"{count} servers share the store"
    return check("servers", "ok", found, "", work=work, **facts)


def _shown(server: Server, *, own: bool) -> dict[str, Any]:
    about = server.about
    return {
        "name": server.name,
        "place": None if about is None else about.place,
        "own": own,
        "version": None if about is None else about.version,
        "since": None if about is None else iso(about.since),
        "lease_s": round(server.lease_s, 3),
        "behind": server.behind,
    }
