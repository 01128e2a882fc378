"""The wheel and the source distribution hold the server whole and claim no other name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.models import model_dir

ROOT = Path(__file__).resolve().parent.parent
# The files that a user or CI runs, and the modules that they name.
RUN = (ROOT / "Dockerfile", ROOT / ".ci/run", *(ROOT / "scripts").iterdir())
MODULES = sorted(
    {
        name
        for path in RUN
        if path.is_file()
        for name in re.findall(r"(?<=-m )(?:cacheserver|scripts)[\w.]*\w", path.read_text())
    }
)


def build(project: Path, to: Path, *targets: str) -> None:
    options = [word for target in targets for word in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", *options, "-d", str(to)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "sdist", "wheel")
    return folder


def contents(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as packed:
        return {one.filename: one.CRC for one in packed.infolist()}


def test_the_wheel_has_one_top_level_package(dist: Path) -> None:
    names = contents(only(dist, "*.whl"))
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"cacheserver"}
    assert "cacheserver/index/snapshot.py" in names


def test_the_wheel_has_every_file_of_the_packages(dist: Path) -> None:
    files = {
        f"cacheserver/{prefix}{path.relative_to(folder)}"
        for folder, prefix in ((ROOT / "cacheserver", ""), (ROOT / "index", "index/"))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - contents(only(dist, "*.whl")).keys() == set()


def test_the_source_distribution_builds_the_same_wheel(dist: Path, tmp_path: Path) -> None:
    with tarfile.open(only(dist, "*.tar.gz")) as packed:
        packed.extractall(tmp_path, filter="data")
    unpacked = only(tmp_path, "cacheserver-*")
    assert not (unpacked / "index").exists()
    build(unpacked, tmp_path, "wheel")
    assert contents(only(tmp_path, "*.whl")) == contents(only(dist, "*.whl"))


def test_the_installed_server_starts_beside_a_users_own_index_module(
    dist: Path, tmp_path: Path
) -> None:
    installed, work = tmp_path / "installed", tmp_path / "work"
    work.mkdir()
    (work / "index.py").write_text("raise ImportError('the module of a user was imported')\n")
    wheel, python = str(only(dist, "*.whl")), sys.executable
    install = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]
    subprocess.run([*install, str(installed), wheel], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    code = (
        "import cacheserver.index.snapshot, cacheserver.app, cacheserver.bootstrap\n"
        "print(cacheserver.index.snapshot.__file__)\n"
    )
    outputs = [
        subprocess.run(
            command, cwd=work, env=environment, check=True, capture_output=True, text=True
        ).stdout
        for command in (
            [python, "-c", code],
            [python, "-m", "cacheserver.cli", "--help"],
            [python, str(installed / "bin" / "cacheserver"), "--help"],
        )
    ]
    assert Path(outputs[0].strip()).is_relative_to(installed)
    assert all("serve" in output for output in outputs[1:])


def test_the_wheel_of_the_models_holds_the_model_and_little_else(tmp_path: Path) -> None:
    """The package of `scripts/build_models`, which writes the model into the same folder."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "scripts" / "models_package", project)
    shutil.copytree(model_dir(), project / "cacheserver_models" / "minilm")
    build(project, tmp_path, "wheel")
    wheel = only(tmp_path, "cacheserver_models-*.whl")
    held = {name for name in contents(wheel) if ".dist-info/" not in name}
    files = ("model.json", "model.onnx", "batched.onnx", "tokenizer.json")
    model = {f"minilm/{name}" for name in files}
    assert held == {f"cacheserver_models/{name}" for name in {"__init__.py", *model}}
    assert wheel.stat().st_size < 40_000_000  # two graphs, of 23 MB each before compression


def test_the_client_alone_is_light(dist: Path) -> None:
    """The base install has one dependency, and is under 10 MB beyond it."""
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        unpacked = sum(one.file_size for one in wheel.infolist())
        (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        lines = wheel.read(metadata).decode().splitlines()
    required = [line for line in lines if line.startswith("Requires-Dist:")]
    assert [line for line in required if "extra ==" not in line] == [
        "Requires-Dist: httpx2<3,>=2.16"
    ]
    assert unpacked < 10_000_000


def test_the_modules_that_are_run_are_found() -> None:
    assert "cacheserver.index.export" in MODULES
    assert "scripts.chaos_run.command" in MODULES


@pytest.mark.parametrize("module", MODULES)
def test_each_module_that_the_dockerfile_or_a_script_runs_starts(module: str) -> None:
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage:" in done.stdout
