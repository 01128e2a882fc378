"""Results of functions, kept in the cache: `@cache.cached(ttl=..., tags=...)`.

Rule: a result is given for equal arguments of the same function alone. Equal means: the same JSON.
The same function: the same module, qualified name and code, so a changed one is called again. All
scripts are the module `__main__`, so of those the file counts.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cacheserver.client.types import (
    Answer,
    ClientError,
    ConnectionFailed,
    RateLimitError,
    StatusError,
    UnexpectedAnswer,
    UpstreamFailed,
)

if TYPE_CHECKING:
    from cacheserver.client import AsyncClient, Client

P = ParamSpec("P")
R = TypeVar("R")

LONGEST = 100_000  # characters of an answer that `PUT /v1/entries` takes
_MARK = "cacheserver.cached 1"  # 1: the layout of what is sent
_SCRIPTS = ("__main__", "__mp_main__")  # and in a process that multiprocessing spawned
_CONFLICT = 409  # an operator has curated the answer, or another process is storing one
_TRUSTED = ("own", "curated")  # never Claude's answer to a question of these words
# While the cache is away, functions are called as if they had no decorator.
_AWAY = (ConnectionFailed, RateLimitError, UnexpectedAnswer, UpstreamFailed)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """Arguments of the decorator."""

    ttl: float | timedelta | None = None
    tags: Sequence[str] = ()
    semantic: str | None = None
    name: str | None = None
    namespace: str | None = None
    none: bool = False

    def options(self) -> dict[str, Any]:
        """Return what is sent with a result besides its question. Raises `TypeError`."""
        if isinstance(self.tags, str):
            raise TypeError("`tags` must be a list of texts, not a text")
        seconds = self.ttl.total_seconds() if isinstance(self.ttl, timedelta) else self.ttl
        if seconds is not None and seconds < 1:
            raise ValueError("`ttl` must be a second or more")
        ttl_s = None if seconds is None else int(seconds)
        given = {"ttl_s": ttl_s, "tags": list(self.tags) or None}
        return {name: value for name, value in given.items() if value is not None}


class Calls:
    """Calls of one function as questions. Raises `TypeError` for one that cannot be told apart."""

    def __init__(self, function: Callable[..., object], rules: Rules) -> None:
        self._rules = rules
        self._signature = inspect.signature(function)
        self.name = rules.name or _identity(function)
        self.kept = rules.options()
        if rules.semantic is not None and rules.semantic not in self._signature.parameters:
            raise TypeError(f"`semantic`: {self.name} has no argument `{rules.semantic}`")

    def question(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of the question that a call is. Raises `TypeError`."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        asked = None
        if self._rules.semantic is not None:
            asked = given.pop(self._rules.semantic)
            if not isinstance(asked, str) or not asked.strip():
                raise TypeError(f"`{self._rules.semantic}` must be a text that says something")
        for name, value in given.items():
            if isinstance(value, tuple) and name in self._variable():
                given[name] = list(value)  # `*args`: equal ones are equal lists
        shown = {
            name: _json(value, f"the argument `{name}`", ordered=True)
            for name, value in given.items()
        }
        system = f"{_MARK}\n{self.name}"
        space = {} if self._rules.namespace is None else {"namespace": self._rules.namespace}
        arguments = "{" + ", ".join(f"{json.dumps(n)}: {v}" for n, v in shown.items()) + "}"
        if asked is not None:
            return {"prompt": asked, "system": f"{system}\n{arguments}", **space}
        # A document is matched exactly only, and is never embedded.
        source = {"type": "text", "media_type": "text/plain", "data": arguments}
        content = [{"type": "document", "source": source}, {"type": "text", "text": self.name}]
        return {"system": system, "messages": [{"role": "user", "content": content}], **space}

    def read(self, found: Answer | None) -> tuple[bool, Any]:
        """Return whether a stored result was found, and it."""
        if found is None or found.origin not in _TRUSTED:
            return False, None
        try:
            return True, json.loads(found.text)
        except ValueError:
            return False, None

    def write(self, result: object) -> str | None:
        """Return the text to store for a result; None if it is not stored.

        Raises `TypeError` for what JSON does not give back as it was.
        """
        if result is None and not self._rules.none:
            return None
        text = _json(result, f"the result of {self.name}")
        if len(text) > LONGEST:
            log.warning("a result of %s is too long to be stored", self.name)
            return None
        return text

    def go_on(self, what: str, error: ClientError) -> None:
        """Return if the function is to be called as if it had no decorator; raise `error` if not:
        of a mistake its author must hear.
        """
        curated = isinstance(error, StatusError) and error.status == _CONFLICT
        if not (curated or isinstance(error, _AWAY)):
            raise error
        log.warning("a result of %s was not %s: %s", self.name, what, type(error).__name__)

    def _variable(self) -> set[str]:
        kind = inspect.Parameter.VAR_POSITIONAL
        return {name for name, one in self._signature.parameters.items() if one.kind is kind}


def cached(client: Client, rules: Rules) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for functions."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):
            raise TypeError("an `async def` needs the cache of `open_cache`")
        calls = Calls(function, rules)

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            asked = calls.question(args, kwargs)
            try:
                hit, result = calls.read(client.get(**asked))
            except ClientError as error:
                calls.go_on("looked up", error)
                return function(*args, **kwargs)
            if hit:
                return result  # type: ignore[no-any-return]
            fresh = function(*args, **kwargs)
            if (text := calls.write(fresh)) is not None:
                try:
                    client.put(asked.pop("prompt", None), text, **asked, **calls.kept)
                except ClientError as error:
                    calls.go_on("stored", error)
            return fresh

        return _dressed(call, function)

    return decorate


def cached_async(
    client: AsyncClient, rules: Rules
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Return a decorator for coroutine functions."""

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError("a `def` needs the cache of `open_cache_sync`")
        calls = Calls(function, rules)

        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            asked = calls.question(args, kwargs)
            try:
                hit, result = calls.read(await client.get(**asked))
            except ClientError as error:
                calls.go_on("looked up", error)
                return await function(*args, **kwargs)
            if hit:
                return result  # type: ignore[no-any-return]
            fresh = await function(*args, **kwargs)
            if (text := calls.write(fresh)) is not None:
                try:
                    await client.put(asked.pop("prompt", None), text, **asked, **calls.kept)
                except ClientError as error:
                    calls.go_on("stored", error)
            return fresh

        return _dressed(call, function)

    return decorate


def _dressed(call: Callable[P, R], function: Callable[..., object]) -> Callable[P, R]:
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(call, name, getattr(function, name, None))
    call.__wrapped__ = function  # type: ignore[attr-defined]
    return call


def _identity(function: Callable[..., object]) -> str:
    """Return the name of a function: module, qualified name and a digest of its code.

    Raises `TypeError` for one that depends on variables around it: two of them would share results.
    """
    inner = inspect.unwrap(function)
    code = getattr(inner, "__code__", None)
    if not isinstance(code, CodeType):
        raise TypeError("only functions are cached; `name` gives another callable an identity")
    if code.co_freevars:
        raise TypeError(
            f"{inner.__qualname__} uses `{code.co_freevars[0]}` of the function around it: make "
            "that an argument, or give the function an identity of its own with `name`"
        )
    return f"{_place(inner.__module__)}.{inner.__qualname__} {_digest(code)}"


def _place(module: str) -> str:
    """Return the name of a module; of a script or notebook, with the file or folder it runs in."""
    if module not in _SCRIPTS:
        return module
    file = getattr(sys.modules.get(module), "__file__", None)
    return f"{_SCRIPTS[0]} of {Path.cwd() / (file or '')}"


def _digest(code: CodeType) -> str:
    """Return a digest of what a code does; where it stands in its file makes no difference."""
    told = hashlib.sha256(code.co_code)
    for names in (code.co_names, code.co_varnames):
        told.update(repr(names).encode())
    for value in code.co_consts:
        if isinstance(value, CodeType):
            told.update(_digest(value).encode())
        elif isinstance(value, frozenset):
            told.update(repr(sorted(map(repr, value))).encode())
        else:
            told.update(repr(value).encode())
    return told.hexdigest()[:16]


def _json(value: object, what: str, *, ordered: bool = False) -> str:
    """Return a value as JSON, `ordered` by keys.

    Raises `TypeError` for what JSON does not give back as it was.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=ordered, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{what} is not JSON: {error}") from None
    if not _same(json.loads(text), value):
        raise TypeError(
            f"{what} is not JSON: it holds a tuple, a key that is no text, or an object that would "
            "come back as something else"
        )
    return text


def _same(back: object, value: object) -> bool:
    """Return whether JSON gave back a value with its types: True is not 1, nor a tuple a list."""
    if type(back) is not type(value):
        return False
    if isinstance(back, dict) and isinstance(value, dict):
        return back.keys() == value.keys() and all(_same(back[k], value[k]) for k in back)
    if isinstance(back, list) and isinstance(value, list):
        return len(back) == len(value) and all(map(_same, back, value))
    return back == value
