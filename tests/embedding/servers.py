"""An embeddings endpoint of the tests' own: a real server whose replies a test decides."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

Reply = Callable[[dict[str, Any]], tuple[int, bytes, dict[str, str]]]


@dataclass
class Server:
    """`reply` makes status, body and headers of a request's JSON."""

    reply: Reply
    url: str = ""
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


def vector(text: str, dim: int, seed: str = "") -> list[float]:
    """Return a vector of any text: words in common make two alike."""
    made = np.zeros(dim)
    for word in text.lower().replace("?", "").split():
        digest = hashlib.sha256((seed + word).encode()).digest()
        made += np.random.default_rng(int.from_bytes(digest[:8])).normal(size=dim)
    return [float(x) for x in made]


def shaped(dim: int = 32, seed: str = "") -> Reply:
    """Reply in OpenAI's shape, with the last text first: only `index` says whose is whose."""

    def reply(body: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        rows = [
            {"object": "embedding", "index": at, "embedding": vector(text, dim, seed)}
            for at, text in enumerate(body["input"])
        ]
        return 200, json.dumps({"object": "list", "data": rows[::-1]}).encode(), {}

    return reply


def saying(body: Any, status: int = 200, **headers: str) -> Reply:
    """Reply the same to everything."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: (status, text, headers)


@contextmanager
def serving(reply: Reply) -> Iterator[Server]:
    server = Server(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.requests.append((self.path, headers, body))
            status, text, more = server.reply(body)
            try:
                self.send_response(status)
                for name, value in {**more, "content-length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)
            except ConnectionError:  # the caller waits no longer
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
