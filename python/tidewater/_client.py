"""As much of a Redis client as `tidewater.Server` needs itself: a request and its reply, in RESP2."""

from __future__ import annotations

import socket
from typing import Union

__all__ = ["Argument", "Connection", "Reply", "ReplyError"]

#: A word of a command. Text is sent as UTF-8.
Argument = Union[str, bytes, int, float]

#: A reply: `bytes` of a bulk string, `str` of a status such as OK, an error only inside of a list.
Reply = Union[bytes, str, int, None, "ReplyError", "list[Reply]"]


class ReplyError(RuntimeError):
    """The server answered with an error; the message is the reply: `WRONGTYPE Operation against ...`."""


class Connection:
    """A connection of one caller at a time."""

    def __init__(self, host: str, port: int, password: str, timeout: float | None) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        self._replies = self._socket.makefile("rb")
        # Only when there is one: faults count commands.
        if password:
            try:
                self.execute("AUTH", password)
            except BaseException:
                self.close()
                raise

    def execute(self, *words: Argument) -> Reply:
        """Sends a command and reads its reply.

        Raises:
            ReplyError: the reply is an error.
            ConnectionError: the server closed the connection.
        """
        if not words:
            raise ValueError("a command has a name")
        sent = [_bytes(word) for word in words]
        self._socket.sendall(b"*%d\r\n" % len(sent) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in sent))
        reply = self._reply()
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def _reply(self) -> Reply:
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode(errors="replace")
        if kind == b"-":
            return ReplyError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]
        # After HELLO 3.
        raise ConnectionError(f"a reply that is not of RESP2: {line[:60]!r}")

    def _bulk(self, length: int) -> bytes | None:
        if length < 0:
            return None
        data = self._replies.read(length + 2)
        if len(data) < length + 2:
            raise ConnectionError("the server closed the connection")
        return data[:-2]

    def close(self) -> None:
        self._replies.close()
        self._socket.close()


def _bytes(word: Argument) -> bytes:
    if isinstance(word, bytes):
        return word
    if isinstance(word, str):
        return word.encode()
    if isinstance(word, (int, float)) and not isinstance(word, bool):
        return repr(word).encode()
    raise TypeError(f"a word of a command is str, bytes, int or float, not {type(word).__name__}")
