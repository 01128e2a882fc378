"""A server amid writes, to be killed: `python -m tests.embedded.writer DIR [orphan]`.

It prints the store's process id, then each id after the store has acknowledged it, for ever.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from cacheserver.cache.store.entries import Entries
from cacheserver.embedded import process
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.connection import connect
from tests.cache.entries import HALF, entry


async def main() -> None:
    if "orphan" in sys.argv:  # as where the kernel has no parent-death signal
        process._DIE_WITH_PARENT = "import os, sys; os.execv(sys.argv[2], sys.argv[2:])"
    store = EmbeddedStore(Path(sys.argv[1]))
    client = connect(await store.start())
    entries = Entries(client)
    sys.stdout.write(f"{store.pid}\n")
    number = 0
    while True:
        one = entry(f"f{number}")
        assert await entries.put(one, keep_s=0, vector=HALF, asked_at=time.time())
        sys.stdout.write(f"{one.id}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    asyncio.run(main())
