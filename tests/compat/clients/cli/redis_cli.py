"""redis-cli in its modes, as a person or a script runs it."""

import contextlib
import json
import os
import subprocess

from checks import HOST, PASSWORD, PORT, end, equal, ok, run, until

ENV = {**os.environ, "REDISCLI_AUTH": PASSWORD}


def cli(*args, said=None, status=0, timeout=30):
    done = subprocess.run(["redis-cli", "-h", HOST, "-p", str(PORT), *map(str, args)], input=said, capture_output=True, timeout=timeout, env=ENV, check=False)
    if done.returncode != status:
        raise AssertionError(f"redis-cli {args} ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return done.stdout.decode(errors="replace")


@contextlib.contextmanager
def going(*args):
    """A redis-cli that goes on until it is ended, with its output in a pipe."""
    process = subprocess.Popen(["stdbuf", "-oL", "redis-cli", "-h", HOST, "-p", str(PORT), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def fresh():
    cli("FLUSHALL")
    yield


def until_line(process, holds):
    for line in process.stdout:
        if holds(line):
            return line
    raise AssertionError("it ended before it said so")


def fill():
    words = "".join(f"SET key:{i} {'x' * (i % 100 + 1)}\n" for i in range(3000))
    words += "".join(f"RPUSH list e{i}\nSADD set {i}\nHSET hash f{i} v\nZADD zset {i} m{i}\nXADD stream * n {i}\n" for i in range(200))
    ok("errors: 0, replies: 4000" in cli("--pipe", said=words.encode()))


def connecting(_):
    equal(cli("PING"), "PONG\n")
    equal(cli("--user", "default", "--pass", PASSWORD, "--no-auth-warning", "PING"), "PONG\n")
    ok("NOAUTH" in subprocess.run(["redis-cli", "-p", str(PORT), "GET", "k"], capture_output=True, text=True, env={k: v for k, v in ENV.items() if k != "REDISCLI_AUTH"}, check=False).stdout)
    equal(cli("-u", f"redis://default:{PASSWORD}@{HOST}:{PORT}/3", "--no-auth-warning", "SET", "k", "3"), "OK\n")
    equal(cli("-n", 3, "GET", "k"), "3\n")
    equal(cli("GET", "k"), "\n")
    ok("resp=3" in cli("-3", "CLIENT", "INFO"))
    equal(cli("-2", "PING"), "PONG\n")
    cli("-n", 3, "-e", "LPUSH", "k", "a", status=1)
    equal(cli("-n", 3, "TYPE", "k"), "string\n")


def formats(_):
    cli("RPUSH", "l", "a", 'b "c"', "1")
    equal(cli("LRANGE", "l", 0, -1), 'a\nb "c"\n1\n')
    equal(cli("--no-raw", "LRANGE", "l", 0, -1), '1) "a"\n2) "b \\"c\\""\n3) "1"\n')
    equal(cli("--csv", "LRANGE", "l", 0, -1), '"a","b \\"c\\"","1"\n')
    cli("HSET", "h", "f", "v")
    equal(json.loads(cli("--json", "HGETALL", "h")), {"f": "v"})
    equal(json.loads(cli("--json", "LRANGE", "l", 0, -1)), ["a", 'b "c"', "1"])
    equal(cli("-3", "--no-raw", "HGETALL", "h"), '1# "f" => "v"\n')
    equal(cli("-d", ";", "LRANGE", "l", 0, -1), 'a;b "c";1\n')
    equal(cli("--no-raw", "GET", "none"), "(nil)\n")
    equal(cli("--no-raw", "INCR", "n"), "(integer) 1\n")
    ok(cli("--no-raw", "INCR", "l").startswith("(error) WRONGTYPE"))


def standard_input(_):
    every = bytes(range(256))
    equal(cli("-x", "SET", "bytes", said=every), "OK\n")
    equal(cli("STRLEN", "bytes"), "256\n")
    equal(cli("-X", "here", "SET", "tagged", "here", said=b"value"), "OK\n")
    equal(cli("GET", "tagged"), "value\n")
    cli("-x", "SET", "big", said=b"x" * 20_000_000)
    equal(cli("STRLEN", "big"), "20000000\n")
    equal(cli(said=b"SET a 1\nINCR a\nGET a\n"), "OK\n2\n2\n")


def transactions(_):
    equal(cli(said=b"MULTI\nSET a 1\nINCR a\nEXEC\n"), "OK\nQUEUED\nQUEUED\nOK\n2\n")
    equal(cli(said=b"WATCH a\nSET a 5\nMULTI\nSET a 0\nEXEC\nGET a\n").split(), ["OK", "OK", "OK", "QUEUED", "5"])
    ok("EXECABORT" in cli(said=b"MULTI\nSET a\nEXEC\n"))
    ok("NOSUCH" in cli(said=b"NOSUCH\n"))


def repeats(_):
    equal(cli("-r", 5, "INCR", "n"), "1\n2\n3\n4\n5\n")
    equal(cli("-r", 3, "-i", 0.01, "INCR", "n"), "6\n7\n8\n")
    equal(cli(said=b"3 INCR n\n"), "9\n10\n11\n")


def mass_insertion(_):
    fill()
    protocol = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\np:%d\r\n$2\r\n\r\n\r\n" % (len(str(i)) + 2, i) for i in range(10_000))
    ok("errors: 0, replies: 10000" in cli("--pipe", said=protocol))
    equal(cli("GET", "p:9999"), "\r\n\n")
    equal(cli("DBSIZE"), f"{13_000 + 5}\n")
    ok("errors: 1, replies: 2" in cli("--pipe", said=b"SET list x\nLPUSH list y\n", status=1))


def iteration(_):
    fill()
    equal(len(cli("--scan", "--pattern", "key:1*").split()), 1111)
    equal(sorted({*cli("--scan").split()})[:1], ["hash"])
    equal(cli("--scan", "--pattern", "l*"), "list\n")


def big_keys(_):
    fill()
    said = cli("--bigkeys").replace('"', "").replace("'", "")  # versions quote differently
    for line in ("Sampled 3005 keys in the keyspace", "Biggest   list found list has 200 items", "Biggest   zset found zset has 200 members"):
        ok(line in said, said)
    said = cli("--memkeys")
    ok("Sampled 3005 keys in the keyspace" in said and "bytes" in said, said)
    ok("Sampled 3005 keys" in cli("--memkeys-samples", 10))


def hot_keys(_):
    fill()
    ok("LFU maxmemory policy" in cli("OBJECT", "FREQ", "key:1"))
    cli("--hotkeys", status=1)
    cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    try:
        cli("-r", 3000, "GET", "key:7")
        said = cli("--hotkeys")
        ok("key:7" in said and "Sampled 3005 keys" in said, said)
    finally:
        cli("CONFIG", "SET", "maxmemory-policy", "noeviction")


def latency(_):
    with going("--latency", "--raw") as process:
        ok(len(until_line(process, str.strip).split()) >= 4)
    with going("--latency-history", "-i", "1", "--raw") as process:
        ok(len(until_line(process, str.strip).split()) >= 4)
    with going("--latency-dist", "-i", "1") as process:
        ok(until_line(process, lambda line: line.strip()))
    equal(cli("LATENCY", "RESET").strip().isdigit(), True)


def statistics(_):
    with going("--stat", "-i", "0.05") as process:
        ok("keys" in until_line(process, lambda line: "keys" in line))
        ok(until_line(process, lambda line: line.strip()[:1].isdigit()).split()[0] == "0")
        cli("SET", "k", "v")
        ok(until_line(process, lambda line: line.split()[:1] == ["1"]))


def subscriptions(_):
    with going("SUBSCRIBE", "news") as process:
        until("the subscriber", lambda: cli("PUBLISH", "news", "hello") == "1\n")
        equal(until_line(process, lambda line: line == "hello\n"), "hello\n")
    with going("PSUBSCRIBE", "n*") as process:
        until("the subscriber", lambda: cli("PUBLISH", "news", "hello") == "1\n")
        equal(until_line(process, lambda line: line == "hello\n"), "hello\n")
    with going("MONITOR") as process:
        equal(until_line(process, str.strip), "OK\n")
        cli("SET", "seen", "yes")
        ok('"SET" "seen" "yes"' in until_line(process, lambda line: "seen" in line))


def blocking(_):
    with going("BLPOP", "q", "20") as process:
        until("a blocked client", lambda: "blocked_clients:1" in cli("INFO", "clients"))
        cli("RPUSH", "q", "v")
        equal(process.communicate(timeout=10)[0], "q\nv\n")
    equal(cli("BLPOP", "none", "0.1"), "\n")


def reconnecting(_):
    """In one session: the connection is killed, the next command finds another."""
    with going() as process:
        process.stdin.write("SET k v\nCLIENT ID\n")
        process.stdin.flush()
        number = until_line(process, lambda line: line.strip().isdigit()).strip()
        equal(cli("CLIENT", "KILL", "ID", number), "1\n")
        process.stdin.write("GET k\nGET k\n")
        process.stdin.flush()
        ok(until_line(process, lambda line: line == "v\n"))


def inspection(_):
    ok("redis_version:7." in cli("INFO", "server"))
    equal(cli("CONFIG", "GET", "maxmemory-policy"), "maxmemory-policy\nnoeviction\n")
    ok(int(cli("COMMAND", "COUNT")) > 200)
    equal(cli("CLIENT", "GETNAME"), "\n")


end(run([connecting, formats, standard_input, transactions, repeats, mass_insertion, iteration, big_keys, hot_keys, latency, statistics,
         subscriptions, blocking, reconnecting, inspection], fresh))
