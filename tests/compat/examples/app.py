"""What the examples' tests share: a server, a program under test, and a browser of sorts."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class Process:
    """A program that prints a line when it is ready; ended by its pid."""

    def __init__(self, command, ready, **environment):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("REDIS", "TIDEWATER"))}
        self.command = command
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**keep, **environment}, start_new_session=True)
        line = self.process.stdout.readline()
        if not line.startswith(ready):
            self.kill()
            raise AssertionError(f"{command} did not start: {line}{self.said()}")
        self.port = int(line.removeprefix(ready))

    def said(self):
        self.log.seek(0)
        return self.log.read()[-3000:]

    def stop(self, within=20):
        """Ends it as an operator does; it must end well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.command} does not end: {self.said()}") from None
        assert status == 0, f"{self.command} ended with {status}: {self.said()}"
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            # The session is the program's own: what it started goes with it.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


class Tidewater(Process):
    def __init__(self, binary):
        self.folder = tempfile.mkdtemp(prefix="tidewater-example-")
        super().__init__([binary, "--port", "0", "--print-port", "--dir", self.folder, "--save", ""], "")
        self.url = f"redis://127.0.0.1:{self.port}"

    def kill(self):
        super().kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __call__(self, *words):
        """One command; its reply: a text, a number, a list or None."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as s, s.makefile("rb") as replies:
            words = [str(w).encode() for w in words]
            s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
            return self._reply(replies)

    def _reply(self, replies):
        line = replies.readline().decode().rstrip("\r\n")
        kind, rest = line[0], line[1:]
        if kind == "-":
            raise AssertionError(rest)
        if kind == ":":
            return int(rest)
        if kind == "$":
            return None if rest == "-1" else replies.read(int(rest) + 2)[:-2].decode()
        if kind == "*":
            return [self._reply(replies) for _ in range(int(rest))]
        return rest


class App(Process):
    """One of the examples, started by its one command against a server."""

    def __init__(self, name, server, **environment):
        run = os.path.join(ROOT, "examples", name, "run")
        super().__init__([run], "listening on ", REDIS_URL=server.url, PORT="0", **{k: str(v) for k, v in environment.items()})
        self.base = f"http://127.0.0.1:{self.port}"


def http(method, url, body=None, headers=None):
    """A request: the status, the headers and the body, from JSON if it is that."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as e:
        answer = e
    with answer:
        text = answer.read().decode()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, answer.headers, json.loads(text) if is_json else text


def until(what, holds, seconds=20):
    end = time.monotonic() + seconds
    while not (seen := holds()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)
    return seen


def main(test, description):
    """Runs a test with a server of its own."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--bin", default=os.environ.get("TIDEWATER_BIN") or os.path.join(ROOT, "target", "ci", "tidewater"))
    with Tidewater(parser.parse_args().bin) as server:
        test(server)
