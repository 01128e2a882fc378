"""The stores' real servers, for the budgets' tests too."""

from __future__ import annotations

from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]
