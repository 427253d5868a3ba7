"""The installed package: `tidewater.Server`, its ends, its errors."""

import concurrent.futures
import datetime
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import redis

import tidewater


def until(what, holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


def there(pid):
    """Whether a process runs; one that ended and that nobody has collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def refused(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0


def test_is_the_installed_package():
    assert "site-packages" in tidewater.__file__
    assert tidewater.__version__[0].isdigit()
    assert os.access(tidewater.binary(), os.X_OK)


def test_with_block():
    with tidewater.Server() as server:
        client = redis.Redis(port=server.port, decode_responses=True)
        assert client.set("k", "v") and client.get("k") == "v"
        pid, folder, port = server.pid, server.dir, server.port
        assert client.info("server")["process_id"] == pid
        assert client.config_get("dir")["dir"] == folder and client.config_get("save")["save"] == ""
        assert server.url == f"redis://127.0.0.1:{port}" and server.running
        assert redis.from_url(server.url).ping()
    assert not there(pid) and not os.path.exists(folder) and refused(port)
    assert repr(server) == "<tidewater.Server stopped>" and not server.running


def test_start_and_stop_and_again():
    server = tidewater.Server()
    with pytest.raises(RuntimeError, match="not been started"):
        server.port
    assert server.start() is server
    with pytest.raises(RuntimeError, match="has been started"):
        server.start()
    redis.Redis(port=server.port).set("k", "v")
    server.stop()
    server.stop()
    server.start()
    assert redis.Redis(port=server.port).dbsize() == 0
    server.stop()


def test_a_given_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tidewater.Server(port) as server:
        assert server.port == port and redis.Redis(port=port).ping()
        with pytest.raises(tidewater.StartError, match=f"port {port}"):
            tidewater.Server(port).start()


def test_directives():
    directives = dict(maxmemory="10mb", maxmemory_policy="allkeys-lru", appendonly=True, save=(3600, 1), requirepass="a b/c", hz=None)
    with tidewater.Server(**directives) as server:
        client = redis.from_url(server.url, decode_responses=True)
        config = client.config_get("*")
        assert config["maxmemory"] == str(10 * 1024 * 1024) and config["maxmemory-policy"] == "allkeys-lru"
        assert config["appendonly"] == "yes" and config["save"] == "3600 1" and config["hz"] == "10"
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port, retry=None).ping()


def test_execute_and_flush():
    with tidewater.Server(requirepass="a b/c") as server:
        assert server.execute("SET", "k", "zwölf") == "OK"
        assert server.execute(b"get", "k") == "zwölf".encode()
        assert server.execute("RPUSH", "l", 1, 2.5, b"\x00\r\n") == 3
        assert server.execute("LRANGE", "l", 0, -1) == [b"1", b"2.5", b"\x00\r\n"]
        assert server.execute("GET", "none") is None and server.execute("BLPOP", "none", 0.05) is None
        assert server.execute("GEOPOS", "none", "x") == [None] and server.execute("LRANGE", "none", 0, -1) == []
        big = bytes(range(256)) * 20_000
        assert server.execute("SET", "big", big) == "OK" and server.execute("GET", "big") == big
        with pytest.raises(tidewater.ReplyError, match="^WRONGTYPE "):
            server.execute("GET", "l")
        with pytest.raises(TypeError, match="NoneType"):
            server.execute("SET", "k", None)
        with pytest.raises(ValueError):
            server.execute()
        with pytest.raises(TimeoutError):
            server.execute("BLPOP", "none", 0, timeout=0.05)
        assert redis.from_url(server.url).select(1) and server.execute("SELECT", 1) == "OK"
        assert server.execute("DBSIZE") == 3
        redis.from_url(server.url, db=1).set("in", 1)
        server.flush()
        assert server.execute("DBSIZE") == 0 and redis.from_url(server.url, db=1).dbsize() == 0
    with pytest.raises(RuntimeError, match="not been started"):
        server.execute("PING")


@pytest.mark.parametrize("by", [61, 61.0, datetime.timedelta(minutes=1, seconds=1)])
def test_the_clock(by):
    with tidewater.Server(debug=True) as server:
        client = redis.Redis(port=server.port)
        client.set("k", "v", ex=60)
        client.set("stays", "v", ex=600)
        before = client.time()[0]
        server.advance(by)
        assert client.get("k") is None and 530 < client.ttl("stays") <= 539
        assert client.time()[0] - before >= 61
        with pytest.raises(ValueError, match="forward"):
            server.advance(-1)


def test_the_clock_ends_a_blocked_command():
    with tidewater.Server(debug=True) as server, concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.execute, "BLPOP", "none", 3600)
        until("a blocked client", lambda: b"blocked_clients:1\r" in server.execute("INFO", "clients"))
        server.advance(3601)
        assert waiting.result(20) is None


def test_faults():
    with tidewater.Server(debug=True) as server:
        client = redis.Redis(port=server.port, retry=None)
        server.faults.error("set", "OOM command not allowed when used memory > 'maxmemory'.")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("k", "v")
        with pytest.raises(tidewater.ReplyError, match="^OOM "):
            server.execute("SET", "k", "v")
        assert client.get("k") is None
        server.faults.delay("GET", datetime.timedelta(milliseconds=80))
        began = time.monotonic()
        assert client.get("k") is None and time.monotonic() - began >= 0.08
        began = time.monotonic()
        server.faults.delay("GET", 0.12)
        assert client.get("k") is None and time.monotonic() - began >= 0.12
        server.faults.clear()
        assert client.set("k", "v")
        server.faults.drop_connection_after(2)
        assert client.get("k") == b"v" and client.get("k") == b"v"
        with pytest.raises(redis.ConnectionError):
            client.get("k")
        assert client.get("k") == b"v"
        server.faults.drop_connection_after(0)
        with pytest.raises(ConnectionError, match="closed"):
            server.execute("PING")
        assert server.execute("PING") == "PONG"


def test_faults_can_be_ended_whatever_they_are():
    """Also those that AUTH meets, and after somebody killed every connection."""
    with tidewater.Server(debug=True, requirepass="secret") as server:
        client = redis.from_url(server.url)
        assert client.ping()
        server.faults.error("*", "ERR down for the test")
        with pytest.raises(redis.ResponseError, match="down for the test"):
            client.ping()
        with pytest.raises(tidewater.ReplyError, match="down for the test"):
            server.flush()
        server.faults.clear()
        server.flush()
        client.client_kill_filter(_type="normal", skipme=True)
        server.faults.error("GET", "ERR once more")
        with pytest.raises(redis.ResponseError, match="once more"):
            client.get("k")


def test_debug_is_off_unless_asked_for():
    with tidewater.Server() as server:
        assert not server.debug_allowed
        for call in (lambda: server.advance(1), lambda: server.faults.clear(), lambda: server.faults.delay("GET", 1)):
            with pytest.raises(RuntimeError, match=r"debug=True"):
                call()
        with pytest.raises(tidewater.ReplyError, match="DEBUG command not allowed"):
            server.execute("DEBUG", "CLOCK", "ADVANCE", 1)
    with tidewater.Server(enable_debug_command=True) as server:
        server.advance(1)


def test_the_clock_after_a_restart_and_from_threads():
    server = tidewater.Server(debug=True)
    for _ in range(2):
        with server:
            before = redis.Redis(port=server.port).time()[0]
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                list(pool.map(server.advance, [10] * 40))
            assert redis.Redis(port=server.port).time()[0] - before >= 400


def advances(server, out):
    server.advance(100)
    out.put(True)


def test_a_forked_child_has_a_connection_of_its_own():
    context = multiprocessing.get_context("fork")
    with tidewater.Server(debug=True) as server:
        server.execute("SET", "k", "v", "EX", 250)
        server.advance(100)
        out = context.Queue()
        process = context.Process(target=advances, args=(server, out))
        process.start()
        assert out.get(timeout=20)
        process.join()
        server.advance(100)
        assert server.execute("GET", "k") is None


def test_a_given_directory_stays(tmp_path):
    with tidewater.Server(dir=tmp_path) as server:
        redis.Redis(port=server.port).set("k", "v")
        assert server.dir == str(tmp_path)
    assert (tmp_path / "dump.rdb").exists()
    with tidewater.Server(dir=tmp_path) as server:
        assert redis.Redis(port=server.port).get("k") == b"v"


@pytest.mark.parametrize("directives, said", [({"no_such": 1}, "no-such"), ({"maxmemory": "lots"}, "maxmemory"), ({"bind": "203.0.113.1"}, "203.0.113.1")])
def test_a_start_that_fails_tells_why_and_leaves_nothing(directives, said, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(tidewater.StartError, match=said):
        tidewater.Server(**directives).start()
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_takes_too_long(tmp_path, monkeypatch):
    never = tmp_path / "never"
    never.write_text("#!/bin/sh\nexec sleep 600\n")
    never.chmod(0o755)
    monkeypatch.setattr(tidewater, "binary", lambda: str(never))
    with pytest.raises(tidewater.StartError, match="in time"):
        tidewater.Server(start_timeout=0.2).start()


def test_directives_that_would_break_it():
    with pytest.raises(ValueError, match="daemonize"):
        tidewater.Server(daemonize=True)


def test_a_server_that_died():
    with tidewater.Server() as server:
        os.kill(server.pid, signal.SIGKILL)
        until("its end", lambda: not server.running)
        assert "is starting" in server.log()


def test_many_at_once_from_threads():
    servers, failures = [], []

    def one():
        try:
            with tidewater.Server() as server:
                servers.append((server.pid, server.port))
                assert redis.Redis(port=server.port).ping()
        except BaseException as e:  # noqa: BLE001: told below
            failures.append(e)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == [] and len({port for _, port in servers}) == 20
    assert not any(there(pid) for pid, _ in servers)


CHILD = """
import tidewater, sys, os, time, signal
# A job in a script's background is started with it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
server = tidewater.Server().start()
print(server.pid, server.dir, flush=True)
{then}
"""


def child(then):
    process = subprocess.Popen([sys.executable, "-c", CHILD.format(then=then)], stdout=subprocess.PIPE, text=True)
    pid, folder = process.stdout.readline().split()
    return process, int(pid), folder


@pytest.mark.parametrize("then", ["", "sys.exit(3)", "raise KeyError", "os._exit(0)"])
def test_a_process_that_ends_takes_its_server_along(then):
    process, pid, folder = child(then)
    process.communicate()
    until("the server's end", lambda: not there(pid))
    until("the directory to go", lambda: not os.path.exists(folder))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_killed_takes_its_server_along(how):
    process, pid, folder = child("time.sleep(600)")
    assert there(pid)
    process.send_signal(how)
    process.communicate()
    until("the server's end", lambda: not there(pid))
    until("the directory to go", lambda: not os.path.exists(folder))


def test_a_killed_process_leaves_a_given_directory(tmp_path):
    code = f"import tidewater, os; s = tidewater.Server(dir={str(tmp_path)!r}).start(); print(s.pid, flush=True); os.kill(os.getpid(), 9)"
    out = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True).stdout
    until("the server's end", lambda: not there(int(out)))
    assert (tmp_path / "tidewater.log").exists()


def test_a_thread_that_started_it_may_end():
    server = tidewater.Server()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    assert redis.Redis(port=server.port).ping()
    server.stop()


def forked(server, out):
    client = redis.Redis(port=server.port)
    out.put(client.ping())
    server.stop()


def test_a_forked_child_uses_but_does_not_end_it():
    context = multiprocessing.get_context("fork")
    with tidewater.Server() as server:
        out = context.Queue()
        process = context.Process(target=forked, args=(server, out))
        process.start()
        assert out.get(timeout=20) is True
        process.join()
        assert process.exitcode == 0 and server.running and os.path.isdir(server.dir)
        assert redis.Redis(port=server.port).ping()


def test_a_forked_child_does_not_keep_it():
    process, pid, _ = child("if os.fork() == 0: print(os.getpid(), flush=True); time.sleep(600)\nelse: os._exit(0)")
    grandchild = int(process.stdout.readline())
    process.wait()
    try:
        until("the server's end", lambda: not there(pid))
        assert there(grandchild)
    finally:
        os.kill(grandchild, signal.SIGKILL)


@pytest.mark.parametrize("command", [[os.path.join(os.path.dirname(sys.executable), "tidewater")], [sys.executable, "-m", "tidewater"]])
def test_the_program(command):
    out = subprocess.run([*command, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert out.startswith(f"Tidewater {tidewater.__version__},")
