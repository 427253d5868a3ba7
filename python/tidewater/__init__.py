"""A Tidewater server, which speaks the Redis protocol, as a value: for tests, and for programs that bring their own store.

    with tidewater.Server() as server:
        redis.Redis(port=server.port).set("k", "v")
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import Union
from urllib.parse import quote

from ._client import Argument, Connection, Reply, ReplyError
from ._faults import Faults, milliseconds

__all__ = ["Faults", "ReplyError", "Server", "StartError", "binary", "main"]
__version__ = "@VERSION@"

#: What a directive may be set to: one value, several words of one line, or nothing to leave it at its default.
Value = Union[str, int, float, bool, "os.PathLike[str]", Iterable[Union[str, int, float]], None]

# The shell becomes the server (same process id) once it has left a watcher behind, which reads from a pipe whose other
# end only this Python process holds. A line says that all is over; the end of the pipe, that this process is gone without
# a word, however it ended: then the watcher ends the server and removes its directory. The watcher is the server's child,
# so it knows by its parent whether the server is there, and never hits another process with the same id. PR_SET_PDEATHSIG
# would need code between fork and exec, which is not safe with threads, and it fires when the starting thread ends.
_LAUNCH = r"""
exec 3<&0 </dev/null
{
    there() { read -r _ _ _ parent _ </proc/self/stat && [ "$parent" = $$ ]; }
    if ! read -r _ <&3; then
        if there; then kill -TERM $$; fi
        n=0
        while there && [ $n -lt 250 ]; do sleep 0.02; n=$((n + 1)); done
        if there; then kill -KILL $$; fi
        if [ -n "$0" ]; then rm -rf "$0"; fi
    fi
} >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"""

_running: weakref.WeakSet[Server] = weakref.WeakSet()


class StartError(RuntimeError):
    """The server did not start. The message ends with what it logged."""


def binary() -> str:
    """The path of the server's program."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "tidewater")


def main() -> None:
    """Becomes the server, with this process's arguments: the `tidewater` command."""
    os.execv(binary(), ["tidewater", *sys.argv[1:]])


