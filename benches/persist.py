"""benches/compare --persist: saving, loading, and what both cost those who are served meanwhile.

Both servers get the same data: redis-server is filled once, and each loads the dump that it wrote. Nothing is pinned: a
snapshot may use whatever core is free, as in life. The load is benches/paced.c, an open loop that counts from the time at
which a request was due.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LINKS = 50
VALUE = 100
FIELDS = 1_000_000


def run(c, args, names, binaries):
    """`c` is the module benches/compare: servers, connections, tables."""
    cores = list(range(os.cpu_count() or 1))
    args.server_cores = args.client_cores = cores
    bench = Bench(c, args, names, binaries)
    try:
        bench.saving_and_loading()
        bench.latency()
        bench.memory()
        bench.appending()
        bench.large_hash()
        bench.summary()
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)


class Bench:
    def __init__(self, c, args, names, binaries):
        self.c, self.args, self.names, self.binaries = c, args, names, binaries
        self.folder = c.tempfile.mkdtemp(prefix="compare-persist-")
        self.paced = os.path.join(self.folder, "paced")
        done = subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", self.paced, os.path.join(HERE, "paced.c")], check=False)
        if done.returncode:
            sys.exit("compare: --persist needs a C compiler")
        # Those who reach something, against what was asked for: (what, figure, limit, lower is better)
        self.verdicts = []
        self.keys = 0

    # Parts ----------------------------------------------------------------------------------------------------------

    def saving_and_loading(self):
        gb = self.args.gb
        print(f"\n## Save and load: {gb:g} GB of mixed data, as redis-server counts it; medians of {self.args.runs}")
        with self.server("redis") as server:
            began = time.perf_counter()
            with self.c.Connection(server.port) as it:
                self.keys = fill(self.c, it, gb)
                it.call(["SAVE"])
                used = int(self.c.info(it, "memory")["used_memory"])
            dump = os.path.join(server.folder, "dump.rdb")
            shutil.move(dump, os.path.join(self.folder, "dump.rdb"))
            print(f"# {used / 1e9:.2f} GB in {self.keys:,} string keys and others, filled in {time.perf_counter() - began:.0f} s")
        table = self.c.Table(self.args, ["server", "load s", "save s", "file MB"])
        loads, saves = {}, {}
        for name in self.names:
            load, save = [], []
            for _ in range(self.args.runs):
                with self.loaded(name) as server:
                    load.append(server.load_s)
                    with self.c.Connection(server.port) as it:
                        began = time.perf_counter()
                        it.call(["SAVE"])
                        save.append(time.perf_counter() - began)
                    size = os.path.getsize(os.path.join(server.folder, "dump.rdb"))
            loads[name], saves[name] = statistics.median(load), statistics.median(save)
            table.row(name, f"{loads[name]:.2f}", f"{saves[name]:.2f}", f"{size / 1e6:.0f}")
        table.end()
        self.compare("save, time", saves, 0.8)
        self.compare("load, time", loads, 0.5)

    def latency(self):
        print(f"\n## Latency of a 50/50 load of GET and SET at 70 % of saturation, {LINKS} connections; µs")
        table = self.c.Table(self.args, ["server", "meanwhile", "op/s", "p50", "p99", "p99.9", "max", "s"])
        for name in self.names:
            with self.loaded(name, ["--auto-aof-rewrite-percentage", "0"]) as server:
                rate = self.load(server, 3, 0)[1] * 0.7
                before = [self.load(server, 5, rate) for _ in range(3)]
                table.row(name, "nothing", *cells(median_rows(before)), "")
                worst = {}
                for command in ("BGSAVE", "BGREWRITEAOF"):
                    during, spent = [], []
                    for _ in range(3):
                        with self.c.Connection(server.port) as it:
                            if command == "BGREWRITEAOF":
                                it.call(["CONFIG", "SET", "appendonly", "yes"])
                                wait_idle(self.c, it)
                            seconds = self.background_seconds(server, command)
                        began = time.perf_counter()
                        job = Job(self.c, server.port, command)
                        during.append(self.load(server, max(0.5, seconds), rate))
                        job.join()
                        spent.append(time.perf_counter() - began)
                    worst[command] = median_rows(during)
                    table.row(name, command, *cells(worst[command]), f"{statistics.median(spent):.1f}")
                    if command == "BGREWRITEAOF":
                        with self.c.Connection(server.port) as it:
                            it.call(["CONFIG", "SET", "appendonly", "no"])
                base = median_rows(before)[4]
                for command, row in worst.items():
                    self.verdicts.append((f"p99.9 during {command} / before, {name}", row[4] / base, 2 if name == "tidewater" else None))
        table.end()

    def background_seconds(self, server, command):
        """How long the job takes with nothing else to do: the load is to fall into it wholly."""
        if (server.name, command) not in self.took:
            began = time.perf_counter()
            Job(self.c, server.port, command).join()
            self.took[server.name, command] = time.perf_counter() - began
        return self.took[server.name, command]

    took = {}

    def memory(self):
        print("\n## Extra memory while every string key is overwritten once during BGSAVE; % of the data in memory")
        table = self.c.Table(self.args, ["server", "overwriting", "data MB", "peak extra MB", "%"])
        shares = {}
        for name in self.names:
            extra = {}
            for saving in (False, True):
                with self.loaded(name) as server:
                    rate = 40_000
                    base = memory_of(server)
                    peak = Peak(server)
                    job = Job(self.c, server.port, "BGSAVE") if saving else None
                    self.load(server, 1, rate, "overwrite", self.keys)
                    if job:
                        job.join()
                    extra[saving] = peak.stop() - base
                    data = base
            # What overwriting costs by itself (fragments) is not the snapshot's.
            cost = max(0, extra[True] - max(0, extra[False]))
            shares[name] = cost / data * 100
            table.row(name, f"{self.keys:,} keys at {rate:,}/s", f"{data / 1e6:.0f}", f"{cost / 1e6:.0f}", f"{shares[name]:.1f}")
        table.end()
        self.verdicts.append(("extra memory, % of the data, tidewater", shares["tidewater"], 5))
        self.verdicts.append(("extra memory, % of the data, redis", shares["redis"], None))

    def appending(self):
        print(f"\n## SET with an append-only file, {LINKS} clients; op/s, medians of {self.args.runs}")
        table = self.c.Table(self.args, ["P", "server", "none", "everysec", "always", "everysec/none", "always/none"])
        for depth in (1, 16):
            rates = {}
            for name in self.names:
                for policy in ("none", "everysec", "always"):
                    extra = [] if policy == "none" else ["--appendonly", "yes", "--appendfsync", policy]
                    with self.server(name, extra) as server:
                        runs = []
                        for _ in range(self.args.runs):
                            count = (200_000 if depth == 1 else 600_000) // (3 if policy == "always" else 1)
                            runs.append(self.c.one_run(self.args, server, self.c.THROUGHPUT["SET"][0], count, depth, None)[0])
                        rates[name, policy] = statistics.median(runs)
                row = [rates[name, p] for p in ("none", "everysec", "always")]
                table.row(depth, name, *(f"{r:,.0f}" for r in row), f"{row[1] / row[0]:.2f}", f"{row[2] / row[0]:.2f}")
            share = rates["tidewater", "everysec"] / rates["tidewater", "none"]
            self.verdicts.append((f"everysec / no AOF, P={depth}, tidewater (at least)", share, -0.85))
            gain = rates["tidewater", "always"] / rates["redis", "always"]
            self.verdicts.append((f"always, P={depth}, throughput (at least)", gain, -1.5))
        table.end()

    def large_hash(self):
        print(f"\n## HSET into a hash of {FIELDS:,} fields, at 70 % of saturation; µs")
        table = self.c.Table(self.args, ["server", "meanwhile", "op/s", "p50", "p99", "p99.9", "max", "s"])
        for name in self.names:
            with self.server(name) as server:
                with self.c.Connection(server.port) as it:
                    it.load(self.c.batches("HSET", "large", lambda i: (self.c.member(i), "x" * VALUE), FIELDS), window=20)
                rate = self.load(server, 2, 0, "hset", FIELDS)[1] * 0.7
                before = median_rows([self.load(server, 3, rate, "hset", FIELDS) for _ in range(3)])
                table.row(name, "nothing", *cells(before), "")
                during, spent = [], []
                for _ in range(5):
                    with self.c.Connection(server.port) as it:
                        began = time.perf_counter()
                        it.call(["SAVE"])
                        seconds = time.perf_counter() - began
                    job = Job(self.c, server.port, "BGSAVE")
                    during.append(self.load(server, max(0.3, seconds), rate, "hset", FIELDS))
                    job.join()
                    spent.append(seconds)
                row = median_rows(during)
                table.row(name, "BGSAVE", *cells(row), f"{statistics.median(spent):.1f}")
                self.verdicts.append((f"HSET p99.9 during BGSAVE / before, {name}", row[4] / before[4],
                                      3 if name == "tidewater" else None))
        table.end()

    def summary(self):
        print("\n## Against what was asked for")
        table = self.c.Table(self.args, ["figure", "reached", "asked", ""])
        table.widths[0] = 58
        for what, figure, limit in self.verdicts:
            if limit is None:
                table.row(what, f"{figure:.2f}", "", "")
                continue
            good = figure <= limit if limit > 0 else figure >= -limit
            table.row(what, f"{figure:.2f}", f"{'<=' if limit > 0 else '>='} {abs(limit):g}", "yes" if good else "NO")
        table.end()

    # Tools ----------------------------------------------------------------------------------------------------------

    def compare(self, what, by_name, limit):
        self.verdicts.append((f"{what}, tidewater / redis", by_name["tidewater"] / by_name["redis"], limit))

    def server(self, name, extra=(), dump=None):
        return self.c.Server(self.args, name, self.binaries[name], list(extra), dump)

    def loaded(self, name, extra=()):
        return self.server(name, extra, os.path.join(self.folder, "dump.rdb"))

    def load(self, server, seconds, rate, kind="mixed", keys=None):
        """Requests, requests a second, p50, p99, p99.9, max."""
        done = subprocess.run([self.paced, str(server.port), str(seconds), f"{rate:.0f}", str(LINKS), kind,
                               str(keys or self.keys), str(VALUE)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"compare: the load on {server.name} failed: {done.stderr}")
        return [float(x) for x in done.stdout.split()]


class Job(threading.Thread):
    """A job in the background: returns from `join` when it is over."""

    def __init__(self, c, port, command):
        super().__init__(daemon=True)
        self.c, self.port, self.command = c, port, command
        self.link = c.Connection(port)
        self.link.call([command])
        self.start()

    def run(self):
        wait_idle(self.c, self.link)
        self.link.socket.close()


def wait_idle(c, it):
    while True:
        now = c.info(it, "persistence")
        names = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
        if not any(int(now[n]) for n in names):
            return
        time.sleep(0.01)


class Peak(threading.Thread):
    """Highest memory of a server and its children while this runs."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.highest, self.over = server, 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.02):
            self.highest = max(self.highest, memory_of(self.server))

    def stop(self):
        self.over.set()
        self.join()
        return self.highest


