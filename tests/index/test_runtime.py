"""ONNX Runtime tells nobody that it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.models import ROOT, model_dir


def test_a_process_that_embeds_leaves_no_device_id_of_the_telemetry(tmp_path: Path) -> None:
    code = (
        "import pathlib\n"
        "from cacheserver.index.models import OnnxEmbedder\n"
        f"OnnxEmbedder(pathlib.Path({str(model_dir())!r})).embed(['hello'])\n"
    )
    quiet = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}  # each would hide a fault
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in quiet and not name.startswith(("PYTEST", "XDG", "GITHUB"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.rglob("*")] == []
