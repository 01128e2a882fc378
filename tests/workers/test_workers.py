"""`serve --workers 2`: real processes behind one address."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import httpx2
import pytest

from tests.test_process import MODEL, environment, run, server
from tests.workers.processes import (
    ADMIN,
    ask,
    children,
    command,
    counted,
    fresh,
    listed,
    requests,
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
        until(lambda: answered[0] > 20)
        seen = requests(one)
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
        assert requests(one) >= seen  # a sum that fell would look like a restart of the server
        assert failed[0] <= len(loads) + 2


QUICK = "import cacheserver.workers.supervisor as s; s._LOOK_S = s._WAIT_S = 0.5"


def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    with workers(tmp_path, code=QUICK) as one:
        assert ask(one, "What is the capital of France?").headers["x-cache"] == "miss"
        pids = [each["pid"] for each in listed(one)]
        os.kill(pids[1], signal.SIGSTOP)
        until(lambda: not Path(f"/proc/{pids[1]}").exists())
        until(lambda: listed(one)[1]["pid"] not in (None, pids[1]))
        assert listed(one)[0]["pid"] == pids[0]
        # It was not given connections before it could find similar questions.
        found = {ask(one, "What's the capital of France?").headers["x-cache"] for _ in range(8)}
        assert found == {"semantic"}


def test_a_worker_that_hangs_does_not_keep_the_others_from_stopping(tmp_path: Path) -> None:
    with workers(tmp_path, code=QUICK) as one:
        os.kill(listed(one)[1]["pid"], signal.SIGSTOP)
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_answers_end_and_stops_all(tmp_path: Path, number: signal.Signals) -> None:
    with workers(tmp_path) as one:
        pids = [each["pid"] for each in listed(one)]
        with httpx2.Client(base_url=one.url, timeout=30) as http:
            body = {
                "model": MODEL,
                "max_tokens": 200,
                "stream": True,
                "messages": [{"role": "user", "content": "What is a drain?"}],
            }
            with http.stream("POST", "/v1/messages", json=body) as answer:
                one.process.send_signal(number)
                text = "".join(answer.iter_text())
        assert "message_stop" in text
        assert one.process.wait(60) == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        assert (tmp_path / "index.snapshot").exists()
        assert (tmp_path / "index-1.snapshot").exists()


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
