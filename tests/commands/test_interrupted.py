"""Ctrl-C: nothing is half-done, and the command says what holds and how to go on."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from cacheserver.core.command_line import INTERRUPTED
from cacheserver.transfer import export_file
from tests.commands.conftest import Shell
from tests.commands.foreground import Foreground, Gate
from tests.house import ADMIN_KEY, MODEL, House
from tests.transfer.imports import SYSTEM, imported

TO = ("--tenant", "shop", "--model", MODEL, "--max-tokens", "100", "--system", SYSTEM)
MANY = [{"question": f"What is the size of box {n}?", "answer": f"{n} cm."} for n in range(700)]


@asynccontextmanager
async def held(
    house: House, folder: Path, mark: bytes, nth: int, *words: str | Path
) -> AsyncIterator[Foreground]:
    """Run a command until the server has got its `nth` request with `mark`, which it never does."""
    gate, where = Gate(mark, nth), urlsplit(house.url)
    async with gate.before(host=where.hostname, port=where.port) as port:
        url = f"http://127.0.0.1:{port}"
        command = await Foreground.start(*words, cwd=folder, url=url, admin_key=ADMIN_KEY)
        await command.until(gate.shut)
        yield command


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("shop*")]


def resumed_by(shown: str) -> str:
    """Return the id of the import that the last line says to go on with."""
    last = shown.strip().splitlines()[-1]
    found = re.fullmatch(
        r"cacheserver: interrupted; what was sent is stored; the same command with "
        r"--resume (imp_[0-9a-f]+) goes on",
        last,
    )
    assert found is not None, shown
    return found[1]


async def test_an_export_has_its_name_once_it_is_whole_and_goes_on(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    await house.key("shop")
    await imported(house, MANY)
    file = tmp_path / "shop.jsonl.zst"
    words = ("export", str(file), "--tenant", "shop")
    async with held(house, tmp_path, b"GET /admin/v1/exports", 3, *words) as export:
        await export.shows("exporting: ")
        done = await export.interrupt()
    assert (done.status, done.out) == (INTERRUPTED, "")
    assert done.err.endswith("cacheserver: interrupted; the same command goes on where it was\n")
    assert names(tmp_path) == ["shop.jsonl.zst.partial"]
    whole = await shell(*words, "--json")
    assert whole.status == 0, whole.err
    assert re.search(r"goes on after [1-9]\d* records", whole.err)
    assert names(tmp_path) == ["shop.jsonl.zst"]
    kinds = [item["kind"] for _, item in export_file.read(file).items]
    assert kinds.count("entry") == len(MANY)


async def test_a_warming_goes_on_after_what_was_sent(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    await house.key("shop")
    faq = tmp_path / "faq.jsonl"
    faq.write_text("\n".join(map(json.dumps, MANY)))
    words = ("warm", str(faq), *TO)
    async with held(house, tmp_path, b"POST /admin/v1/imports HTTP", 1, *words) as warming:
        done = await warming.interrupt()
    assert done.status == INTERRUPTED
    assert done.err.endswith("cacheserver: interrupted; nothing was stored; run it again\n")
    async with held(house, tmp_path, b"/records HTTP", 2, *words) as warming:
        await warming.shows("importing: ")
        done = await warming.interrupt()
    assert (done.status, done.out) == (INTERRUPTED, "")
    id = resumed_by(done.err)
    listed = await shell("import", "--list", "--tenant", "shop", "--json")
    assert [one["done"] for one in listed.json["items"]] == [500]
    whole = await shell(*words, "--resume", id, "--json")
    assert (whole.status, whole.json["stored"]) == (0, len(MANY)), whole.err


async def test_an_import_goes_on_and_so_does_what_undoes_it(
    house: House, shell: Shell, tmp_path: Path
) -> None:
    await house.key("shop")
    first = await imported(house, MANY)
    file = tmp_path / "shop.jsonl.zst"
    assert (await shell("export", str(file), "--tenant", "shop")).status == 0
    undo = ("import", "--undo", first["id"], "--tenant", "shop")
    async with held(house, tmp_path, b"DELETE /admin/v1/imports", 1, *undo) as undoing:
        done = await undoing.interrupt()
    assert done.status == INTERRUPTED
    assert "the same command removes the rest\n" in done.err
    assert (await shell(*undo)).out == "700 entries and 0 labels removed\n"
    words = ("import", str(file), "--tenant", "shop")
    async with held(house, tmp_path, b"/records HTTP", 2, *words) as importing:
        await importing.shows("importing: ")
        done = await importing.interrupt()
    assert (done.status, done.out) == (INTERRUPTED, "")
    whole = await shell(*words, "--resume", resumed_by(done.err), "--json")
    assert (whole.status, whole.json["stored"]) == (0, len(MANY)), whole.err


async def test_a_move_of_the_index_goes_on_in_the_server(house: House, tmp_path: Path) -> None:
    words = ("index", "move", "--to", "vector-sets")
    async with held(house, tmp_path, b"GET /admin/v1/stats", 1, *words) as moving:
        done = await moving.interrupt()
    assert done.status == INTERRUPTED
    assert "the server goes on moving; `index show` says how far it is\n" in done.err
