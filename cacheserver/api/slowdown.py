"""Increasing delays for wrong keys from one address.

Rule: a right key is never held up, whoever else shares its address; nothing is refused here that
would have been let in. Addresses are forgotten when idle, and beyond a number of them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from cacheserver.core.errors import RateLimited, Unauthenticated

logger = logging.getLogger(__name__)

_FIRST_S = 0.05  # nobody sees it who mistypes a key
_LONGEST_S = 5.0  # under the 10 s after which clients and proxies often give up
_IDLE_S = 900.0  # a quarter of an hour without a wrong key is a fresh start
_ADDRESSES = 10_000  # some 2 MB
_WAITING = 32  # of one address; each holds a connection. More are told to come back
_WAITING_IN_ALL = 1_024


@dataclass(slots=True)
class _Tries:
    count: int = 0
    last: float = 0.0
    waiting: int = 0


class Slowdown:
    """Wrong keys by address. `clock` counts seconds, `sleep` waits for some."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._tries: OrderedDict[str, _Tries] = OrderedDict()
        self._waiting = 0

    def wrong(self, request: HTTPConnection, kind: str) -> tuple[str, float]:
        """Record a wrong key. Returns its address and the delay of the answer, s."""
        address, network = address_of(request)
        now = self._clock()
        tries = self._tries.pop(network, None) or _Tries()
        if now - tries.last > _IDLE_S:
            tries.count = 0
        self._tries[network] = tries
        tries.count += 1
        tries.last = now
        while len(self._tries) > _ADDRESSES:
            self._tries.popitem(last=False)
        delay_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(tries.count - 1, 30))
        # Once it is slow anyway, a line for each doubling: a flood is no flood of lines.
        if tries.count & (tries.count - 1) == 0 or delay_s < _LONGEST_S:
            logger.warning("a wrong %s from %s, %d in a row", kind, address, tries.count)
        return network, delay_s

    async def hold(self, network: str, delay_s: float) -> None:
        """Return after the delay. Raises `RateLimited` where too many are held up already."""
        tries = self._tries.get(network) or _Tries()
        if tries.waiting >= _WAITING or self._waiting >= _WAITING_IN_ALL:
            seconds = str(int(_LONGEST_S))
            raise RateLimited(
                "too many wrong keys came from this address", headers={"retry-after": seconds}
            )
        tries.waiting += 1
        self._waiting += 1
        try:
            await self._sleep(delay_s)
        finally:
            tries.waiting -= 1
            self._waiting -= 1


class WrongKey(Unauthenticated):
    """An invalid key; its answer is delayed."""

    def __init__(self, message: str, network: str, delay_s: float) -> None:
        super().__init__(message)
        self.network = network
        self.delay_s = delay_s


def address_of(request: HTTPConnection) -> tuple[str, str]:
    """Return the client's address, and the network that counts as one client.

    Of IPv6 that is a /64, which one machine has as a whole. What is no address is not shown: it
    was written by the client.
    """
    client = request.scope.get("client")
    if client is None:
        return "this machine", "local"
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return "an unknown address", "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped), str(address.ipv4_mapped)
        plain = ipaddress.IPv6Address(int(address))  # without a zone
        return str(plain), str(ipaddress.IPv6Network((plain, 64), strict=False))
    return str(address), str(address)
