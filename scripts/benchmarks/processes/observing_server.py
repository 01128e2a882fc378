"""The server of `scripts.benchmarks.processes.server`, watched or not; or what takes spans in.

Arguments: DATA_DIR UPSTREAM ENTRIES off|logs|otel, or `sink` alone. Lines of the log are
made and thrown away: a disk's time is not ours.
"""

from __future__ import annotations

import logging
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import uvloop

from cacheserver.config.otel import otel
from cacheserver.observability import logs
from scripts.benchmarks.processes import server


class _Sink(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def main(arguments: list[str]) -> None:
    *given, watched = arguments
    if watched == "sink":
        sink = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
        print(sink.server_port, flush=True)
        sink.serve_forever()
    logs.install("info", "json")
    access: Literal["on", "off"] = "on" if watched == "logs" else "off"
    with Path(os.devnull).open("w") as nowhere:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(nowhere)
        uvloop.run(server.main(server.arguments(given), access_log=access, otel=otel()))


main(sys.argv[1:])
