"""Which row is a request's own, of all that are written while it is under way."""

from __future__ import annotations

from cacheserver import visit
from cacheserver.policy.row import Row
from cacheserver.stores.connection import Connection
from cacheserver.stores.ledger import Ledger
from cacheserver.telling import Told
from cacheserver.visit import Visit
from tests.ledger.making import row
from tests.stores.conftest import prefix, redis, url

__all__ = ["prefix", "redis", "url"]


async def test_a_request_has_its_own_row_and_not_that_of_work_it_left_behind(
    redis: Connection, prefix: str
) -> None:
    ledger, heard = Ledger(redis, prefix=prefix), list[Row]()
    told, seen = Told(ledger, [heard.append]), Visit("POST", decision_id="dec_mine")
    visit.enter(seen)
    own, behind = row(id="dec_mine"), row(id="trial:msg_1", outcome="background", reason="trial")
    for one in (behind, own, behind):
        await told.written(told.put(one))
    await ledger.close()
    assert seen.row is own
    assert heard == [behind, own, behind]
