"""Webhook targets that are allowed, and signatures (Standard Webhooks, webhook-signature v1).

Rule: an unknown host and an internal one are refused with the same message, so that nobody learns
which names an internal network has.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import urlsplit

from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.batching import BatchRules
from cacheserver.webhooks import addresses

MAX_URL = 2_000  # characters; what browsers and proxies take without question

_REFUSED = "names a host that webhooks cannot go to: it must be known, and public"


@dataclass(frozen=True, slots=True)
class Target:
    """Parsed URL of a webhook."""

    url: str
    secure: bool
    host: str
    port: int
    path: str  # and query


def read_target(field: str, url: object, rules: BatchRules) -> Target:
    """Parse a webhook's URL. Raises `BadRequest` for one that is not allowed.

    Where a name leads is not known here: `all_allowed` decides on the addresses it has.
    """
    if not isinstance(url, str) or not 1 <= len(url) <= MAX_URL or not url.isascii():
        raise BadRequest(field, f"must be an https URL of at most {MAX_URL} ASCII characters")
    if any(sign <= " " or sign in '\\"<>^`{|}' for sign in url):
        raise BadRequest(field, "contains a character that a URL cannot contain")
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        raise BadRequest(field, "is not a URL") from None
    host = (found.hostname or "").removesuffix(".").lower()
    if found.scheme not in ("https", "http") or not host:
        raise BadRequest(field, "must begin with `https://` and name a host")
    if found.username is not None or found.password is not None or found.fragment:
        raise BadRequest(field, "must hold no credentials and no fragment")
    if port == 0:
        raise BadRequest(field, "names port 0, where nothing listens")
    if not addresses.is_host(host):
        raise refusal(field)
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
    if addresses.parse_literal(host) is not None and not all_allowed(target, [host], rules):
        raise refusal(field)
    if not secure and not rules.webhook_networks:
        raise BadRequest(field, "must begin with `https://`")
    return target


def refusal(field: str) -> BadRequest:
    """Return the refusal of a host, the same for every reason."""
    return BadRequest(field, _REFUSED)


def all_allowed(target: Target, found: Sequence[str], rules: BatchRules) -> bool:
    """Return whether all addresses `found` for a host may be connected to.

    All, because a name with both a public and an internal address is an attack.
    """
    return bool(found) and all(_allowed(each, target.secure, rules) for each in found)


def derive_secret(root: bytes, tenant: str, epoch: int) -> str:
    """Derive a tenant's secret, in the format of Standard Webhooks. It is not stored."""
    key = hmac.digest(root, f"webhook:{epoch}:{tenant}".encode(), "sha256")
    return "whsec_" + base64.b64encode(key).decode()


def sign(secret: str, id: str, at: int, body: bytes) -> Mapping[str, str]:
    """Return the headers that sign `body` at the time `at`, in Unix seconds."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def _allowed(address: str, secure: bool, rules: BatchRules) -> bool:
    found = addresses.parse_literal(address)
    if found is None:
        return False
    for network in rules.webhook_networks:
        try:
            if found in ip_network(network, strict=False):
                return True
        except ValueError:
            continue
    return secure and addresses.is_public(found)


def _matches(host: str, pattern: str) -> bool:
    pattern = pattern.lower()
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern
