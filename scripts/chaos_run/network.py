"""A network namespace for each server: a link to the store that can be cut, and one to the others.

What is cut is silent, as between machines: packets vanish, connections live on and are sent again.
Needs Linux, `ip` and root.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack

MOST = 9  # servers: an address must be as long as 127.0.0.1, for which a line puts it
_NETS = range(77, 100)  # 10.N.0.0/16; several runs may be under way on a machine


class NoNamespaces(Exception):
    """Raised where there can be none, with the reason."""


class Network:
    """The namespace of one server."""

    def __init__(self, net: int, number: int) -> None:
        self.name = f"chaos-{net}-{number}"
        self.store = f"10.{net}.{number}.1"  # the address that it reaches the store at
        self.claude = f"10.{net}.200.1"  # and Claude: the same of all, for answers are kept by it
        self.others = f"10.{net}.10{number}.1"  # and everyone else
        self.server = f"10.{net}.10{number}.2"  # its own
        self._links = tuple(f"cs{net}{kind}{number}" for kind in ("store", "rest"))

    def make(self, stack: ExitStack) -> None:
        """Make it; it is gone with `stack`. Raises `NoNamespaces`."""
        _ip("netns", "add", self.name)
        stack.callback(_ip, "netns", "del", self.name)  # its links go with it
        _ip("-n", self.name, "link", "set", "lo", "up")
        for link, ours in zip(self._links, (self.store, self.others), strict=True):
            theirs = f"{ours.rpartition('.')[0]}.2"
            _ip("link", "add", link, "type", "veth", "peer", "name", "in", "netns", self.name)
            _ip("-n", self.name, "link", "set", "in", "name", link)
            _ip("addr", "add", f"{ours}/24", "dev", link)
            _ip("-n", self.name, "addr", "add", f"{theirs}/24", "dev", link)
            _ip("link", "set", link, "up")
            _ip("-n", self.name, "link", "set", link, "up")
        _ip("-n", self.name, "route", "add", self.claude, "via", self.others)

    @property
    def prefix(self) -> Sequence[str]:
        """Words that a command begins with which runs in it."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """Cut the link to the store."""
        _ip("link", "set", self._links[0], "down")

    def mend(self) -> None:
        _ip("link", "set", self._links[0], "up")


def networks(count: int, stack: ExitStack) -> list[Network]:
    """Make a namespace for each of `count` servers. Raises `NoNamespaces`."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        raise NoNamespaces("this is not Linux with `ip`")
    if count > MOST:
        raise NoNamespaces(f"there are addresses for {MOST} servers")
    for net in _NETS:
        found = [Network(net, number) for number in range(1, count + 1)]
        with ExitStack() as made:
            try:
                for one in found:
                    one.make(made)
                here = (f"{found[0].claude}/32", "dev", "lo")
                _ip("addr", "add", *here)
                made.callback(_ip, "addr", "del", *here)
            except NoNamespaces as error:
                if "exists" in str(error).lower():
                    continue
                raise
            stack.push(made.pop_all())
            return found
    raise NoNamespaces("all of their addresses are in use")


def _ip(*words: str) -> None:
    done = subprocess.run(("ip", *words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoNamespaces(f"`ip {' '.join(words)}`: {done.stderr.strip()}")


__all__ = ["MOST", "Network", "NoNamespaces", "networks"]