class Server:
    """A server in a process of its own, on this machine.

    It listens on 127.0.0.1 and a free port, keeps its files in a temporary directory that goes with it, and writes no
    dump. It ends with `stop()`, with the `with` block, or with this process, even when that is killed.

    Args:
        port: the port; 0 picks a free one.
        dir: a directory for the server's files, which stays. Save points are then the server's defaults.
        debug: allows DEBUG to clients on this machine, by which `advance()` and `faults` work.
        start_timeout: seconds until a server that is not ready counts as failed.
        directives: any other directive of redis.conf, with `_` for `-`: `maxmemory="10mb"`, `appendonly=True`,
            `save=(3600, 1)`. `None` leaves a directive at its default.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        dir: str | os.PathLike[str] | None = None,
        debug: bool = False,
        start_timeout: float = 30.0,
        **directives: Value,
    ) -> None:
        self._asked_port = port
        self._asked_dir = os.fspath(dir) if dir is not None else None
        self._start_timeout = start_timeout
        self._directives: dict[str, list[str]] = {"bind": ["127.0.0.1"]}
        if dir is None:
            self._directives["save"] = [""]
        if debug:
            self._directives["enable-debug-command"] = ["local"]
        for name, value in directives.items():
            name = name.replace("_", "-")
            if name in ("daemonize", "supervised", "logfile"):
                raise ValueError(f"{name}: the server is this process's child and its log is kept in the directory")
            if value is not None:
                self._directives[name] = _words(value)
        self._lock = threading.Lock()
        self._debug_lock = threading.Lock()
        self._debug_connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._port = 0
        self._dir: str | None = None

    def start(self) -> Server:
        """Starts the server and returns it once it takes connections.

        Raises:
            StartError: it did not start; the message has its log.
            RuntimeError: it runs already.
        """
        with self._lock:
            if self._process is not None:
                raise RuntimeError("the server has been started")
            own = tempfile.mkdtemp(prefix="tidewater-") if self._asked_dir is None else ""
            folder = own or os.path.abspath(self._asked_dir or "")
            try:
                self._launch(own, folder)
            except BaseException:
                self._end(signal.SIGKILL)
                raise
            return self

    def _launch(self, own: str, folder: str) -> None:
        arguments = ["--port", str(self._asked_port), "--print-port", "--dir", folder]
        for name, words in self._directives.items():
            arguments += ["--" + name, *words]
        self._dir, self._owner = folder, os.getpid()
        with open(self._log_path(), "wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _LAUNCH, own, binary(), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # So that Ctrl-C is for this process, which then ends the server in its own time.
                start_new_session=True,
            )
        _running.add(self)
        line = self._first_line()
        if not line.strip().isdigit():
            status = self._process.poll()
            why = "did not get ready in time" if status is None else f"ended with status {status}"
            raise StartError(f"the server {why}; its log:\n{self.log().strip() or '(empty)'}")
        self._port = int(line)

    def _first_line(self) -> bytes:
        """The port, or nothing when the server ended instead or took too long."""
        assert self._process is not None and self._process.stdout is not None
        end, line = time.monotonic() + self._start_timeout, b""
        output = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(output, select.POLLIN | select.POLLHUP)
        while not line.endswith(b"\n"):
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                return b""
            part = os.read(output, 64)
            if not part:
                self._process.wait()
                return b""
            line += part
        return line

    def stop(self, timeout: float = 30.0) -> None:
        """Ends the server cleanly, and with force after `timeout` seconds. Does nothing when it does not run."""
        with self._lock:
            self._end(signal.SIGTERM, timeout)

    def _end(self, how: signal.Signals, timeout: float = 30.0) -> None:
        process = self._process
        _running.discard(self)
        self._close_debug_connection()
        # A forked copy of this object is not what started the server.
        if process is not None and self._owner == os.getpid():
            assert process.stdin is not None and process.stdout is not None
            if process.poll() is None:
                process.send_signal(how)
                try:
                    process.wait(timeout)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            try:
                process.stdin.write(b"over\n")
                process.stdin.close()
            except BrokenPipeError:
                # Somebody killed the watcher; there is nothing left to watch.
                pass
            process.stdout.close()
        if self._asked_dir is None and self._dir is not None and self._owner == os.getpid():
            shutil.rmtree(self._dir, ignore_errors=True)
        self._process, self._dir, self._port = None, None, 0

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<tidewater.Server {self.url if self._port else 'stopped'}>"

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def port(self) -> int:
        """The port it listens on."""
        self._started()
        return self._port

    @property
    def host(self) -> str:
        """The address it listens on: the first of the `bind` directive."""
        address = self._directives["bind"][0].lstrip("-")
        return {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::*": "::1", "::": "::1"}.get(address, address)

    @property
    def url(self) -> str:
        """`redis://HOST:PORT`, with the password of the `requirepass` directive if there is one."""
        password = self._directives.get("requirepass", [""])[0]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{':' + quote(password, safe='') + '@' if password else ''}{host}:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._started().pid

    @property
    def dir(self) -> str:
        """The directory of the server's files. A temporary one is removed by `stop()`."""
        self._started()
        assert self._dir is not None
        return self._dir

    def log(self) -> str:
        """What the server has logged so far."""
        try:
            with open(self._log_path(), encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def execute(self, *words: Argument, timeout: float | None = 30.0) -> Reply:
        """Runs a command as a client of its own, whose state does not outlive the call: for more, use a Redis client.

            server.execute("SET", "k", "v")     # "OK"
            server.execute("GET", "k")          # b"v"

        Args:
            words: the command's name and arguments. Text is sent as UTF-8.
            timeout: seconds to wait for the reply; `None` for a blocking command without an end.

        Returns:
            `bytes` for a string, `str` for a status, `int`, `None`, or a list of these (a map is a list, as in RESP2).

        Raises:
            ReplyError: the reply is an error.
            OSError: there is no connection, it was closed without a reply, or the time is over.
        """
        connection = self._connect(timeout)
        try:
            return connection.execute(*words)
        finally:
            connection.close()

    def flush(self) -> None:
        """Removes every key of every database (FLUSHALL)."""
        self.execute("FLUSHALL")

    def advance(self, by: float | timedelta) -> None:
        """Moves the server's clock on, by seconds to the millisecond: keys expire, blocked commands time out. It cannot be moved back.

        Needs `debug=True`.
        """
        self._debug("CLOCK", "ADVANCE", milliseconds(by))

    @property
    def faults(self) -> Faults:
        """Faults that the server commits on purpose. Needs `debug=True`."""
        return Faults(self)

    @property
    def debug_allowed(self) -> bool:
        """Whether `advance()` and `faults` work."""
        return self._directives.get("enable-debug-command", ["no"])[0].lower() != "no"

    def _debug(self, *words: Argument) -> None:
        if not self.debug_allowed:
            raise RuntimeError("DEBUG is not allowed: start the server with tidewater.Server(debug=True)")
        with self._debug_lock:
            # A connection that stays: a fault that AUTH is to answer, as "*" does, must not lock out the one who ends it.
            if self._debug_connection is not None:
                try:
                    self._debug_connection.execute("DEBUG", *words)
                    return
                except ConnectionError:
                    # A client may have killed it, CLIENT KILL TYPE normal.
                    self._close_debug_connection()
                except OSError:
                    self._close_debug_connection()
                    raise
            self._debug_connection = self._connect(30.0)
            self._debug_connection.execute("DEBUG", *words)

    def _close_debug_connection(self) -> None:
        if self._debug_connection is not None:
            self._debug_connection.close()
            self._debug_connection = None

    def _connect(self, timeout: float | None) -> Connection:
        return Connection(self.host, self.port, self._directives.get("requirepass", [""])[0], timeout)

    def _log_path(self) -> str:
        return os.path.join(self._dir or "", "tidewater.log")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server has not been started")
        return self._process


def _words(value: Value) -> list[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, (str, int, float, os.PathLike)):
        return [os.fspath(value) if isinstance(value, os.PathLike) else str(value)]
    return [str(word) for word in value or ()] or [""]


def _forked() -> None:
    """A forked child lets go of the pipe: only the process that started a server keeps it alive."""
    for server in list(_running):
        if server._process is not None and server._process.stdin is not None:
            server._process.stdin.close()
        # Another thread may have held the lock, and the connection is the parent's.
        server._debug_lock = threading.Lock()
        server._close_debug_connection()
    _running.clear()


def _stop_all() -> None:
    for server in list(_running):
        server.stop(timeout=5)


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_forked)
