"""Which row is a request's own, of all that are written while it is under way."""

from __future__ import annotations

from cacheserver.core import request_context
from cacheserver.core.ledger_row import Row
from cacheserver.core.request_context import RequestContext
from cacheserver.ledger.fan_out import LedgerFanOut
from cacheserver.ledger.writer import Ledger
from cacheserver.storage.connection import Connection
from tests.ledger.rows import row
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]


async def test_a_request_has_its_own_row_and_not_that_of_work_it_left_behind(
    redis: Connection, prefix: str
) -> None:
    ledger, heard = Ledger(redis, prefix=prefix), list[Row]()
    told, seen = (
        LedgerFanOut(ledger, [heard.append]),
        RequestContext("POST", decision_id="dec_mine"),
    )
    request_context.enter(seen)
    own, behind = row(id="dec_mine"), row(id="trial:msg_1", outcome="background", reason="trial")
    for one in (behind, own, behind):
        await told.written(told.append(one))
    await ledger.close()
    assert seen.row is own
    assert heard == [behind, own, behind]
