"""`serve --workers 2`: real processes behind one address."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from cacheserver.api.server import address
from tests.commands.foreground import hear_interrupts
from tests.embedded.shim import built
from tests.test_process import MODEL, environment, run, server
from tests.workers.processes import (
    ADMIN,
    ask,
    check,
    children,
    command,
    counted,
    fresh,
    listed,
    requests,
    slow_claude,
    until,
    workers,
)


def test_metrics_are_those_of_all_workers_whoever_is_asked(tmp_path: Path) -> None:
    with workers(tmp_path) as one:
        for n in range(30):
            assert ask(one, f"What is {n % 10} and {n % 10}?").status_code == 200
        pids = {each["pid"] for each in listed(one)}
        assert len(pids) == 2
        until(lambda: requests(one) == 30)  # each is counted once its answer has left
        for _ in range(6):
            found = counted(one)
            assert requests(one) == 30
            assert found["cacheserver_workers"] == 2
            assert found["cacheserver_servers"] == 2
            assert found["cacheserver_lease_held"] == 1
            (size,) = [n for name, n in found.items() if name.startswith("cacheserver_info{")]
            assert size == 1
        seconds = sum(n for name, n in found.items() if "request_seconds_count" in name)
        assert seconds == 30
        latency = fresh(one, "GET", "/admin/v1/overview", headers=ADMIN).json()["latency"]
        assert sum(each["requests"] for each in latency["by_decision"].values() if each) == 30


def test_what_one_worker_stores_purges_or_revokes_holds_on_the_other(tmp_path: Path) -> None:
    with workers(tmp_path) as one:
        assert ask(one, "What is Redis?").headers["x-cache"] == "miss"
        assert {ask(one, "What is Redis?").headers["x-cache"] for _ in range(12)} == {"exact"}
        gone = fresh(one, "POST", "/admin/v1/purge", headers=ADMIN, json={"tenant": "default"})
        assert gone.status_code == 200, gone.text
        assert ask(one, "What is Redis?").headers["x-cache"] == "miss"
        made = run("key", "create", "--tenant", "shop", env=environment(tmp_path))
        assert made.returncode == 0, made.stderr
        key = made.stdout.split()[-1]
        held = {"headers": {"x-api-key": key}}
        assert {ask(one, "What is Redis?", **held).status_code for _ in range(8)} == {200}
        keys = run("key", "list", "--json", env=environment(tmp_path)).stdout
        (id,) = re.findall(r'"id": ?"([^"]+)"', keys)
        assert run("key", "revoke", id, env=environment(tmp_path)).returncode == 0
        assert {ask(one, "What is Redis?", **held).status_code for _ in range(8)} == {401}


def test_an_uploaded_log_is_there_whichever_worker_is_asked(tmp_path: Path) -> None:
    with workers(tmp_path) as one:
        path, log = "/admin/v1/audits?name=log.jsonl", b'{"model": "x"}\n' * 10
        made = [fresh(one, "POST", path, headers=ADMIN, content=log) for _ in range(4)]
        assert {each.status_code for each in made} <= {200, 201, 202}, made[0].text
        ids = {each.json()["id"] for each in made}
        for _ in range(8):
            found = fresh(one, "GET", "/admin/v1/audits", headers=ADMIN).json()
            assert ids == {each["id"] for each in found["items"]}
        refused = [fresh(one, "GET", "/admin/v1/audits") for _ in range(8)]
        assert {each.status_code for each in refused} == {401}
        assert {len(each.headers.get_list("date")) for each in refused} == {1}


def test_a_worker_that_is_killed_under_load_is_replaced_and_its_counts_stay(
    tmp_path: Path,
) -> None:
    with workers(tmp_path) as one:
        assert ask(one, "What is Redis?").status_code == 200
        before = listed(one)
        answered, failed, stop = [0], [0], threading.Event()

        def load() -> None:
            while not stop.is_set():
                try:
                    assert ask(one, "What is Redis?").status_code == 200
                    answered[0] += 1
                except httpx2.HTTPError:  # it was on the worker that was killed
                    failed[0] += 1

        loads = [threading.Thread(target=load) for _ in range(2)]
        for each in loads:
            each.start()
        until(lambda: answered[0] > 40)
        told = answered[0]
        requests(one)  # the parent looks at what each has counted
        os.kill(before[1]["pid"], signal.SIGKILL)
        at = answered[0]
        until(lambda: answered[0] > at + 20)  # the other one goes on
        until(lambda: listed(one)[1]["pid"] not in (None, before[1]["pid"]))
        stop.set()
        for each in loads:
            each.join()
        after = listed(one)
        assert after[0]["pid"] == before[0]["pid"]
        assert after[1]["restarts"] == 1
        assert counted(one)["cacheserver_worker_restarts_total"] == 1
        # Of its counts those since the parent's look are lost: of few, where some 20 are told.
        lost = at - told + len(loads)
        until(lambda: requests(one) >= 1 + answered[0] - lost)
        assert failed[0] <= len(loads) + 2


QUICK = "import cacheserver.workers.supervisor as s; s._LOOK_S = s._WAIT_S = 0.5"


def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    with workers(tmp_path, code=QUICK) as one:
        assert ask(one, "What is the capital of France?").headers["x-cache"] == "miss"
        pids = [each["pid"] for each in listed(one)]
        os.kill(pids[1], signal.SIGSTOP)
        said = []

        def is_told() -> bool:
            with suppress(httpx2.HTTPError):  # the kernel gave it to the one that hangs
                said.append(check(one))
            return bool(said) and said[-1]["status"] == "degraded"

        until(is_told)
        assert said[-1]["found"] == "1 of 2 workers answer"
        until(lambda: not Path(f"/proc/{pids[1]}").exists())
        until(lambda: listed(one)[1]["pid"] not in (None, pids[1]))
        assert check(one)["status"] == "ok"
        assert listed(one)[0]["pid"] == pids[0]
        # It was not given connections before it could find similar questions.
        found = {ask(one, "What's the capital of France?").headers["x-cache"] for _ in range(8)}
        assert found == {"semantic"}


def test_a_worker_that_hangs_does_not_keep_the_others_from_stopping(tmp_path: Path) -> None:
    with workers(tmp_path, code=QUICK) as one:
        os.kill(listed(one)[1]["pid"], signal.SIGSTOP)
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(60)


CLAUDE_KEY = {"anthropic_api_key": "sk-ant-of-the-test"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_answers_end_and_stops_all(tmp_path: Path, number: signal.Signals) -> None:
    with (
        slow_claude() as claude,
        workers(tmp_path, code="import os; os.setpgid(0, 0)", upstream=claude, **CLAUDE_KEY) as one,
    ):
        pids = [each["pid"] for each in listed(one)]
        ask(one, "What is the capital of France? [[sim words=1]]")
        like = "What's the capital of France? [[sim words=1]]"
        until(lambda: {ask(one, like).headers["x-cache"] for _ in range(8)} == {"semantic"})
        with httpx2.Client(base_url=one.url, timeout=30) as http:
            body = {
                "model": MODEL,
                "max_tokens": 200,
                "stream": True,
                "messages": [{"role": "user", "content": "What is a drain? [[sim words=40]]"}],
            }
            with http.stream("POST", "/v1/messages", json=body) as answer:
                lines = answer.iter_lines()
                assert any("content_block_delta" in line for line in lines)
                if number == signal.SIGINT:
                    os.killpg(one.process.pid, number)  # as a terminal does
                else:
                    one.process.send_signal(number)
                text = "".join(lines)
        assert "message_stop" in text
        assert one.process.wait(60) == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        assert (tmp_path / "index.snapshot").exists()
        assert (tmp_path / "index-1.snapshot").exists()


# All are ready; the parent is about to let them listen.
NOT_YET = """
import cacheserver.workers.supervisor as s
s.Supervisor._begin = lambda self: self._announce("http://127.0.0.1:1 is not served yet")
"""


def test_workers_that_wait_when_the_command_stops_never_listen(tmp_path: Path) -> None:
    # Another command has bound the same address, and is the first to serve.
    with address.bound("127.0.0.1", 0, shared=True) as other:
        place = other.getsockname()
        with workers(tmp_path, code=NOT_YET, port=str(place[1])) as one:
            other.listen()
            other.settimeout(5)  # a caller that another socket took never comes
            one.process.send_signal(signal.SIGTERM)
            while one.process.poll() is None:
                with socket.create_connection(place):
                    other.accept()[0].close()
            assert one.process.wait(60) == 0


def test_a_disk_that_fails_under_the_store_of_the_parent_is_told_by_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", str(built(tmp_path)))
    monkeypatch.setenv("BAD_DISK", str(tmp_path / "disk"))
    name = 'cacheserver_swallowed_total{site="store-sync"}'
    with workers(tmp_path / "data") as one:
        assert check(one, "disk")["status"] != "failed"
        (tmp_path / "disk.broken").touch()
        assert ask(one, "What is Redis?").status_code == 200
        until(lambda: check(one, "disk")["status"] == "failed")
        until(lambda: counted(one).get(name, 0) > 0)
        (tmp_path / "disk.broken").unlink()
        until(lambda: check(one, "disk")["status"] != "failed")


def test_workers_end_with_a_parent_that_is_killed_and_the_next_start_has_all(
    tmp_path: Path,
) -> None:
    with workers(tmp_path) as one:
        pids = [each["pid"] for each in listed(one)]
        assert ask(one, "What is Redis?").headers["x-cache"] == "miss"
        one.kill()
        until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])
    with server(tmp_path, workers="1") as next:
        assert next.kind("What is Redis?") == "exact"
        assert not (tmp_path / "index-1.snapshot").exists()  # of a worker that is no more


def test_a_store_that_is_killed_comes_back_to_all_workers(tmp_path: Path) -> None:
    with workers(tmp_path) as one:
        assert ask(one, "What is Redis?").headers["x-cache"] == "miss"
        before = listed(one)
        (store,) = [pid for pid in children(one.process.pid) if "valkey" in command(pid)]
        os.kill(store, signal.SIGKILL)
        for _ in range(8):
            assert ask(one, "What is Redis?").status_code == 200  # of Claude, while it is away
        until(
            lambda: {ask(one, "What is Redis?").headers["x-cache"] for _ in range(8)} == {"exact"}
        )
        assert [each["pid"] for each in listed(one)] == [each["pid"] for each in before]


def test_a_setting_that_no_worker_can_start_with_ends_all_with_its_reason(tmp_path: Path) -> None:
    env = environment(tmp_path, upstream="simulated", workers="2", host="0.0.0.0")
    ended = run("serve", env=env)
    assert ended.returncode == 2
    assert ended.stderr.count("cacheserver key create") == 1, ended.stderr


# The signal comes as the last of the workers says that it is ready.
AT_LAST = """
import signal
import cacheserver.workers.supervisor as s
heard = s.Supervisor._heard
def stopped(self, worker, topic, value):
    if topic == s.process.READY and sum(one.is_ready for one in self._workers) == 1:
        self._stop(signal.SIGTERM)
    heard(self, worker, topic, value)
