"""Check of Claude at a cloud: credentials, region and reachability, by a request that is free.

The request has no messages. A cloud checks signature, permission and model before it refuses the
body, and what it refuses it does not bill.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cacheserver.core.errors import UpstreamError
from cacheserver.doctor.check import Check, failed, ok, warning

if TYPE_CHECKING:
    from cacheserver.claude.platforms.rules import Cloud

_TIMEOUT_S: Final = 10.0  # a token may have to be fetched first
_MOST_CHARS: Final = 200
_REFUSED: Final = "messages"  # what the body lacks, as every cloud names it


async def check_cloud(cloud: Cloud, base_url: str, model: str) -> Check:
    """Check that a cloud takes this machine's credentials and has the model."""
    from cacheserver.claude.platforms.connection import CloudSdk
    from cacheserver.claude.upstream_http import shaped

    causes: list[str] = []
    sdk = CloudSdk(cloud, base_url, 1, _TIMEOUT_S, on_event=causes.append)
    body = json.dumps({"model": model, "max_tokens": 1, "messages": []}).encode()
    try:
        with shaped():
            reply = await sdk.send(body, {}, stream=False)
    except UpstreamError as error:
        return _refused(error, base_url, causes)
    finally:
        await sdk.close()
    return ok("upstream", f"{base_url}: status {reply.status_code}, credentials accepted")


def _refused(error: UpstreamError, base_url: str, causes: list[str]) -> Check:
    from cacheserver.claude.platforms.failures import REMEDIES

    for cause, remedy in REMEDIES.items():
        if cause in causes:
            return failed("upstream", _message(error), remedy)
    if error.worded is not None:
        do = "check the network, `CACHESERVER_UPSTREAM_REGION` and `CACHESERVER_UPSTREAM_ENDPOINT`"
        return failed("upstream", f"{base_url}: {_message(error)}", do)
    found = f"{base_url}: status {error.status}: {_message(error)}"
    match error.status:
        case 400 if _REFUSED in _message(error).lower():
            return ok("upstream", f"{base_url}: credentials accepted")
        case 400 | 404:
            do = "check that the region has the model; see `CACHESERVER_UPSTREAM_MODELS`"
            return failed("upstream", found, do)
        case 401 | 403:
            do = "replace the credentials, or permit them the model; docs/clouds.md has the rights"
            return failed("upstream", found, do)
    return warning("upstream", found, "the cloud refuses or fails for now; try again")


def _message(error: UpstreamError) -> str:
    try:
        return str(json.loads(error.body)["error"]["message"])[:_MOST_CHARS]
    except (ValueError, KeyError, TypeError):
        return "no message"
