"""A server process that is stopped while others change something: what it does as it goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.embedded.process import find_server
from tests.redis_servers import serving
from tests.test_process import MODEL, Server, server

ADMIN = {"x-api-key": "an-admin-key-of-tests"}
TENANTS = ("purged", "erased", "revoked", "barred", "deleted")
ASKED = "How do I reset my password?"
REPHRASED = "How can I reset my password?"
STOPPED_S = 3.0  # longer than a lease, shorter than keys and settings are remembered without one
ENOUGH_S = 2.5  # for a change that waits for a lease to lapse


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack:
        url = stack.enter_context(serving(find_server()))
        given = {"redis_url": url, "admin_key": ADMIN["x-api-key"]}
        found = [stack.enter_context(server(tmp_path / name, **given)) for name in "ab"]
        for one in found:
            one.wait_until_ready()
        yield found[0], found[1]


def ask(to: Server, key: str, text: str = ASKED) -> httpx2.Response:
    body = {
        "model": MODEL,
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
    }
    headers = {"x-api-key": key, "x-cache-ttl": "3600"}
    return to.http.post("/v1/messages", json=body, headers=headers)


def changed(to: Server, method: str, path: str, **given: Any) -> dict[str, Any]:
    """Change something by the admin API; it is acknowledged in time."""
    began = time.monotonic()
    headers = given.pop("headers", ADMIN)
    got = to.http.request(method, path, headers=headers, **given)
    assert got.is_success, got.text
    assert time.monotonic() - began < ENOUGH_S, path
    found: dict[str, Any] = got.json() if got.content else {}
    return found


def test_a_server_that_was_stopped_serves_nothing_that_was_changed_meanwhile(
    two: tuple[Server, Server],
) -> None:
    one, other = two
    made = {t: changed(one, "POST", "/admin/v1/keys", json={"tenant": t}) for t in TENANTS}
    keys = {tenant: key["key"] for tenant, key in made.items()}
    for key in keys.values():
        assert ask(one, key).headers["x-cache"] == "miss"
    time.sleep(1.5)  # until both keep answers in memory
    for key in keys.values():
        for _ in range(3):
            assert ask(other, key).headers["x-cache"] == "exact"
        assert ask(other, key, REPHRASED).headers["x-cache"] == "semantic"
    entry = ask(other, keys["deleted"]).headers["x-cache-entry"]

    own = {tenant: {"x-api-key": key} for tenant, key in keys.items()}
    all_of = {"namespace": "default"}
    with ThreadPoolExecutor(len(TENANTS)) as pool, ExitStack() as stack:
        other.process.send_signal(signal.SIGSTOP)
        stack.callback(other.process.send_signal, signal.SIGCONT)  # also where a change fails
        began = time.monotonic()
        changed(one, "POST", "/v1/purge", json=all_of, headers=own["purged"])
        changed(one, "POST", "/v1/erase", json=all_of, headers=own["erased"])
        changed(one, "DELETE", f"/admin/v1/keys/{made['revoked']['id']}")
        bar = {"bar": {"similarity": 0.999}}
        changed(one, "PUT", "/admin/v1/tenants/barred", json=bar)
        changed(one, "DELETE", f"/admin/v1/entries/deleted/{entry}")
        waiting = {
            tenant: pool.submit(ask, other, key, REPHRASED if tenant == "barred" else ASKED)
            for tenant, key in keys.items()
        }
        time.sleep(max(0.0, began + STOPPED_S - time.monotonic()))
        stack.close()
        got = {tenant: answer.result() for tenant, answer in waiting.items()}
    assert got.pop("revoked").status_code == 401
    assert {t: answer.headers["x-cache"] for t, answer in got.items()} == dict.fromkeys(got, "miss")
