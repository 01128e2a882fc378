"""The server as a process: started, killed, started again; what was acknowledged is there."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from cacheserver.app import KEEP_ALIVE_S
from tests.models import model_dir

MODEL = "claude-haiku-5-5"


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CACHESERVER", "ANTHROPIC"))}
    ours = {"data_dir": str(data_dir), "model_dir": str(model_dir()), "port": "0"}
    ours |= {"store_wait_s": "5"} | settings  # on a busy machine a store may take its time
    return kept | {f"CACHESERVER_{name.upper()}": value for name, value in ours.items()}


def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cacheserver.cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str
    http: httpx2.Client

    def ask(self, text: str, **body: Any) -> httpx2.Response:
        asked = {
            "model": MODEL,
            "max_tokens": 200,
            "messages": [{"role": "user", "content": text}],
            **body,
        }
        return self.http.post("/v1/messages", json=asked)

    def kind(self, text: str) -> str:
        answer = self.ask(text)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-cache"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def wait_until_ready(self) -> None:
        while self.http.get("/readyz?similarity=1").status_code != 200:
            time.sleep(0.02)  # what is waited for needs the core


@contextmanager
def server(data_dir: Path, *, code: str = "", **settings: str) -> Iterator[Server]:
    """`code` runs before the command, in its process."""
    env = environment(data_dir, **{"upstream": "simulated", **settings})
    command = [sys.executable, "-c", f"{code}\nfrom cacheserver.cli import main\nmain(['serve'])"]
    if not code:
        command = [sys.executable, "-m", "cacheserver.cli", "serve"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"http://\S+", line):
                break
        else:
            raise AssertionError(f"the server did not start: {said}")
        # Somebody has to read on, or its log would fill the pipe.
        reader = threading.Thread(target=process.stderr.read, daemon=True)
        reader.start()
        with httpx2.Client(base_url=found[0], timeout=30) as http:
            yield Server(process, found[0], http)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=60)
        reader.join()
        process.stderr.close()


def test_killed_in_the_middle_of_writes_it_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    with server(tmp_path) as first:
        enough = threading.Event()

        def write(writer: int) -> None:
            number = 0
            while True:
                text = f"Writer {writer} asks for the {number}th time: what is it?"
                try:
                    answer = first.ask(text, system=text)  # a scope of its own: exact or not at all
                except httpx2.HTTPError:
                    return
                if answer.status_code == 200:
                    acknowledged.append(text)
                if len(acknowledged) > 100:
                    enough.set()
                number += 1

        writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for writer in writers:
            writer.start()
        assert enough.wait(60)
        first.kill()
        for writer in writers:
            writer.join()
    with server(tmp_path) as second:
        second.wait_until_ready()
        kinds = {second.ask(text, system=text).headers["x-cache"] for text in acknowledged}
        assert kinds == {"exact"}
        indexed = httpx2.get(f"{second.url}/readyz", timeout=10).json()
        assert indexed["ready"] is True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_similar_questions_are_found_again_after_a_start(
    tmp_path: Path, how: signal.Signals
) -> None:
    with server(tmp_path) as first:
        first.wait_until_ready()
        assert first.kind("What is the capital of France?") == "miss"
        first.process.send_signal(how)
        first.process.wait()
    assert (tmp_path / "index.snapshot").exists() == (how == signal.SIGTERM)
    with server(tmp_path) as second:
        second.wait_until_ready()
        assert second.kind("What's the capital of France?") == "semantic"


def test_it_is_ready_before_similar_questions_are_found(tmp_path: Path) -> None:
    snapshot = tmp_path / "index.snapshot"
    os.mkfifo(snapshot)  # who reads it waits for a writer
    with server(tmp_path) as running:
        ready, waiting = running.http.get("/readyz"), running.http.get("/readyz?similarity=1")
        assert (ready.status_code, ready.json()["similarity"]) == (200, "loading")
        assert (waiting.status_code, waiting.json()["ready"]) == (503, False)
        first = running.ask("What is the capital of France?")
        assert (first.headers["x-cache"], first.headers["x-cache-reason"]) == ("miss", "warming")
        assert running.kind("What is the capital of France?") == "exact"
        assert running.kind("What's the capital of France?") == "miss"
        with snapshot.open("wb"):
            pass
        running.wait_until_ready()
        assert running.http.get("/readyz").json()["similarity"] == "ok"
        assert running.kind("what is the capital of France?") == "semantic"


def test_a_damaged_snapshot_is_made_good_from_the_store(tmp_path: Path) -> None:
    with server(tmp_path) as first:
        first.wait_until_ready()
        first.kind("What is the capital of France?")
    snapshot = tmp_path / "index.snapshot"
    snapshot.write_bytes(snapshot.read_bytes()[:-7] + b"garbage")
    with server(tmp_path) as second:
        second.wait_until_ready()
        assert second.kind("What's the capital of France?") == "semantic"


def test_sigterm_lets_a_stream_end(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        body = {
            "model": MODEL,
            "max_tokens": 200,
            "stream": True,
            "messages": [{"role": "user", "content": "Slow? [[sim slow=1 words=20]]"}],
        }
        with httpx2.stream("POST", f"{running.url}/v1/messages", json=body, timeout=30) as response:
            running.process.terminate()
            text = "".join(response.iter_text())
        assert "message_stop" in text
        assert running.process.wait(timeout=30) == 0


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with server(tmp_path) as first:
        refused = run("serve", env=environment(tmp_path, upstream="simulated"))
        assert refused.returncode == 2
        assert "CACHESERVER_DATA_DIR" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert first.kind("Still there?") == "miss"


def test_the_serving_process_never_loads_torch(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        running.wait_until_ready()
        running.kind("What is the capital of France?")
        maps = Path(f"/proc/{running.process.pid}/maps").read_text()
        assert "onnxruntime" in maps
        assert "torch" not in maps


def test_the_store_dies_with_the_server(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        running.wait_until_ready()
        task = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        (child,) = task.read_text().split()
        handle = os.pidfd_open(int(child))
        running.kill()
        assert select_readable(handle)
        os.close(handle)


def select_readable(handle: int) -> bool:
    """Whether the process behind a pidfd ended within ten seconds."""
    import select

    return bool(select.select([handle], [], [], 10)[0])


def test_keys_are_made_while_the_server_runs_and_close_it(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        assert running.kind("Open?") == "miss"
        made = run("key", "create", "--tenant", "shop", env=environment(tmp_path))
        assert made.returncode == 0
        key = made.stdout.strip()
        assert key.startswith("cs_")
        while running.ask("Open?").status_code == 200:
            pass  # within seconds
        assert running.ask("Open?").status_code == 401
        allowed = httpx2.get(f"{running.url}/v1/stats", headers={"x-api-key": key})
        assert allowed.status_code == 200


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "ANTHROPIC_API_KEY"),
        ({"upstream": "simulated", "host": "0.0.0.0"}, "CACHESERVER_HOST"),
        ({"upstream": "simulated", "port": "99999"}, "CACHESERVER_PORT"),
        ({"upstream": "simulated", "colour": "red"}, "CACHESERVER_COLOUR"),
        ({"upstream": "simulated", "redis_url": "http://x"}, "CACHESERVER_REDIS_URL"),
        ({"upstream": "simulated", "model_dir": "/nowhere"}, "CACHESERVER_MODEL_DIR"),
    ],
)
def test_what_cannot_work_is_refused_at_start_by_name(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    refused = run("serve", env=environment(tmp_path, **settings))
    assert refused.returncode == 2
    assert named in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_price_that_cannot_be_is_refused_by_its_line_before_anything_is_started(
    tmp_path: Path,
) -> None:
    table, data = tmp_path / "prices.toml", tmp_path / "data"
    table.write_text('[[price]]\nmodel = "m"\ninput = -1\n')
    refused = run("serve", env=environment(data, upstream="simulated", prices=str(table)))
    assert refused.returncode == 2
    assert "`CACHESERVER_PRICES`" in refused.stderr
    assert "line 3: `price[0].input` must be 0 or more" in refused.stderr
    assert not data.exists()


def test_idle_connections_outlive_those_that_clients_keep(tmp_path: Path) -> None:
    """One that both close at the same time loses the request that is just on it."""
    theirs = httpx2.Limits().keepalive_expiry, anthropic.DEFAULT_CONNECTION_LIMITS.keepalive_expiry
    assert all(one is not None and one < KEEP_ALIVE_S for one in theirs), theirs
    longest = max(one for one in theirs if one is not None)
    with server(tmp_path) as one:
        one.wait_until_ready()
        at = httpx2.URL(one.url)
        with socket.create_connection((at.host, at.port), timeout=longest + 1) as line:
            line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            said = b""
            while not said.endswith(b"}"):
                said += line.recv(65_536)
            assert said.startswith(b"HTTP/1.1 200")
            with pytest.raises(TimeoutError):  # the end of the connection would be b""
                line.recv(1)
