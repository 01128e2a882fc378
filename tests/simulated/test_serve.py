from __future__ import annotations

import asyncio
import signal
import socket
import sys

import httpx2
import pytest

from cacheserver.core.errors import SettingsError
from cacheserver.simulated import SimulatedSettings, create_app, main, serve_simulated
from cacheserver.simulated.serve import listen
from tests.simulated.conftest import HEADERS, MODEL

BODY = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
RUN = "import sys; from cacheserver.simulated import main; main(sys.argv[1:], announce=print)"


async def test_two_simulated_claudes_share_nothing() -> None:
    async with serve_simulated() as one, serve_simulated(SimulatedSettings()) as two:
        assert one != two
        async with httpx2.AsyncClient() as http:
            await http.post(f"{one}/v1/messages", json=BODY, headers=HEADERS)
            assert (await http.get(f"{one}/_simulated/requests")).json()["counts"]
            assert (await http.get(f"{two}/_simulated/requests")).json()["counts"] == {}


async def test_it_stops_once_its_answers_are_sent() -> None:
    slow = SimulatedSettings(ttft_s=0.05)
    async with httpx2.AsyncClient() as http:
        async with serve_simulated(slow) as url:
            answer = http.post(f"{url}/v1/messages", json=BODY, headers=HEADERS)
            waiting = asyncio.create_task(answer)
            while not (await http.get(f"{url}/_simulated/requests")).json()["counts"]:
                pass
        assert (await waiting).json()["type"] == "message"
        with pytest.raises(httpx2.ConnectError):
            await http.get(url)


async def test_it_leaves_the_signals_of_its_process_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serve_simulated() as url, httpx2.AsyncClient() as http:
        assert (await http.get(f"{url}/v1/models", headers=HEADERS)).status_code == 200
        assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_listener_says_that_it_is_tcp_so_that_answers_leave_at_once() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


async def test_the_app_can_be_served_by_anybody() -> None:
    transport = httpx2.ASGITransport(app=create_app(SimulatedSettings()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://claude") as http:
        response = await http.post("/v1/messages", json=BODY, headers=HEADERS)
    assert response.json()["type"] == "message"


async def test_the_command_serves_until_it_is_told_to_stop() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",
        "-c",
        RUN,
        "--port",
        "0",
        "--ttft-ms",
        "1",
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    line = (await process.stdout.readline()).decode()
    url = next(word for word in line.split() if word.startswith("http://"))
    async with httpx2.AsyncClient() as http:
        response = await http.post(f"{url}/v1/messages", json=BODY, headers=HEADERS)
    assert response.headers["x-upstream"] == "simulated"
    process.send_signal(signal.SIGINT)
    await process.wait()
    assert (await process.stdout.read()) == b""


def test_a_port_in_use_is_a_setting_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SettingsError, match="--port"):
            main(["--port", port], announce=lambda _: None)
