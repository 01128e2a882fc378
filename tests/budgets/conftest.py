"""The stores' real servers, for the budgets' tests too."""

from __future__ import annotations

from tests.stores.conftest import prefix, redis, url

__all__ = ["prefix", "redis", "url"]
