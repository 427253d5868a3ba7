"""Faults on purpose: what `tidewater.Server.faults` gives."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import Server

__all__ = ["Faults", "milliseconds"]


class Faults:
    """Faults that the server commits, for tests of how a client takes them. Each call adds one, or replaces one for the same command.

    A command is named as in the protocol, in any case: `"GET"`; `"CONFIG"` for all of its subcommands, or `"CONFIG|SET"`;
    `"*"` for every command. DEBUG, by which they are set, has none.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def delay(self, command: str, by: float | timedelta) -> None:
        """The command runs so much later, in seconds; only its own connection waits."""
        self._server._debug("FAULT", "DELAY", command, milliseconds(by))

    def error(self, command: str, text: str) -> None:
        """The command is not run, and is answered with this error: `"OOM command not allowed"`."""
        self._server._debug("FAULT", "ERROR", command, text)

    def drop_connection_after(self, commands: int) -> None:
        """Once so many more commands have been taken, whoever they come from, the connection that sends the next one is closed
        without a reply. Once: for another, call it again."""
        self._server._debug("FAULT", "DROP", commands)

    def clear(self) -> None:
        """Ends all faults."""
        self._server._debug("FAULT", "CLEAR")


def milliseconds(span: float | timedelta) -> int:
    """The server's unit of time."""
    ms = round((span.total_seconds() if isinstance(span, timedelta) else span) * 1000)
    if ms < 0:
        raise ValueError("time goes forward only")
    return ms
