"""Redis URLs, parsed strictly: what redis-py would ignore or fail on later is refused here.

Rule: a message contains no part of the URL but host, port, path and names of parameters.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from cacheserver.core.errors import SettingsError
from cacheserver.storage import node_url

# Parameters of redis-py that an operator may set; timeouts, retries and the protocol are fixed.
_PARAMETERS: Final = (
    "db", "client_name", "health_check_interval", "socket_keepalive",
    "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname",
)  # fmt: skip
_ENCODE = "encode / # ? @ : % in a name or password as %2F %23 %3F %40 %3A %25"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS files for `rediss://`: trusted CAs, and the client certificate with its key."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def speaks_tls(url: str) -> bool:
    return url.startswith("rediss")


def describe_url(url: str) -> str:
    """Describe a valid URL for messages: host, port and database, without user or password."""
    if node_url.names_nodes(url):
        return node_url.parse(url).describe()
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    host = parts.hostname or "localhost"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{parts.port or 6379}/{_database(url)}"


def check_url(url: str) -> None:
    """Check a URL. Raises `SettingsError` if a part would be ignored or misread."""
    if node_url.names_nodes(url):
        of_sentinels = (node_url.SENTINEL_USERNAME, node_url.SENTINEL_PASSWORD)
        known = tuple(one for one in (*_PARAMETERS, *of_sentinels) if one != "db")
        _check_parameters(node_url.parse(url).parameters, known, tls=speaks_tls(url))
        return
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise _wrong(
            "use redis://, rediss:// or unix://; with replicas redis+sentinel:// or "
            "redis+cluster://"
        )
    try:
        _ = parts.port
    except ValueError:  # its text has the wrong port, which may be part of a password
        raise _wrong(f"the port must be a number up to 65535; {_ENCODE}") from None
    if parts.fragment or "#" in url:
        raise _wrong(f"it must not contain `#`; {_ENCODE}")
    if parts.scheme == "unix" and not parts.path:
        raise _wrong("unix:// needs the path of a socket, as in unix:///run/redis/redis.sock")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    _check_parameters(given, _PARAMETERS, tls=parts.scheme == "rediss")
    if not _database(url).isdecimal():
        raise _wrong("the database, after the last `/` or in `db`, must be a number")


def _check_parameters(given: Iterable[str], known: Sequence[str], *, tls: bool) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
            raise _wrong(f"there is no parameter `{name[:64]}`; {hint}")
        if name.startswith("ssl_") and not tls:
            raise _wrong(f"`{name}` is for rediss://")


def tls_arguments(tls: Tls) -> dict[str, Any]:
    """Return redis-py's arguments for the TLS files. Raises `SettingsError` for a bad file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    given: dict[str, Any] = {}
    if tls.ca_file is not None:
        try:
            context.load_verify_locations(tls.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _unreadable("CA", tls.ca_file, "certificates in PEM", error) from None
        given["ssl_ca_certs"] = str(tls.ca_file)
    if tls.cert_file is not None:
        key = tls.key_file or tls.cert_file
        try:
            context.load_cert_chain(tls.cert_file, key)
        except FileNotFoundError as error:
            setting, path = ("CERT", tls.cert_file) if not tls.cert_file.exists() else ("KEY", key)
            raise _unreadable(setting, path, "PEM", error) from None
        except (OSError, ssl.SSLError) as error:
            raise _unreadable(
                "CERT", tls.cert_file, f"a certificate in PEM that fits the key in {key}", error
            ) from None
        given |= {"ssl_certfile": str(tls.cert_file), "ssl_keyfile": str(key)}
    return given


def _database(url: str) -> str:
    parts = urlsplit(url)
    parameters: Mapping[str, str] = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "db" in parameters:
        return parameters["db"]
    return "0" if parts.scheme == "unix" else unquote(parts.path).strip("/") or "0"


def _wrong(what: str) -> SettingsError:
    return SettingsError(f"`CACHESERVER_REDIS_URL`: {what}")


def _unreadable(setting: str, path: Path, meant: str, error: OSError) -> SettingsError:
    # OpenSSL's own message for a file of another kind ("[X509] no certificate ...") is unclear
    why = f"is not {meant}" if isinstance(error, ssl.SSLError) else f"{error.strerror}"
    return SettingsError(f"`CACHESERVER_REDIS_{setting}_FILE`: {path}: {why}")
