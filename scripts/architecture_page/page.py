"""The generated parts of the architecture page: the packages' picture, their table, the Redis keys.

The picture follows the import contracts in `pyproject.toml` and the imports themselves. Two
packages are joined only if one imports the other directly and no chain of imports says it already.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

import grimp

from cacheserver.erasure.key_kinds import REGISTRY

Imports: TypeAlias = Mapping[str, frozenset[str]]  # by package: those it imports directly

_FRONT_ENDS_WITH: Final = "api"  # the layers down to this package's are the front
_APART: Final = ("client", "simulated")  # what a server does not need to serve


def rewrite(page: str, root: Path) -> str:
    """Return the page with each generated part in place of the old one."""
    parts: Mapping[str, Callable[[Path], str]] = {
        "picture": picture,
        "packages": package_table,
        "keys": lambda _: key_table(),
    }
    for name, make in parts.items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = page.partition(begin)
        if not found:
            raise ValueError(f"the page has no part {name!r}")
        page = before + begin + make(root) + end + rest.partition(end)[2]
    return page


def picture(root: Path) -> str:
    """Return the packages as a Mermaid flowchart: the front, the capabilities, the kernel."""
    contracts = _contracts(root)
    kernel = [name for (name,) in contracts["kernel"]]
    layers = contracts["layers"]
    bottom = next(at for at, layer in enumerate(layers) if _FRONT_ENDS_WITH in layer)
    front = [name for layer in layers[: bottom + 1] for name in layer]
    others = [name for layer in layers[bottom + 1 :] for name in layer if name not in kernel]
    imports = package_imports()
    apart = [name for name in others if name in _APART]
    capabilities = [name for name in others if name not in _APART]
    lines = ["```mermaid", "flowchart TB"]
    for title, members in (
        ("front", front),
        ("capabilities", capabilities),
        ("kernel", kernel),
        ("apart", apart),
    ):
        lines += [f"  subgraph {title}", "    direction LR"]
        lines += [f"    {name}" for name in members]
        lines += [f"    {one} --> {other}" for one, other in _edges(imports, members)]
        lines.append("  end")
    lines += ["  front ==> capabilities", "  capabilities ==> kernel", "  kernel ~~~ apart"]
    return "\n".join([*lines, "```", ""])


def package_table(root: Path) -> str:
    """Return each package with the first line of its docstring, from the top layer to the core."""
    rows = ["| package | |", "|---|---|"]
    for layer in _contracts(root)["layers"]:
        for name in sorted(layer):
            source = root / "cacheserver" / name / "__init__.py"
            if not source.is_file():
                source = root / "cacheserver" / f"{name}.py"
            docstring = ast.get_docstring(ast.parse(source.read_text())) or ""
            link = f"[`{name}`](../{source.relative_to(root)})"
            rows.append(f"| {link} | {docstring.partition(chr(10))[0]} |")
    return "\n".join([*rows, ""])


def key_table() -> str:
    """Return every pattern of a Redis key, by package, with its type and lifetime."""
    rows = ["| package | key | type | lifetime |", "|---|---|---|---|"]
    for kind in sorted(REGISTRY.kinds, key=lambda kind: kind.package):
        rows.append(f"| `{kind.package}` | `{kind.key}` | {kind.type} | {kind.life} |")
    return "\n".join([*rows, ""])


@cache
def package_imports() -> Imports:
    """Return which packages each package imports, its loose modules counted as packages."""
    graph = grimp.build_graph("cacheserver", exclude_type_checking_imports=True, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        if "." not in module:
            continue
        name = module.split(".")[1]
        others = graph.find_modules_directly_imported_by(module)
        found.setdefault(name, set()).update(
            other.split(".")[1] for other in others if "." in other
        )
    return {name: frozenset(others - {name}) for name, others in found.items()}


def _contracts(root: Path) -> dict[str, list[list[str]]]:
    """Return the layers, from the top, and the kernel's packages."""
    config = tomllib.loads((root / "pyproject.toml").read_text())
    contracts = config["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    kernel = next(one for one in contracts if one["name"] == "The kernel imports no capability")
    return {
        "layers": [re.split(r"[|:\s]+", layer) for layer in layers],
        "kernel": [[name.removeprefix("cacheserver.")] for name in kernel["source_modules"]],
    }


def _edges(imports: Imports, members: Iterable[str]) -> list[tuple[str, str]]:
    """Return the direct imports among `members`, without those that a longer chain implies."""
    return sorted(
        (one, other)
        for one in members
        for other in imports.get(one, ())
        if other in members
        and not any(
            other in _reached(imports, between) for between in imports[one] if between != other
        )
    )


def _reached(imports: Imports, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(imports.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imports.get(name, ())
    return reached
