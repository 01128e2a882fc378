"""The bounds of a connection, with the reason for each."""

from __future__ import annotations

import resource
from dataclasses import dataclass

# Files this process needs beside its connections: the store's 32, Claude's 64, and the logs.
_OTHER_FILES = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection, and of all together. Times are seconds.

    The defaults of the settings are in `config`; those here are for nobody to set.
    """

    connections: int = 8_192
    per_address: int = 1_024
    head_s: float = 10.0  # from a request's first byte to the end of its headers
    body_s: float = 600.0  # of a whole body
    reader_s: float = 60.0  # in which a reader must take `least_read` of what waits for it
    keep_alive_s: float = 75.0
    # Node's limit is 16 KiB and h11's 16 KiB; Anthropic's betas and traces need 2 KiB. Four times
    # that is far from what anybody sends and far from what costs anything.
    head_bytes: int = 64 * 1024
    fields: int = 100  # as Apache's `LimitRequestFields`
    # Apache's `RequestReadTimeout body=20,MinRate=500`: 500 bytes a second, over windows so that a
    # large first packet buys no hours.
    body_window_s: float = 10.0
    least_body: int = 5_000
    # Kestrel's `MinResponseDataRate` of 240 bytes a second, over nginx's `send_timeout` of 60 s.
    least_read: int = 15_000
    pipelined: int = (
        16  # browsers that ever pipelined sent 8; a packet of 256 KiB could hold 14,000
    )
    linger_s: float = 2.0  # for a refusal to be read; as lighttpd's

    @property
    def tick_s(self) -> float:
        """Return the seconds between checks: a quarter of the shortest limit."""
        return min(1.0, *(s / 4 for s in (self.head_s, self.body_window_s, self.reader_s)))


def within_files(wanted: int) -> int:
    """Return the connections this process can hold, after raising its limit on open files.

    A process out of files cannot accept, nor write its snapshot.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        needed = wanted + _OTHER_FILES
        soft = max(soft, needed if hard == resource.RLIM_INFINITY else min(hard, needed))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, soft - _OTHER_FILES))
