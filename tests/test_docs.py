"""The pages keep what they promise: their examples run, their reasons are all there are.

Blocks marked `bash` and `python` are run against a server, those of one language and page after one
another; a `text` or `json` block right after one is what it must print. `sh` is only read.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from cacheserver.api.resources.query import QueryRequest
from cacheserver.cache import cacheability
from cacheserver.core.errors import NotSent
from cacheserver.matching import decision as judge
from cacheserver.matching import verification_outcome
from cacheserver.pricing.price_table import load_overrides
from tests.house import ADMIN_KEY, House
from tests.models import ROOT, model_dir

PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/api.md",
    "docs/client.md",
    "docs/integrations.md",
    "docs/in-process.md",
    "docs/running.md",
    "docs/tenants.md",
    "docs/operating.md",
    "docs/declared-questions.md",
    "docs/moving-data.md",
)
LINKED = sorted(
    f"{page.relative_to(ROOT)}" for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"))
)
URL = "http://127.0.0.1:8080"

# What differs from run to run, or from one processor to another (the last digits of a cosine).
_VOLATILE = (
    (re.compile(r"\b(dec|req|msg|cs)_\w+"), r"\1_X"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "X"),
    (re.compile(r"(simulated answer \()[0-9a-f]{12}"), r"\1X"),
    (re.compile(r"(similarity\W+0\.[0-9]{2})[0-9]+"), r"\1"),
)

# Runs blocks in one namespace; prints what each of them printed.
_RUNNER = """
import contextlib, io, json, sys
names, said = {"__name__": "__main__"}, []
for text in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(text, "<docs>", "exec"), names)
    said.append(out.getvalue())
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Block:
    at: str  # page:line
    language: str
    text: str
    shown: str | None  # the output that the page shows
    shown_as: str | None


def blocks(page: str) -> Iterator[Block]:
    text = (ROOT / page).read_text()
    found = list(re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S))
    for block, after in zip(found, [*found[1:], None], strict=True):
        at = f"{page}:{text.count(chr(10), 0, block.start()) + 1}"
        shown = after is not None and after[1] in ("text", "json")
        if after is not None and shown and not text[block.end() : after.start()].strip():
            yield Block(at, block[1], block[2], after[2], after[1])
        else:
            yield Block(at, block[1], block[2], None, None)


async def run(*command: str, given: str, env: dict[str, str], cwd: Path) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=cwd
    )
    out, err = await process.communicate(given.encode())
    assert process.returncode == 0, err.decode()
    return out.decode().replace("\r", "")


def compare(block: Block, said: str) -> None:
    """Fail where a block printed something else than its page shows."""
    if block.shown is None:
        assert '"type":"error"' not in said, f"{block.at} printed {said}"
    elif block.shown_as == "json":
        shown, printed = json.loads(_steady(block.shown)), json.loads(_steady(said))
        assert _within(shown, printed), f"{block.at} printed {said}"
    else:
        assert _steady(said) == _steady(block.shown), block.at


def _steady(text: str) -> str:
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text


def _within(shown: Any, printed: Any) -> bool:
    """Whether `shown` is `printed`, or that with fields left out."""
    if isinstance(shown, dict) and isinstance(printed, dict):
        return all(k in printed and _within(v, printed[k]) for k, v in shown.items())
    return bool(shown == printed)


@pytest.mark.parametrize("page", PAGES)
async def test_the_examples_do_what_the_page_shows(page: str, tmp_path: Path) -> None:
    async with House.open(tmp_path / "house", similarity=None) as house:
        kept = {k: os.environ[k] for k in ("HOME", "PATH", "OMP_NUM_THREADS") if k in os.environ}
        env = kept | {
            "PYTHONPATH": str(ROOT),
            "ADMIN_KEY": ADMIN_KEY,
            "ANTHROPIC_BASE_URL": house.url,
            "ANTHROPIC_API_KEY": "any",
            # for the cache inside a process
            "CACHESERVER_UPSTREAM": "simulated",
            "CACHESERVER_DATA_DIR": str(tmp_path / "own"),
            "CACHESERVER_MODEL_DIR": str(model_dir()),
        }
        found = list(blocks(page))
        for block in found:
            if block.language == "bash":
                script = "set -euo pipefail\n" + block.text.replace(URL, house.url)
                compare(block, await run("bash", given=script, env=env, cwd=tmp_path))
        python = [block for block in found if block.language == "python"]
        if python:
            texts = json.dumps([block.text.replace(URL, house.url) for block in python])
            said = await run(sys.executable, "-c", _RUNNER, given=texts, env=env, cwd=tmp_path)
            for block, printed in zip(python, json.loads(said), strict=True):
                compare(block, printed)


