"""Servers to be killed: `python -m tests.batches.child DIR REDIS CLAUDE`.

Each is the server that `cacheserver serve` is, but for a pace at which minutes are moments. Each
line on stdin forks one, which prints its process id and URL; `gone` is printed when it has ended.
A fork has everything imported; the imports take longer than a step of the tests.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import faiss  # noqa: F401, imported late by the server: before the fork it is paid for once
import onnxruntime  # noqa: F401
import uvicorn
from pydantic import SecretStr

from cacheserver import bootstrap
from cacheserver.app import create_app
from cacheserver.config.settings import Settings
from cacheserver.simulated.serve import listen
from tests.batches.house import QUICK
from tests.house import ADMIN_KEY
from tests.models import model_dir


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


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
    async with bootstrap.build(settings, pace=QUICK) as parts:
        app = create_app(parts, settings)
        await parts.entries.restored.wait()
        with listen("127.0.0.1", 0) as listener:
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
            say(f"{os.getpid()} http://127.0.0.1:{listener.getsockname()[1]}")
            await server.serve(sockets=[listener])


if __name__ == "__main__":
    for _ in sys.stdin:
        if (child := os.fork()) == 0:
            asyncio.run(main(*sys.argv[1:]))
            os._exit(0)
        os.waitpid(child, 0)
        say("gone")
