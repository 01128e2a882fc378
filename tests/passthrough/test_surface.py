"""All that the installed SDK can call: ours, passed on, or refused with a reason that is written.

The paths are read from the SDK's sources, the beta resources too, and each is sent to a server.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import anthropic

from cacheserver.api.routes import RESOURCES
from cacheserver.passthrough import rules
from tests.house import House, serving
from tests.models import ROOT
from tests.passthrough.claude import AnyClaude

_CALLS = {
    "_get": "GET", "_get_api_list": "GET", "_post": "POST", "_put": "PUT", "_patch": "PATCH",
    "_delete": "DELETE",
}  # fmt: skip
# The address of a batch's results, which the batch names: ours makes it a path of ours.
_BY_ADDRESS = "results_url"


@cache
def surface() -> frozenset[tuple[str, str]]:
    """Method and path of every call in the SDK's resources, `{...}` where an id goes."""
    sources = (Path(anthropic.__file__).parent / "resources").rglob("*.py")
    return frozenset(found for path in sources for found in _calls(ast.parse(path.read_text())))


def _calls(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            method = _CALLS.get(node.func.attr)
            if method is not None and (path := _path(node.args[0])) is not None:
                yield _verb(node) or method, path


def _path(given: ast.expr) -> str | None:
    match given:
        case ast.Call(args=[ast.Constant(value=str(path)), *_]) | ast.Constant(value=str(path)):
            return path.partition("?")[0]
    if _BY_ADDRESS in ast.unparse(given):
        return None
    raise AssertionError(f"a path that this test cannot read: {ast.unparse(given)}")


def _verb(call: ast.Call) -> str | None:
    """The method of a list that is not asked for by GET."""
    return next(
        (str(k.value.value).upper() for k in call.keywords
         if k.arg == "method" and isinstance(k.value, ast.Constant)), None,
    )  # fmt: skip


def is_ours(method: str, path: str) -> bool:
    return any(
        method in (route.methods or ()) and route.path_regex.match(path)
        for resource in RESOURCES
        for route in resource.routes
    )


def filled(path: str) -> str:
    return re.sub(r"\{\w+\}", "some_01AbCdEfGhIjKlMn", path)


def test_the_surface_is_read_whole() -> None:
    assert len(surface()) > 250
    assert ("POST", "/v1/messages") in surface()
    assert ("GET", "/v1/skills/{skill_id}/versions/{version}/content") in surface()
    assert ("POST", "/v1/organizations/workspaces") in surface()


async def test_with_a_callers_own_key_everything_reaches_claude_as_it_is(house: House) -> None:
    claude = AnyClaude()
    async with (
        serving(claude.app) as url,
        House.open(
            house.parts.host.settings.data_dir / "own", upstream=url, credentials="caller"
        ) as own,
    ):
        for method, path in sorted(surface()):
            if is_ours(method, path):
                continue
            target = f"{filled(path)}?beta=true"
            answer = await own.http.request(method, target, headers={"x-api-key": "sk-ant-mine"})
            assert answer.status_code == 200, (method, path, answer.text)
            assert (claude.got[-1].method, claude.got[-1].target) == (method, target)
            assert claude.got[-1].headers["authorization"] == "Bearer sk-ant-mine"


async def test_with_the_servers_key_each_call_has_an_owner_or_a_reason(house: House) -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    refused = set()
    for method, path in sorted(surface()):
        if is_ours(method, path):
            continue
        place = rules.read(filled(path), b"")
        assert place is not None, path
        answer = await house.http.request(method, filled(path))
        match rules.act(method, place):
            case rules.Refusal(reason):
                assert (answer.status_code, place.kind in rules.REFUSED) == (403, True), path
                assert answer.json()["error"]["message"] == reason
                refused.add(place.kind)
            case "use":
                assert answer.status_code == 404, (method, path, answer.text)
            case "create" | "list":
                assert answer.status_code < 500, (method, path, answer.text)
    assert refused == set(rules.REFUSED)
    for kind in rules.REFUSED.keys() | rules.OWNED:
        assert f"`{kind}`" in page, f"docs/api.md does not say what happens to `{kind}`"
