"""Settings as nested objects, changed at every depth. Pure.

Rule: an object changes by the fields it is given, and null takes a field back to the default. A map
of named things changes by the names it is given, null removing one. What is one value is replaced
whole: lists, JSON schemas, and the bar of a namespace or scope.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from cacheserver.core.errors import Unknown
from cacheserver.core.types import Bar, Tenant

WAYS: Final = ("similarity", "target", "exact_only")  # of a bar to decide; it has one of them
_NO_SETTINGS: Final = frozenset({"name", "digest_key"})  # of a tenant's fields


@dataclass(frozen=True, slots=True)
class Node:
    """Place in the settings: an object with fields, a map of names, or (neither) one value."""

    fields: Mapping[str, Node] | None = None
    each: Node | None = None  # of a map
    bar: bool = False

    @property
    def parts(self) -> bool:
        return self.fields is not None or self.each is not None

    def child(self, name: str, path: tuple[str, ...]) -> Node:
        """Return the node of a field or name. Raises `Unknown` with the fields there are."""
        if self.each is not None:
            return self.each
        assert self.fields is not None
        if name not in self.fields:
            raise Unknown(".".join((*path, name))[:128], "field", name, self.fields)
        return self.fields[name]


_VALUE: Final = Node()
_WHOLE_BAR: Final = Node(bar=True)


def _node(kind: Any) -> Node:
    """Return the node of a type."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _node(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        nodes = [_node(one) for one in get_args(kind) if one is not type(None)]
        return nodes[0] if len(nodes) == 1 else _VALUE
    if kind is Bar:
        fields = dict.fromkeys((*get_type_hints(Bar), "exact_only"), _VALUE)
        return Node(fields=fields, bar=True)
    if is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        return Node({name: _node(hint) for name, hint in hints.items()})
    if isinstance(origin, type) and issubclass(origin, Mapping):
        value = get_args(kind)[1]
        if value is not Any:
            return Node(each=_WHOLE_BAR if value is Bar else _node(value))
    return _VALUE


_TENANT: Final = get_type_hints(Tenant, include_extras=True)
ROOT: Final = Node(
    {name: _node(kind) for name, kind in _TENANT.items() if name not in _NO_SETTINGS}
)


def schema(node: Node = ROOT) -> dict[str, Any]:
    """Return a JSON schema with the names of all settings."""
    if node.fields is not None:
        parts = {name: schema(part) for name, part in node.fields.items()}
        return {"type": ["object", "null"], "properties": parts, "additionalProperties": False}
    if node.each is not None:
        return {"type": ["object", "null"], "additionalProperties": schema(node.each)}
    return {}


def merge(
    own: Mapping[str, Any],
    given: Mapping[str, Any],
    node: Node = ROOT,
    path: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return `own` changed by `given`. Raises `Unknown` for a field that does not exist.

    The result has no null and no empty object, except inside of what is one value.
    """
    found = dict(own)
    if node.bar:
        given = _one_way(given)
    for name, value in given.items():
        child = node.child(name, path)
        before = found.pop(name, None)
        if value is None:
            continue
        if not path and name == "verify" and isinstance(value, str):
            value = {"mode": value}
        if not isinstance(value, Mapping):
            found[name] = value
        elif child.parts:
            kept = before if isinstance(before, Mapping) else {}
            if merged := merge(kept, value, child, (*path, name)):
                found[name] = merged
        else:
            found[name] = _without_nulls(value) if child.bar else value
    return found


def difference(before: Mapping[str, Any], after: Mapping[str, Any], node: Node = ROOT) -> Any:
    """Return what `merge` needs to make `before` into `after`: settings, all of them."""
    given: dict[str, Any] = {}
    for name in (*after, *(gone for gone in before if gone not in after)):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        child = node.child(name, ())
        if child.parts and isinstance(was, Mapping) and isinstance(now, Mapping):
            given[name] = difference(was, now, child)
        else:
            given[name] = now
    return given


def _one_way(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a bar's fields; with one way to decide the others are null."""
    given = {**given, **({"exact_only": None} if given.get("exact_only") is False else {})}
    if any(given.get(way) is not None for way in WAYS):
        return {**dict.fromkeys(WAYS), **given}
    return given


def _without_nulls(bar: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bar's fields, for which null and absent are the same."""
    return {name: value for name, value in _one_way(bar).items() if value is not None}
