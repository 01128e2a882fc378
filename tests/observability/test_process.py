"""The server as a process, set up as an operator would: by variables alone."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.observability.collector import Collector
from tests.observability.conftest import CANARY
from tests.test_process import environment

COMMAND = [sys.executable, "-m", "cacheserver.cli", "serve"]


async def test_a_server_tells_collector_and_log_the_same_and_no_word_of_a_prompt(
    tmp_path: Path,
) -> None:
    async with Collector.open() as collector:
        env = environment(tmp_path, upstream="simulated", log_format="json")
        env |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_SERVICE_NAME": "answers",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        process = await asyncio.create_subprocess_exec(
            *COMMAND, env=env, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        said: list[str] = []
        while not (found := re.search(r'http://[^"\s]+', said[-1] if said else "")):
            said.append((await process.stderr.readline()).decode())
            assert said[-1], said
        rest = asyncio.create_task(process.stderr.read())
        async with httpx2.AsyncClient(base_url=found[0], timeout=30) as http:
            body = {
                "model": "claude-haiku-5-5",
                "max_tokens": 50,
                "system": CANARY,
                "messages": [{"role": "user", "content": f"Say {CANARY}"}],
            }
            answers = [
                await http.post("/v1/messages", json=body, headers={"x-note": CANARY})
                for _ in range(2)
            ]
            await http.get(f"/{CANARY}")
        # A request that is none is uvicorn's to refuse, and to log.
        host, port = found[0].removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{CANARY}\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        process.terminate()
        said += (await rest).decode().splitlines()
        assert await process.wait() == 0
    lines = [json.loads(line) for line in said]
    access = [line for line in lines if line["logger"] == "cacheserver.access"]
    assert [line["outcome"] for line in access] == ["miss", "exact", None]
    spans = {span.attributes["cacheserver.request_id"]: span for span in collector.requests}
    for answer, line in zip(answers, access, strict=False):
        span = spans[answer.headers["request-id"]]
        assert line["request_id"] == answer.headers["request-id"]
        assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id)
        assert line["decision_id"] == span.attributes["cacheserver.decision_id"]
    assert collector.resource["service.name"] == "answers"
    assert collector.resource["deployment.environment.name"] == "test"
    assert CANARY not in "".join(said)
    assert CANARY.encode() not in b"".join(collector.bodies)


def test_asked_for_without_its_extra_it_is_refused_and_the_extra_named(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules['opentelemetry.exporter'] = None\n"
        "from cacheserver.cli import main\n"
        "sys.exit(main(['serve']))"
    )
    env = environment(tmp_path, upstream="simulated")
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    ran = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert "`OTEL_EXPORTER_OTLP_ENDPOINT`" in line
    assert "extra `otel`" in line


def test_not_asked_for_nothing_of_it_is_loaded() -> None:
    script = "import sys, cacheserver.app, cacheserver.cli\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "cacheserver.bootstrap" in loaded
    assert loaded.isdisjoint(
        {
            "cacheserver.observability.otel",
            "opentelemetry.sdk.trace",
            "opentelemetry.exporter",
            "requests",
        }
    )
