"""Questions that a command asks a person, and keys that a person presses."""

from __future__ import annotations

import sys

from cacheserver.core.errors import SettingsError


def require_terminal() -> None:
    """Raise `SettingsError` where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise SettingsError("give --yes: there is no terminal to ask on")


def agreed(question: str) -> bool:
    """Ask a person yes or no. Raises `SettingsError` where there is nobody to ask."""
    require_terminal()
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def key_pressed() -> str:
    """Return the next key of a terminal, or the first letter of the next line of standard input.

    Empty: the input has ended. Raises `KeyboardInterrupt` for Ctrl-C.
    """
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip()[:1].lower() or (" " if line else "")
    try:
        import termios
        import tty
    except ImportError:  # no such terminals here: a key and Enter
        return sys.stdin.readline().strip()[:1].lower()
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)  # single keys; Ctrl-C still interrupts
        return sys.stdin.read(1).lower()
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
