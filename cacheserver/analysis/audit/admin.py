"""Client of Anthropic's Admin API for an organisation's usage and cost reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import httpx2

from cacheserver.core.errors import CacheServerError

_USAGE: Final = "/v1/organizations/usage_report/messages"
_COST: Final = "/v1/organizations/cost_report"
# What sums are told apart by; an organisation whose API knows fewer is asked for the first four.
_GROUPS: Final = (
    *("model", "workspace_id", "api_key_id", "service_tier"),
    *("context_window", "inference_geo", "speed"),
)
_PARAMETERS: Final = {
    _USAGE: (_GROUPS, _GROUPS[:4]),
    _COST: (("workspace_id", "description"),),
}
_BUCKETS: Final = 31  # days of one page, the API's most
_TRIES: Final = 5
_MOST_WAIT_S: Final = 60.0
_TIMEOUT_S: Final = 60.0


class AdminError(CacheServerError):
    """A report could not be fetched."""


def pages(
    key: str,
    start: float,
    end: float,
    *,
    url: str = "https://api.anthropic.com",
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the pages of both reports, each with a name. Times are Unix seconds, whole days.

    Raises `AdminError` where a page does not come, with what the API said. The key is in no
    message.
    """
    with httpx2.Client(
        base_url=url,
        headers={"x-api-key": key, "anthropic-version": "2023-06-01"},
        timeout=_TIMEOUT_S,
    ) as client:
        for path, groups in _PARAMETERS.items():
            yield from _report(client, path, groups, start, end, wait)


def _report(
    client: httpx2.Client,
    path: str,
    groups: tuple[tuple[str, ...], ...],
    start: float,
    end: float,
    wait: Callable[[float], None],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    asked: dict[str, Any] = {
        "starting_at": _iso(start),
        "ending_at": _iso(end),
        "bucket_width": "1d",
        "limit": _BUCKETS,
        "group_by[]": list(groups[0]),
    }
    name, number = path.rsplit("/v1/organizations/", 1)[1].partition("/")[0], 0
    while True:
        response = _get(client, path, asked, wait)
        if response.status_code == 400 and number == 0 and len(groups) > 1:
            groups = groups[1:]
            asked["group_by[]"] = list(groups[0])
            continue
        page = _page(response, path)
        number += 1
        yield f"{name} page {number}", page
        if not page.get("has_more") or not page.get("next_page"):
            return
        asked["page"] = page["next_page"]


def _get(
    client: httpx2.Client, path: str, asked: Mapping[str, Any], wait: Callable[[float], None]
) -> httpx2.Response:
    for left in reversed(range(_TRIES)):
        try:
            response = client.get(path, params=asked)
        except httpx2.HTTPError as error:
            if not left:
                raise AdminError(f"`{path}`: {type(error).__name__}") from None
            wait(2.0 ** (_TRIES - left - 1))
            continue
        if left and (response.status_code == 429 or response.status_code >= 500):
            wait(_after(response, 2.0 ** (_TRIES - left - 1)))
            continue
        return response
    raise AssertionError("unreachable")


def _after(response: httpx2.Response, default_s: float) -> float:
    try:
        asked = float(response.headers.get("retry-after", ""))
    except ValueError:
        asked = default_s
    return min(max(0.0, asked), _MOST_WAIT_S)


def _page(response: httpx2.Response, path: str) -> Mapping[str, Any]:
    try:
        page = response.json()
    except ValueError:
        page = None
    if response.status_code != 200:
        error = page.get("error") if isinstance(page, dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        hint = " (it takes an Admin key)" if response.status_code in (401, 403) else ""
        raise AdminError(f"`{path}`: {response.status_code}{hint}: {str(message or '')[:200]}")
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise AdminError(f"`{path}`: an answer that is no page")
    return page


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
