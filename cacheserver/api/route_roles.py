"""Roles that admin routes need, asked of the handlers themselves.

Rule: a handler admits its caller before it does anything else. Called with a gate that refuses
everybody, it therefore says which role it needs, and does nothing. So the description of a role
cannot differ from what is enforced.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

from starlette.requests import HTTPConnection, Request

from cacheserver.api.admin_act import Admin, needed_for
from cacheserver.api.dependencies import Gate
from cacheserver.api.state import AppState
from cacheserver.core.errors import CacheServerError
from cacheserver.tenants.admin_keys import Role


class _Needed(Exception):
    """Refusal by a gate that is asked; `role` is the role that would have been let in."""

    def __init__(self, role: Role) -> None:
        super().__init__(role)
        self.role = role


class _AskedGate(Gate):
    """Gate that refuses everybody with the role that is needed."""

    def __init__(self) -> None: ...

    def admit_admin(self, request: HTTPConnection, role: Role | None = None) -> Admin:
        raise _Needed(role or needed_for(str(request.scope["method"])))


def role_of(endpoint: Callable[..., Any], method: str, path: str) -> Role | None:
    """Return the role that a route's handler needs; None if it admits others than admins."""
    # Of the server there is nothing but the gate.
    values: dict[str, Any] = {field.name: None for field in fields(AppState)}
    state = AppState(**{**values, "gate": _AskedGate()})
    app = SimpleNamespace(state=SimpleNamespace(app_state=state))
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    request = Request({**scope, "app": app, "path_params": {}, "state": {}})
    asked = endpoint(**_arguments(endpoint, request))
    if not inspect.iscoroutine(asked):
        return None
    try:
        cast("Coroutine[Any, Any, Any]", asked).send(None)
    except _Needed as needed:
        return needed.role
    except (
        AttributeError,
        LookupError,
        StopIteration,
        CacheServerError,
    ):  # it lets others in than admins
        return None
    finally:
        asked.close()
    return None


def _arguments(endpoint: Callable[..., Any], request: Request) -> Mapping[str, Any]:
    """Return arguments that a handler can be called with."""
    return {
        name: request
        if name == "request"
        else "x"
        if given.default is given.empty
        else given.default
        for name, given in inspect.signature(endpoint).parameters.items()
    }
