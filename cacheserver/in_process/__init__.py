"""The cache inside a process: the very same service and the whole client, without a server.

    async with open_cache() as cache:
        answer = await cache.query("How do I reset my password?")

Promises: what it stores, a server on the same data serves later, and the reverse.
Used by applications.
"""

from cacheserver.in_process.build import Opening, open_cache, open_cache_sync
from cacheserver.in_process.cache import Cache, SyncCache

__all__ = ["Cache", "Opening", "SyncCache", "open_cache", "open_cache_sync"]
