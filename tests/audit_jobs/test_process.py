"""The process of an audit ends with the server that reads its progress."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cacheserver.audit_jobs.job import AuditOptions, AuditProgress, arguments, read_progress
from tests.analysis.audit.records import pair
from tests.models import model_dir

_LINES = 30_000  # some seconds to read: it is under way when nobody listens any more


def test_an_audit_that_nobody_follows_ends_by_itself(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    line = json.dumps(pair()).encode() + b"\n"
    log.write_bytes(line * _LINES)
    words = arguments(AuditOptions(), str(log), str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-m", "cacheserver.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "CACHESERVER_MODEL_DIR": str(model_dir())},
    ) as child:
        assert child.stderr is not None
        first = read_progress(json.loads(child.stderr.readline()))
        assert first is not None
        assert first.phase == "reading"
        child.stderr.close()  # as if the server were killed
        assert child.wait(60) == 141  # 128 + SIGPIPE
    assert not (tmp_path / "report.json").exists()


def test_progress_tells_the_rate_and_the_time_left_once_they_are_known() -> None:
    soon = AuditProgress("replaying", 10, 100, 0.5)
    assert (soon.per_second, soon.left_s) == (None, None)
    later = AuditProgress("replaying", 25, 100, 5.0)
    assert (later.per_second, later.left_s) == (5.0, 15.0)
    assert read_progress({"phase": "reading", "done": "many"}) is None
