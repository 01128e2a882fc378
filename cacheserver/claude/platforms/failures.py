"""Failures of a cloud's client before a request is sent: their causes, and what to do. Pure.

The clouds' libraries are extras, so their exceptions are known by name, through all their bases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from cacheserver.claude.platforms.rules import CALLED, CloudName

Cause: TypeAlias = Literal[
    "credentials-missing",
    "credentials-expired",
    "credentials-unreachable",
    "region-wrong",
    "client-failed",
]

_LIBRARIES: Final = ("botocore.", "google.auth.")  # others have a `ConnectionError` too
# Their errors, the most special first: an error is the first that it is.
_NAMES: Final[Mapping[str, Cause]] = {
    **dict.fromkeys(
        ("NoRegionError", "InvalidRegionError", "UnknownRegionError", "ServiceNotInRegionError"),
        "region-wrong",
    ),
    **dict.fromkeys(
        ("UnauthorizedSSOTokenError", "TokenRetrievalError", "SSOTokenLoadError"),
        "credentials-expired",
    ),
    **dict.fromkeys(("LoginTokenLoadError", "LoginRefreshTokenExpired"), "credentials-expired"),
    **dict.fromkeys(("ReauthFailError", "RefreshError"), "credentials-expired"),
    **dict.fromkeys(
        ("TransportError", "HTTPClientError", "ConnectionError", "MetadataRetrievalError"),
        "credentials-unreachable",
    ),
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        "credentials-missing",
    ),
    **dict.fromkeys(
        ("ProfileNotFound", "ConfigNotFound", "ConfigParseError", "NoAuthTokenError"),
        "credentials-missing",
    ),
    **dict.fromkeys(
        ("UnknownCredentialError", "UnknownTokenProviderError", "DefaultCredentialsError"),
        "credentials-missing",
    ),
    **dict.fromkeys(("BotoCoreError", "GoogleAuthError"), "client-failed"),
}
# The SDK says with a plain `RuntimeError` or `ValueError` that its search found nothing.
_OF_SDK: Final = "could not resolve"
_PLACE: Final = ("aws region", "`region`", "project_id")

_MESSAGES: Final[Mapping[Cause, str]] = {
    "credentials-missing": "this server has no credentials for {cloud}",
    "credentials-expired": "this server's credentials for {cloud} have expired or were refused",
    "credentials-unreachable": "what gives this server credentials for {cloud} does not answer",
    "region-wrong": "this server has no region or project of {cloud}'s, or a wrong one",
    "client-failed": "the call to {cloud} failed before it was sent",
}
# For whom operates the server: `doctor` shows it, and the documentation.
REMEDIES: Final[Mapping[Cause, str]] = {
    "credentials-missing": "give this machine credentials; docs/clouds.md says where they are read",
    "credentials-expired": "sign in again (`aws sso login`, `gcloud auth application-default "
    "login`), or replace the key",
    "credentials-unreachable": "check the network to the cloud's token or metadata service",
    "region-wrong": "set `CACHESERVER_UPSTREAM_REGION` (and `CACHESERVER_VERTEX_PROJECT`)",
    "client-failed": "see the server's log for the kind of error",
}
# Each, but what may be over the next time.
LASTING: Final[frozenset[Cause]] = frozenset(
    {"credentials-missing", "credentials-expired", "region-wrong"}
)


def cause(error: Exception) -> Cause:
    """Return why a cloud's client could not send a request."""
    for base in type(error).__mro__:
        if base.__module__.startswith(_LIBRARIES) and base.__name__ in _NAMES:
            return _NAMES[base.__name__]
    text = str(error).lower()
    if any(word in text for word in _PLACE):
        return "region-wrong"
    return "credentials-missing" if _OF_SDK in text else "client-failed"


def message(found: Cause, cloud: CloudName) -> str:
    """Return what a caller reads: the cause, without the error's own text."""
    return _MESSAGES[found].format(cloud=CALLED[cloud])
