"""A server in a process of its own, to be killed: `python -m tests.batches.child DIR REDIS CLAUDE`.

It is the server that `cacheserver serve` is, but for a pace at which minutes are moments.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import uvicorn
from pydantic import SecretStr

from cacheserver import bootstrap
from cacheserver.app import create_app
from cacheserver.config.settings import Settings
from cacheserver.simulated.serve import listen
from tests.batches.house import QUICK
from tests.house import ADMIN_KEY
from tests.models import model_dir


async def main(data_dir: str, redis_url: str, claude: str) -> None:
    settings = Settings(
        data_dir=Path(data_dir),
        model_dir=model_dir(),
        redis_url=SecretStr(redis_url),
        upstream=claude,
        anthropic_api_key=SecretStr("sk-ant-the-servers-own"),
        admin_key=SecretStr(ADMIN_KEY),
        similarity=0.95,
    )
    async with bootstrap.build(settings, pace=replace(QUICK, lease_s=1.0)) as parts:
        app = create_app(parts, settings)
        await parts.entries.restored.wait()
        with listen("127.0.0.1", 0) as listener:
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
            sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
            sys.stdout.flush()
            await server.serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
