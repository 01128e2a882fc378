"""Explanations of connection errors: which server, which setting, what to do. Pure.

Rule: no text of the server is repeated except what is matched here, and never a password.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoPermissionError,
    ResponseError,
    TimeoutError,
)

from cacheserver.storage.primary import NoPrimary
from cacheserver.storage.redis_url import describe_url, speaks_tls

_URL, _CA = "CACHESERVER_REDIS_URL", "CACHESERVER_REDIS_CA_FILE"
_CERT = "CACHESERVER_REDIS_CERT_FILE"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Reason why a Redis cannot be used. `passing`: waiting may help."""

    setting: str
    why: str
    passing: bool = False


def message(url: str, found: Unreachable) -> str:
    """Format the one line that an operator reads."""
    return f"`{found.setting}`: Redis at {describe_url(url)} cannot be used: {found.why}"


def explain_error(error: BaseException, url: str) -> Unreachable:
    """Explain the error that the client raised on first use."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, NoPrimary):
            return Unreachable(_URL, one.why, passing=one.passing)
    for one in chain:
        if (found := _tls(one)) is not None:
            return found
    for one in chain:
        if (found := _network(one, tls=speaks_tls(url))) is not None:
            return found
    for one in chain:
        if (found := _refused(one)) is not None:
            return found
    if any(isinstance(one, ConnectionError | EOFError) for one in chain):
        hint = "; if that port speaks TLS, use rediss://" if url.startswith("redis://") else ""
        if speaks_tls(url):  # TLS 1.3 refuses after the handshake; a reset may win
            hint = f"; if it asks for a client certificate, or another one, set `{_CERT}`"
        return Unreachable(_URL, f"the connection was closed before an answer{hint}", passing=True)
    return Unreachable(_URL, f"{type(error).__name__}", passing=True)


def _tls(error: BaseException) -> Unreachable | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH
            return Unreachable(_URL, "its certificate is for another host name than the URL's")
        if error.verify_code == 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            return Unreachable(_URL, "its certificate has expired")
        return Unreachable(_CA, "its certificate has no trusted signer; name its CA's file")
    if not isinstance(error, ssl.SSLError):
        return None
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return Unreachable(_URL, "it does not speak TLS there; use redis:// or its TLS port")
    if "CERTIFICATE_REQUIRED" in reason or reason == "SSLV3_ALERT_HANDSHAKE_FAILURE":
        return Unreachable(_CERT, "it asks for a client certificate")
    if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason:
        return Unreachable(_CERT, "it does not accept our client certificate")
    return Unreachable(_URL, f"TLS fails ({reason.lower().replace('_', ' ') or 'no reason given'})")


def _network(error: BaseException, *, tls: bool) -> Unreachable | None:
    match error:
        case socket.gaierror():
            return Unreachable(_URL, "there is no host of this name", passing=True)
        case FileNotFoundError():
            return Unreachable(_URL, "there is no such socket", passing=True)
        case PermissionError():
            return Unreachable(_URL, "this user may not open the socket")
        case ConnectionRefusedError():
            return Unreachable(_URL, "nothing listens there (refused)", passing=True)
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH):
            return Unreachable(_URL, "there is no route to it", passing=True)
        case TimeoutError() | OSError(errno=errno.ETIMEDOUT):
            # A Redis without TLS takes the first bytes for half a command, and waits for the rest.
            hint = ", or does not speak TLS on that port" if tls else ""
            return Unreachable(_URL, f"it did not answer in time{hint}", passing=True)
    return None


def _refused(error: BaseException) -> Unreachable | None:
    """Explain a refusal by the server itself."""
    text = str(error)
    if "invalid username-password" in text or "WRONGPASS" in text or "invalid password" in text:
        return Unreachable(_URL, "the user's name or the password is wrong")
    if "without any password configured" in text:
        return Unreachable(_URL, "there is a password in the URL, and the server has none")
    if isinstance(error, NoPermissionError):
        return Unreachable(
            _URL, "its ACL does not let this user run what is needed; docs/running.md has a rule"
        )
    if isinstance(error, AuthenticationError) or text.startswith("NOAUTH"):
        return Unreachable(_URL, "it asks for a password, and the URL has none")
    if "DB index is out of range" in text or "invalid DB index" in text:
        return Unreachable(_URL, "it has no database of this number")
    if "SELECT is not allowed in cluster mode" in text:
        return Unreachable(
            _URL, "it is a node of a cluster, which has one database; use redis+cluster://"
        )
    if "DENIED" in text:
        return Unreachable(_URL, "it is in protected mode: it has no password and refuses others")
    if "max number of clients" in text:
        return Unreachable(_URL, "it has as many clients as it takes", passing=True)
    if text.startswith("LOADING") or "loading the dataset" in text:
        return Unreachable(_URL, "it is loading its data", passing=True)
    if isinstance(error, ResponseError) and text.split(" ", 1)[0].isupper():
        return Unreachable(_URL, f"it refuses with {text.split(' ', 1)[0]}", passing=True)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then its causes and contexts, outermost first."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += [one.__context__, one.__cause__]
