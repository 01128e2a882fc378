"""Sources of settings: `CACHESERVER_*` variables and one TOML file, where one is named.

Rule: no file is read because of where it lies. A settings file says which host gets the key for
Claude, so whoever can write into a working directory must not be able to bring one along.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cacheserver.core.errors import SettingsError

PREFIX = "CACHESERVER_"
NAMED_BY = "CACHESERVER_CONFIG"
_USUAL = "cacheserver.toml"

# Variables with our prefix that are not the server's: where its file is, and the client's own.
_ELSEWHERE = frozenset({NAMED_BY, "CACHESERVER_URL", "CACHESERVER_API_KEY"})
_MAY_BE_EMPTY = frozenset({"embedder_prefix"})  # settings of which the empty text is a value
# Kubernetes sets these for every pod beside a service called `cacheserver`.
_SERVICE_LINKS = re.compile(r"CACHESERVER_(SERVICE_(HOST|PORT).*|PORT_[0-9]+_.*|PORT=tcp://.*)")


def variable(name: str) -> str:
    """The variable that holds a setting."""
    return PREFIX + name.upper()


def gather(
    environ: Mapping[str, str], known: Sequence[str], *, file: Path | None = None
) -> dict[str, Any]:
    """Return the values set, unchecked, by setting; a variable wins over the file.

    The file is `file`, else the one that `CACHESERVER_CONFIG` names, else none. Raises
    `SettingsError` for a name that is not `known`, with the nearest that is, and for a file that
    cannot be read.
    """
    named = environ.get(NAMED_BY)
    path = file or (Path(named) if named else None)
    given = {} if path is None else _from_file(path, known)
    return given | _from_environment(environ, known)


def unread(environ: Mapping[str, str], directory: Path, *, file: Path | None = None) -> str | None:
    """The hint for a settings file that lies in `directory` and that nobody named."""
    path = directory / _USUAL
    if file is not None or environ.get(NAMED_BY) or not path.is_file():
        return None
    return f"{path} is not read: name it with `--config {_USUAL}` or `{NAMED_BY}`"


def _from_file(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """Return what the TOML file says."""
    try:
        given = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"`{NAMED_BY}`: {path} cannot be read: {error}") from error
    for name in given:
        if name not in known:
            raise SettingsError(f"`{name}` in {path} is no setting{_nearest(name, known)}")
    return given


def _from_environment(environ: Mapping[str, str], known: Sequence[str]) -> dict[str, Any]:
    names = {variable(name): name for name in known}
    given = {}
    for found, value in environ.items():
        if not found.startswith(PREFIX) or found in _ELSEWHERE:
            continue
        if _SERVICE_LINKS.fullmatch(f"{found}={value}"):
            continue
        if not value and names.get(found) not in _MAY_BE_EMPTY:
            continue  # set to nothing is not set: compose files cannot leave a variable out
        if found not in names:
            near = _nearest(found.removeprefix(PREFIX).lower(), known, variable)
            raise SettingsError(f"`{found}` is no setting{near}")
        given[names[found]] = value
    return given


def _nearest(name: str, known: Sequence[str], spelt: Callable[[str], str] = str) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean `{spelt(near[0])}`?" if near else "; `cacheserver settings` lists them"