s.Supervisor._heard = stopped
"""


def test_a_command_that_stops_as_its_last_worker_is_ready_does_not_begin_to_serve(
    tmp_path: Path,
) -> None:
    env = environment(tmp_path, upstream="simulated", workers="2")
    serve = [sys.executable, "-c", f"{AT_LAST}\nfrom cacheserver.cli import main\nmain(['serve'])"]
    ended = subprocess.run(serve, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "http://" not in ended.stderr  # it says where it serves


def catches(pid: int, number: signal.Signals) -> bool:
    (mask,) = re.findall(r"^SigCgt:\s+(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_ctrl_c_before_the_workers_are_ready_ends_all_without_a_traceback(tmp_path: Path) -> None:
    env = environment(tmp_path, upstream="simulated", workers="2")
    serve = [sys.executable, "-m", "cacheserver.cli", "serve"]
    with subprocess.Popen(
        serve, env=env, stderr=subprocess.PIPE, text=True, process_group=0,
        preexec_fn=hear_interrupts,
    ) as process:  # fmt: skip

        def starting() -> list[int]:
            return [pid for pid in children(process.pid) if "workers.process" in command(pid)]

        until(lambda: len(starting()) == 2 and all(catches(p, signal.SIGINT) for p in starting()))
        pids = starting()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
