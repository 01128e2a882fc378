"""Where a webhook may go and how it is signed (Standard Webhooks, webhook-signature v1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from cacheserver.errors import BadRequest
from cacheserver.rules.batching import BatchRules

MAX_URL = 2_000  # characters; what browsers and proxies take without question

# Addresses of IPv6 that stand for one of IPv4, which may be private.
_TRANSLATED = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))


@dataclass(frozen=True, slots=True)
class Target:
    """An address that a webhook was asked for, taken apart."""

    url: str
    secure: bool
    host: str
    port: int
    path: str  # and query


def read_target(field: str, url: object, rules: BatchRules) -> Target:
    """The parts of a webhook's URL. Raises `BadRequest` for one that is not allowed.

    Where a name leads is not known here: `allowed` decides on the addresses it has.
    """
    if not isinstance(url, str) or not 1 <= len(url) <= MAX_URL or not url.isascii():
        raise BadRequest(field, f"must be an https URL of at most {MAX_URL} ASCII characters")
    if any(sign <= " " or sign in '\\"<>^`{|}' for sign in url):
        raise BadRequest(field, "holds a sign that no URL holds")
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        raise BadRequest(field, "is no URL") from None
    host = (found.hostname or "").rstrip(".").lower()
    if found.scheme not in ("https", "http") or not host:
        raise BadRequest(field, "must begin with `https://` and name a host")
    if found.username is not None or found.password is not None or found.fragment:
        raise BadRequest(field, "must hold no credentials and no fragment")
    if rules.webhook_hosts and not any(_matches(host, each) for each in rules.webhook_hosts):
        raise BadRequest(field, "names a host that is not in this tenant's `webhook_hosts`")
    secure = found.scheme == "https"
    path = found.path or "/"
    target = Target(
        url,
        secure,
        host,
        port or (443 if secure else 80),
        path + (f"?{q}" if (q := found.query) else ""),
    )
    literal = _address(host)
    if literal is not None and not allowed(target, [host], rules):
        raise BadRequest(field, "names an address that webhooks may not go to")
    if not secure and not rules.webhook_networks:
        raise BadRequest(field, "must begin with `https://`")
    return target


def allowed(target: Target, addresses: Sequence[str], rules: BatchRules) -> bool:
    """Whether all `addresses` that a host has may be connected to.

    All, not one: a name that leads both out and in was made to.
    """
    return bool(addresses) and all(_allowed(each, target.secure, rules) for each in addresses)


def secret(root: bytes, tenant: str, epoch: int) -> str:
    """A tenant's secret, as Standard Webhooks writes it. Derived: none is stored, one is shown."""
    key = hmac.digest(root, f"webhook:{epoch}:{tenant}".encode(), "sha256")
    return "whsec_" + base64.b64encode(key).decode()


def signed(secret: str, id: str, at: int, body: bytes) -> Mapping[str, str]:
    """The headers that prove who sent `body`, and when: Unix seconds."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    said = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(said).decode(),
    }


def _allowed(address: str, secure: bool, rules: BatchRules) -> bool:
    found = _address(address)
    if found is None:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    for network in rules.webhook_networks:
        try:
            if found in ip_network(network, strict=False):
                return True
        except ValueError:
            continue
    if not secure or any(found in translated for translated in _TRANSLATED):
        return False
    return found.is_global and not found.is_multicast


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _matches(host: str, pattern: str) -> bool:
    pattern = pattern.lower()
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern
