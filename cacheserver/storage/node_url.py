"""URLs that name several hosts: Sentinels, or nodes of a cluster. Pure.

    redis+sentinel://[user:password@]host:port,host:port/service[/database]
    redis+cluster://[user:password@]host:port,host:port

`rediss+...` speaks TLS with all of them. Rule: a message contains no part of the URL but hosts,
ports and names of parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from cacheserver.core.errors import SettingsError

Address: TypeAlias = tuple[str, int]

SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
CLUSTER: Final = ("redis+cluster", "rediss+cluster")
# Credentials of the Sentinels themselves, which have users of their own.
SENTINEL_USERNAME: Final = "sentinel_username"
SENTINEL_PASSWORD: Final = "sentinel_password"
_PORTS: Final = {"sentinel": 26379, "cluster": 6379}
_FORMS: Final = {
    "sentinel": "redis+sentinel://host:port,host:port/service",
    "cluster": "redis+cluster://host:port,host:port",
}


@dataclass(frozen=True, slots=True)
class NodeUrl:
    """Parts of such a URL. Names and passwords stay percent-encoded."""

    kind: Literal["sentinel", "cluster"]
    hosts: tuple[Address, ...]
    service: str  # that Sentinels know the primary by; "" for a cluster
    database: str
    tls: bool
    credentials: str = field(repr=False)  # `user:password`, or ""
    parameters: Mapping[str, str] = field(repr=False)

    def server_url(self, address: Address) -> str:
        """Return the URL of the store's server at an address."""
        found = {name: one for name, one in self.parameters.items() if name not in _OF_SENTINELS}
        return self._url(address, self.credentials, self.database, found)

    def voter_url(self, address: Address) -> str:
        """Return the URL of a host that is asked where the primary is."""
        found = {name: one for name, one in self.parameters.items() if name.startswith("ssl_")}
        who = self.credentials
        if self.kind == "sentinel":
            user, password = (self.parameters.get(one, "") for one in _OF_SENTINELS)
            who = f"{quote(user, safe='')}:{quote(password, safe='')}" if password else ""
        return self._url(address, who, "0", found)

    def describe(self) -> str:
        """Return the URL without user, password and parameters."""
        scheme = f"redis{'s' * self.tls}+{self.kind}"
        path = f"/{self.service}/{self.database}" if self.kind == "sentinel" else ""
        return f"{scheme}://{','.join(text_of(one) for one in self.hosts)}{path}"

    def _url(self, at: Address, who: str, database: str, parameters: Mapping[str, str]) -> str:
        scheme = "rediss" if self.tls else "redis"
        query = f"?{urlencode(parameters)}" if parameters else ""
        return f"{scheme}://{who}{'@' * bool(who)}{text_of(at)}/{database}{query}"


_OF_SENTINELS: Final = (SENTINEL_USERNAME, SENTINEL_PASSWORD)


def check_scheme(url: str) -> None:
    """Check that a URL begins as one of a store. Raises `ValueError`."""
    if url.partition("://")[0] not in ("redis", "rediss", "unix", *SENTINEL, *CLUSTER):
        raise ValueError(
            "must begin with `redis://`, `rediss://`, `unix://`, `redis+sentinel://` or "
            "`redis+cluster://`"
        )


def names_nodes(url: str) -> bool:
    """Return whether a URL is one of several hosts."""
    return url.partition("://")[0] in (*SENTINEL, *CLUSTER)


def text_of(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(url: str) -> NodeUrl:
    """Read a URL of several hosts. Raises `SettingsError` if a part would be ignored or misread."""
    scheme, _, rest = url.partition("://")
    kind: Literal["sentinel", "cluster"] = "sentinel" if scheme in SENTINEL else "cluster"
    form = f"write it as `{_FORMS[kind]}`"
    if "#" in url:
        raise _wrong("it must not contain `#`; encode / # ? @ : % in a password as %2F %23 ...")
    rest, _, query = rest.partition("?")
    netloc, _, path = rest.partition("/")
    credentials, _, named = netloc.rpartition("@")
    hosts = tuple(_address(one, _PORTS[kind], form) for one in named.split(","))
    if len(set(hosts)) < len(hosts):
        raise _wrong("it names a host twice")
    service, _, database = path.partition("/")
    if kind == "sentinel":
        service = unquote(service)
        if not service:
            raise _wrong(f"it lacks the service that the Sentinels know; {form}")
    else:
        service, database = "", "0" if service in ("", "0") else service
        if database != "0":
            raise _wrong("a cluster has only the database 0")
    database = database.strip("/") or "0"
    if not database.isdecimal():
        raise _wrong("the database, after the last `/`, must be a number")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    if "db" in parameters:
        raise _wrong(f"`db` is not read here; {form}{'/database' if kind == 'sentinel' else ''}")
    if kind == "cluster" and (found := [one for one in _OF_SENTINELS if one in parameters]):
        raise _wrong(f"`{found[0]}` is for redis+sentinel://")
    return NodeUrl(
        kind, hosts, service, database, scheme.startswith("rediss"), credentials, parameters
    )


def _address(text: str, port: int, form: str) -> Address:
    try:
        one = urlsplit(f"redis://{text}")
        if one.hostname and one.netloc == text and "@" not in text:
            return one.hostname, one.port or port
    except ValueError:  # its text may hold a part of a password
        pass
    raise _wrong(f"one of its hosts cannot be read; {form}, and encode signs in a password")


def _wrong(what: str) -> SettingsError:
    return SettingsError(f"`CACHESERVER_REDIS_URL`: {what}")