def test_the_price_table_shown_is_one_that_is_taken() -> None:
    (block,) = (block for block in blocks("docs/running.md") if block.language == "toml")
    (row,) = load_overrides(block.text).rows
    assert row.model == "claude-haiku-5-5"


def test_every_link_leads_somewhere() -> None:
    for page in LINKED:
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            there = (ROOT / page).parent / path if path else ROOT / page
            assert there.is_file(), f"{page}: {target}"
            assert not anchor or anchor in _anchors(there), f"{page}: {target}"


def _anchors(page: Path) -> set[str]:
    """The headings of a page, spelt as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings}


async def test_every_route_field_and_header_is_documented(house: House) -> None:
    page = (ROOT / "docs/api.md").read_text()
    documented = set(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)))
    described = (await house.http.get("/openapi.json")).json()
    for path in described["paths"]:
        assert any(path in words for words in documented), path
    for name, field in QueryRequest.model_fields.items():
        assert f"\n| `{field.alias or name}` |" in page, name
    asked = {"prompt": "What is documented?", "tags": ["a"]}
    await house.http.post("/v1/query", json=asked)
    answer = await house.http.post("/v1/query", json={**asked, "prompt": "What's documented?"})
    decision = (await house.http.get(f"/v1/decisions/{answer.json()['decision_id']}")).json()
    assert decision["decision"]["kind"] == "semantic"
    for field in decision:
        assert field in documented, field
    for field in decision["decision"]:
        assert f"decision.{field}" in documented, field
    for field in answer.json():
        assert field in page, field
    for header in answer.headers:
        assert header in documented or not header.startswith("x-"), header


# Where the reasons come from that are no words at the place where a decision is made.
_ELSEWHERE = {
    "query.bypass",  # admission.bypass, and what is given to a `bypass` elsewhere
    "query.exact_only",  # admission.question, and what is given to an `exact_only` elsewhere
    "near.skipped",  # Near(skipped=...)
    "selection.reason",  # Selection(...) in cache/freshness
    "verdict.reason",  # Verdict(...) in matching/decision
    "_why(ranked[0], bar)",  # judge._why
    "reason",  # of an item of a batch, as it was kept
}

# Functions that return a reason, and the outcome it belongs to.
_REASONED = {
    "bypass": "bypass",
    "question": "miss",
    "exact_only": "miss",
    "matched_text": "miss",
    "_why": "miss",
}
_REASONING = ("cacheability.py", "question_text.py", "decision.py")


def test_every_reason_is_documented_and_none_that_is_not() -> None:
    produced = {
        *(("miss", reason) for reason in cacheability._EXACT_ONLY.values()),
        *(("bypass", reason) for reason in cacheability._STATEFUL_FIELDS.values()),
        *(
            ("semantic" if reason == "probable" else "miss", reason)
            for reason in get_args(judge.Reason)
        ),
        *(("miss", reason) for reason in get_args(NotSent)),
        *(("miss", reason) for reason in verification_outcome.REASONS.values()),
    }
    for path in (ROOT / "cacheserver").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                produced |= _decided(node, node.func.id, path)
            elif isinstance(node, ast.FunctionDef) and path.name in _REASONING:
                kind = _REASONED.get(node.name)
                if kind is not None:
                    produced |= {(kind, word) for word in _returned(node)}
            elif isinstance(node, ast.Dict):
                said = dict(zip((_word(key) for key in node.keys), node.values, strict=True))
                if "x-cache-reason" in said and (word := _word(said["x-cache-reason"])):
                    produced.add((_word(said["x-cache"]) or "", word))
            elif isinstance(node, ast.Assign):
                target = ast.unparse(node.targets[0])
                for name, kind in (("bypass", "bypass"), ("exact_only", "miss")):
                    if re.search(rf"\b{name}\b", target):
                        produced |= {(kind, word) for word in _words(node.value)}
    rows = re.findall(r"^\| (\w+) \| `([\w…-]+)` \|", _section("## Reasons"), re.M)
    assert set(rows) == produced
    assert len(rows) == len(produced)


def test_troubleshooting_names_every_reason_and_status() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    named = set(re.findall(r"`([\w-]+)`", page))
    reasons = re.findall(r"^\| [\w, ]+ \| (`.+?`) \|", _section("## Reasons"), re.M)
    for reason in re.findall(r"`([\w-]+)[`…]", " ".join(reasons)):
        assert any(one.startswith(reason) for one in named), reason
    for status in re.findall(r"^\| (\d{3}) \|", _section("## Errors"), re.M):
        assert re.search(rf"\b{status}\b", page), status


def test_every_way_of_not_being_stored_is_documented() -> None:
    produced: set[str] = set()
    for path in (ROOT / "cacheserver").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Assign(
                    targets=[ast.Name(id="unstored" | "doubt") | ast.Attribute(attr="broken")]
                ):
                    produced |= _words(node.value)
                case ast.keyword(arg="unstored" | "flaw"):
                    produced |= _words(node.value)
                case ast.FunctionDef(name="unstorable") | ast.FunctionDef(name="_doubt"):
                    produced |= _returned(node)
                case ast.AsyncFunctionDef(name="_put"):
                    produced |= _returned(node)
    rows = re.findall(r"^\| (`[^|]*`) \|", _section("**not stored**"), re.M)[1:]  # not the heading
    assert {word for row in rows for word in re.findall(r"`([^`]+)`", row)} == produced


def _section(start: str) -> str:
    text = (ROOT / "docs/api.md").read_text()
    text = text[text.index(start) :]
    return re.split(r"^## |\*\*not stored\*\*", text[len(start) :], maxsplit=1, flags=re.M)[0]


def _decided(call: ast.Call, name: str, path: Path) -> set[tuple[str, str]]:
    """The outcomes that a call in the source may stand for: of `Hit`, `Miss`, `Bypass`, `Near`,
    `Selection`, `Verdict`, and of `replace` where it gives a miss another reason.
    """
    given = dict(enumerate(call.args)) | {k.arg: k.value for k in call.keywords}
    match name:
        case "Miss" | "Bypass":
            kind, reason = name.lower(), given.get(0, given.get("reason"))
        case "Hit":
            kind = _word(given.get(1, given.get("kind"))) or "?"
            reason = given.get(2, given.get("reason"))
        case "Near":
            kind, reason = "miss", given.get("skipped")
        case "Selection":
            served = ast.unparse(given[0]) != "None"
            kind, reason = "semantic" if served else "miss", given.get(1)
        case "Verdict" if path.name == "decision.py":
            served = ast.unparse(given[0]) != "None"
            kind, reason = "semantic" if served else "miss", given.get(2)
        case "replace" if path.name in ("service.py", "results.py", "freshness.py"):
            kind, reason = "miss", given.get("reason")
        case _:
            return set()
    if reason is None:
        return set()
    for part in _parts(reason):
        where = f"{path.name}:{call.lineno}: `{ast.unparse(part)}`: add its reasons to this test"
        assert _word(part) or ast.unparse(part) in _ELSEWHERE, where
    return {(kind, word) for word in _words(reason)}


def _parts(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BoolOp(values=values):
            return [part for value in values for part in _parts(value)]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_parts(body), *_parts(orelse)]
    return [node]


def _word(node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def _words(node: ast.expr) -> set[str]:
    """The words an expression may be; of one that is put together, its beginning and `…`."""
    found: set[str] = set()
    for part in _parts(node):
        match part:
            case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]):
                found.add(f"{start}…")
            case ast.Tuple(elts=elements):
                found |= {word for element in elements for word in _words(element)}
            case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
                found |= _words(default)
            case _ if word := _word(part):
                found.add(word)
    return found


def _returned(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    returns = (n.value for n in ast.walk(function) if isinstance(n, ast.Return))
    return {word for value in returns if value is not None for word in _words(value)}


def test_a_decision_is_told_once_and_in_five_lines() -> None:
    text = (ROOT / "docs/decisions.md").read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    assert len(headings) == len(set(headings))
    subjects = re.findall(r"^## (.*)$", text, re.M)
    contents = text[: text.index("\n## ")]
    assert re.findall(r"^- \[(.*)\]\(", contents, re.M) == subjects
    for decision in re.split(r"^### ", text, flags=re.M)[1:]:
        title, _, body = decision.partition("\n")
        parts = re.findall(r"^- \*\*(\w+):\*\* ", body.split("\n## ")[0], re.M)
        assert parts == ["Question", "Choice", "Why", "Cost", "Revisit"], title
