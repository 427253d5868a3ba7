"""redis-benchmark: its default tests, and the options that people give it."""

import contextlib
import csv
import os
import subprocess

from checks import HOST, PASSWORD, PORT, end, equal, ok, run


def benchmark(*args):
    done = subprocess.run(["redis-benchmark", "-h", HOST, "-p", str(PORT), "-a", PASSWORD, *map(str, args)], capture_output=True, text=True, timeout=60, check=False)
    equal(done.returncode, 0)
    said = done.stdout.replace("\r", "\n")
    ok("error" not in said.lower() and "error" not in done.stderr.lower(), said[-500:] + done.stderr[-500:])
    return said


def cli(*args):
    return subprocess.run(["redis-cli", "-h", HOST, "-p", str(PORT), *args], capture_output=True, text=True, env={**os.environ, "REDISCLI_AUTH": PASSWORD}, check=True).stdout.strip()


@contextlib.contextmanager
def fresh():
    cli("FLUSHALL")
    yield


def rows(said):
    got = list(csv.DictReader(line for line in said.splitlines() if line.startswith('"')))
    for row in got:
        ok(float(row["rps"]) > 0, row)
    return [row["test"] for row in got]


def default_tests(_):
    said = benchmark("-q", "-n", 2000)
    for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP", "ZADD", "ZPOPMIN", "LRANGE_600 (first 600 elements)", "MSET (10 keys)"):
        ok(f"{name}: " in said and "requests per second" in said, name)
    equal(cli("GET", "key:__rand_int__"), "VXK")


def pipelined(_):
    equal(rows(benchmark("--csv", "-n", 50_000, "-P", 16, "-t", "set,get,incr")), ["SET", "GET", "INCR"])
    equal(cli("GET", "counter:__rand_int__"), "50000")


def random_keys_and_sizes(_):
    benchmark("-q", "-n", 20_000, "-P", 8, "-r", 1000, "-d", 1024, "-t", "set,sadd,zadd")
    ok(900 < int(cli("DBSIZE")) <= 1002)
    equal(cli("STRLEN", cli("--scan", "--pattern", "key:*").split()[0]), "1024")


def own_command_and_threads(_):
    benchmark("-q", "-n", 5000, "-c", 100, "--threads", 2, "INCR", "mine")
    equal(cli("GET", "mine"), "5000")
    benchmark("-q", "-n", 2000, "-k", 0, "-c", 10, "-t", "ping")
    benchmark("-q", "-n", 2000, "-3", "-t", "set")
    benchmark("-q", "-n", 2000, "--dbnum", 3, "-t", "set")
    equal(cli("-n", "3", "DBSIZE"), "1")


end(run([default_tests, pipelined, random_keys_and_sizes, own_command_and_threads], fresh))
