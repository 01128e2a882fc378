"""The applications of docs/in-process.md, each under the server it is written for."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.models import ROOT, model_dir


def written(name: str, folder: Path) -> str:
    """Write the page's block of that file; return the module's name."""
    page = (ROOT / "docs/in-process.md").read_text()
    (text,) = re.findall(rf"^```python\n(# {re.escape(name)}:.*?)^```$", page, re.M | re.S)
    (folder / name).write_text(text)
    return name.removesuffix(".py")


def environment(folder: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
        "CACHESERVER_UPSTREAM": "simulated",
        "CACHESERVER_DATA_DIR": str(folder / "data"),
        "CACHESERVER_MODEL_DIR": str(model_dir()),
    }


@contextmanager
def running(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module as a command until the block ends; it must stop by itself when told to."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=folder, env=environment(folder)
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 30
    while (folder / "data/store/store.json").exists():  # until its store is stopped
        assert time.monotonic() < deadline


def ask(place: Path, path: str) -> httpx2.Response:
    """Ask over a connection of its own, as soon as the server listens."""
    deadline = time.monotonic() + 60
    while not listens(place) and time.monotonic() < deadline:
        pass
    while True:
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(place))) as http:
            try:
                return http.get(f"http://x{path}", timeout=60)
            except httpx2.ReadError:  # of a worker that is being replaced
                assert time.monotonic() < deadline


def listens(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(place)) == 0


def test_fastapi_with_two_workers(tmp_path: Path) -> None:
    place = tmp_path / "s"
    name = written("main.py", tmp_path)
    with running(tmp_path, "uvicorn", "--workers", "2", "--uds", str(place), f"{name}:app"):
        asked = [ask(place, "/ask?question=What+is+Redis").json()["source"] for _ in range(12)]
        assert asked == ["miss", *["exact"] * 11]


def test_gunicorn_whose_workers_are_replaced(tmp_path: Path) -> None:
    place = tmp_path / "s"
    name = written("wsgi.py", tmp_path)
    bind = ("--bind", f"unix:{place}", "--workers", "2", "--threads", "4", "--no-control-socket")
    with running(tmp_path, "gunicorn", *bind, f"{name}:app") as process:
        path = "/?question=What+is+Redis"
        asked = [ask(place, path).headers["x-source"] for _ in range(12)]
        assert asked == ["miss", *["exact"] * 11]
        process.send_signal(signal.SIGHUP)  # two new workers, and the old ones end
        after = [ask(place, path).headers["x-source"] for _ in range(30)]
        assert after[-1] == "exact"


def test_celery_with_two_children(tmp_path: Path) -> None:
    name = written("tasks.py", tmp_path)
    for folder in ("queue", "results"):
        (tmp_path / folder).mkdir()
    with (tmp_path / f"{name}.py").open("a") as file:
        file.write("""
app.conf.update(
    broker_url="filesystem://", result_backend="file://results",
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue"},
)
""")
    ask_for = (
        "from tasks import source; "
        "print([source.delay('What is Redis?').get(timeout=60) for _ in range(6)])"
    )
    worker = ("celery", "--app", name, "worker", "--concurrency", "2", "--loglevel", "ERROR")
    with running(tmp_path, *worker):
        said = subprocess.run(
            [sys.executable, "-c", ask_for],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert said.stdout == f"{['miss', *['exact'] * 5]}\n", said.stderr