def memory_of(server):
    """Bytes of physical memory of a server with its children: pages that they share count once."""
    pids = [server.process.pid]
    try:
        with open(f"/proc/{pids[0]}/task/{pids[0]}/children") as f:
            pids += map(int, f.read().split())
    except OSError:
        pass
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass
    return total


def median_rows(rows):
    return [statistics.median(column) for column in zip(*rows)]


def cells(row):
    return [f"{row[1]:,.0f}"] + [f"{v:,.0f}" for v in row[2:]]


def fill(c, it, gb):
    """Mixed data of about so many GB of redis-server's memory; tells how many string keys "key:%012d" there are."""
    rng = random.Random(1)
    # Text that compresses as text does: words from a dictionary.
    words = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(3, 9))) for _ in range(2000)]
    pool = " ".join(rng.choices(words, k=200_000))

    def text(size):
        at = rng.randrange(len(pool) - size)
        return pool[at:at + size]

    # Keys of each kind for a GB, from what redis-server needs for one.
    strings = int(1_100_000 * gb)
    sizes = [16, 64, 100, 200, 400, 1000]
    it.load((["SET", c.key(i), text(rng.choice(sizes))] for i in range(strings)), window=500)
    it.load((["SET", f"ttl:{i:012d}", text(64), "EX", "100000000"] for i in range(int(300_000 * gb))), window=500)
    it.load((["HSET", f"hash:{i:010d}"] + [p for f in range(10) for p in (f"field{f}", text(20))] for i in range(int(300_000 * gb))), window=200)
    it.load((["RPUSH", f"list:{i:010d}"] + [text(24) for _ in range(30)] for i in range(int(100_000 * gb))), window=100)
    it.load((["SADD", f"set:{i:010d}"] + [f"member:{rng.randrange(10**9)}" for _ in range(30)] for i in range(int(100_000 * gb))), window=100)
    it.load((["ZADD", f"zset:{i:010d}"] + [p for _ in range(30) for p in (str(rng.randrange(10**6)), f"member:{rng.randrange(10**9)}")]
             for i in range(int(60_000 * gb))), window=50)
    it.load((["XADD", f"stream:{i % max(1, int(2_000 * gb)):010d}", "*", "sensor", str(rng.randrange(1000)), "value", text(16)]
             for i in range(int(400_000 * gb))), window=200)
    large = int(200_000 * gb)
    it.load(c.batches("HSET", "large:hash", lambda i: (c.member(i), text(40)), large), window=20)
    it.load(c.batches("ZADD", "large:zset", lambda i: (str(i * 7919 % large), c.member(i)), large), window=20)
    it.load(c.batches("SADD", "large:set", lambda i: (c.member(i),), large), window=20)
    it.load(c.batches("RPUSH", "large:list", lambda i: (text(40),), large), window=20)
    return strings
