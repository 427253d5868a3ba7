"""benches/compare --persist: saving, loading and logging, side by side with redis-server on the same data.

Both servers may use all cores, so that a background save has one; Tidewater gets one worker, except for saving and
loading. The paced load (persist/pace.rs, built with rustc) has the client's core, ahead of everything else where it may.
"""

import array
import collections
import json
import multiprocessing
import os
import random
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CONNECTIONS = 50
SHARE = 0.7  # of the highest rate
HALF = 0.35  # the same, for a load that leaves the server some air
BIG = 50_000  # elements of a big collection
HASH_FIELDS = 1_000_000
PARTS = ("files", "latency", "extra", "appendonly", "hash")

compare = None  # benches/compare itself, which is no module that could be imported


def run(args, names, binaries, caller):
    global compare
    compare = caller
    args.all_cores = list(range(os.cpu_count() or 1))
    place = tempfile.mkdtemp(prefix="compare-data-", dir=args.dir)
    try:
        bench = Bench(args, names, binaries, place)
        system = subprocess.run(["stat", "-f", "-c", "%T", place], capture_output=True, text=True, check=False).stdout.strip()
        print(f"\n## Persistence: {args.gb:g} GB of mixed data on {system}; {CONNECTIONS} connections, paced at {SHARE:.0%} of "
              "the highest rate of each server")
        for part in PARTS:
            if compare.wanted(args, part):
                getattr(bench, part)()
        bench.rows.end()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def say(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


class Rows:
    """The table: a row is a measurement, both servers' figures, their ratio, and the limit asked of Tidewater."""

    def __init__(self):
        self.rows = []

    def add(self, title, figures, form, of="ratio", limit=None):
        """`limit`: (text, test), where the test is of the ratio, or with of="own" of Tidewater's figure itself."""
        ours, theirs = figures
        ratio = ours / theirs if ours is not None and theirs else None
        judged = ratio if of == "ratio" else ours
        met = "" if not limit else "?" if judged is None else "yes" if limit[1](judged) else "**no**"
        cells = [title] + ["–" if f is None else form.format(f) for f in figures]
        self.rows.append(cells + ["–" if ratio is None else f"{ratio:.2f}", limit[0] if limit else "", met])
        say("|", " | ".join(self.rows[-1]))

    def end(self):
        heads = ["measured", "tidewater", "redis", "ratio", "asked", "met"]
        print("| " + " | ".join(heads) + " |\n|---|--:|--:|--:|---|---|")
        for row in self.rows:
            print("| " + " | ".join(row) + " |")
        print(flush=True)


class Bench:
    def __init__(self, args, names, binaries, place):
        self.args, self.names, self.binaries, self.place = args, names, binaries, place
        self.rows = Rows()
        self.dumps, self.resp, self.pace = {}, {}, None

    def server(self, name, extra=(), apart=False, **how):
        """`apart`: the one worker has the servers' core, as redis-server's one thread has; only background work may go
        where the load runs. Left to itself the kernel wakes either next to the load, which comes ahead of it there."""
        lists = []
        if apart and self.args.server_cores != self.args.all_cores:
            everywhere = ",".join(map(str, self.args.all_cores))
            lists = ["--server_cpulist", ",".join(map(str, self.args.server_cores))]
            for kind in ("bio", "bgsave", "aof_rewrite"):
                lists += [f"--{kind}_cpulist", everywhere]
        return compare.Server(self.args, name, self.binaries[name], cores=self.args.all_cores, extra=list(extra) + lists, **how)

    # Data -----------------------------------------------------------------------------------------------------------

    def stream(self, salt):
        """A file of requests that makes the data (salt 0) or overwrites every key of it, and their number."""
        if salt not in self.resp:
            path, count = os.path.join(self.place, f"requests-{salt}"), 0
            began = time.perf_counter()
            with open(path, "wb", buffering=1 << 20) as out:
                for requests, data in dataset(self.args.gb, salt):
                    out.write(data)
                    count += requests
            say(f"{count:,} requests, {os.path.getsize(path) / 1e9:.2f} GB, written in {time.perf_counter() - began:.0f} s")
            self.resp[salt] = path, count
        return self.resp[salt]

    def dump(self, name):
        """The server's own file of the data."""
        if name not in self.dumps:
            self.files_of(name, 1)
        return self.dumps[name]

    def files_of(self, name, runs):
        """Loads the data over the network; seconds of each SAVE, used_memory, number of keys, bytes of the file."""
        with self.server(name) as server:
            path, count = self.stream(0)
            began = time.perf_counter()
            feed(server.port, path, count)
            used, _ = compare.settled(server)
            with compare.Connection(server.port) as it:
                it.socket.settimeout(600)
                keys = int(it.call(["DBSIZE"])[1:])
                say(f"{name}: {keys:,} keys, used_memory {used / 1e9:.2f} GB after {time.perf_counter() - began:.0f} s")
                times = []
                for _ in range(runs):
                    began = time.perf_counter()
                    it.call(["SAVE"])
                    times.append(time.perf_counter() - began)
            self.dumps[name] = os.path.join(self.place, f"{name}.rdb")
            os.rename(os.path.join(server.folder, "dump.rdb"), self.dumps[name])
            return times, used, keys, os.path.getsize(self.dumps[name])

    # Parts ----------------------------------------------------------------------------------------------------------

    def files(self):
        runs = self.args.runs
        saved = [self.files_of(name, runs) for name in self.names]
        if saved[0][2] != saved[1][2]:
            sys.exit(f"compare: the servers hold {saved[0][2]} and {saved[1][2]} keys after the same requests")
        self.rows.add("keys", [s[2] for s in saved], "{:,}")
        self.rows.add("used_memory, GB", [s[1] / 1e9 for s in saved], "{:.2f}")
        self.rows.add(f"SAVE, s (median of {runs})", [statistics.median(s[0]) for s in saved], "{:.2f}",
                      limit=("ratio ≤ 0.8", lambda r: r <= 0.8))
        self.rows.add("file, MB", [s[3] / 1e6 for s in saved], "{:.0f}")
        times = collections.defaultdict(list)
        for turn in range(runs):
            cases = [(name, name) for name in self.names] + [(self.names[0], self.names[1])]
            for name, whose in cases if turn % 2 == 0 else cases[::-1]:
                with self.server(name, dump=self.dumps[whose]) as server:
                    times[name, whose].append(server.ready_s)
                    with compare.Connection(server.port) as it:
                        if int(it.call(["DBSIZE"])[1:]) != saved[0][2]:
                            sys.exit(f"compare: {name} lost keys of {whose}'s file")
        ours, theirs, crossed = (statistics.median(times[case]) for case in
                                 [(self.names[0], self.names[0]), (self.names[1], self.names[1]), (self.names[0], self.names[1])])
        limit = ("ratio ≤ 0.5", lambda r: r <= 0.5)
        self.rows.add("load: start to PONG, own file, s", [ours, theirs], "{:.2f}", limit=limit)
        self.rows.add("load: the same, both redis's file, s", [crossed, theirs], "{:.2f}")

    def latency(self):
        found = {}
        for name in self.names:
            with self.server(name, dump=self.dump(name), workers=1, apart=True) as server:
                found[name, "no"] = self.phases(server, "getset", groups(self.args.gb)["s64"], ["BGSAVE"], 1)
                with compare.Connection(server.port) as it:
                    for setting in (["appendfsync", "everysec"], ["auto-aof-rewrite-percentage", "0"], ["appendonly", "yes"]):
                        it.call(["CONFIG", "SET"] + setting)
                    time.sleep(0.5)
                    idle(it)
                found[name, "aof"] = self.phases(server, "getset", groups(self.args.gb)["s64"], ["BGREWRITEAOF"], 1)
        for case, title, job in (("no", "50/50 GET/SET", "BGSAVE"), ("aof", "50/50, everysec", "BGREWRITEAOF")):
            self.phase_rows(title, job, [found[name, case] for name in self.names], 2)

    def hash(self):
        fields, found = HASH_FIELDS // (10 if self.args.quick else 1), []
        for name in self.names:
            with self.server(name, workers=1, apart=True) as server:
                with compare.Connection(server.port) as it:
                    it.load(compare.batches("HSET", "pacehash", lambda i: (compare.member(i), f"value:{i:010d}"), fields), window=20)
                found.append([self.phases(server, "hset", fields, ["BGSAVE"], 5, share) for share in (SHARE, HALF)])
        for at, share in enumerate((SHARE, HALF)):
            self.phase_rows(f"HSET, one hash of {fields:,} fields, at {share:.0%}", "BGSAVE", [f[at] for f in found], 3)

    def phase_rows(self, title, job, found, times):
        self.rows.add(f"{title}: highest rate, op/s", [f["top"] for f in found], "{:,.0f}")
        self.rows.add(f"{title}: the server's cores busy at it", [f["cores"] for f in found], "{:.2f}")
        self.rows.add(f"{title}: {job} under the load, s", [f["job_s"] for f in found], "{:.2f}")
        for phase, words in (("before", "before"), ("during", f"during {job}")):
            for at, figure in enumerate(("p50", "p99", "p99.9", "max")):
                self.rows.add(f"{title}: {figure} {words}, µs", [f[phase][at] for f in found], "{:,.0f}")
        for at, figure in ((2, "p99.9"), (3, "max")):
            limit = (f"tidewater ≤ {times}", lambda r: r <= times) if at == 2 else None
            self.rows.add(f"{title}: {figure} during / before", [f["during"][at] / f["before"][at] for f in found], "{:.2f}",
                          of="own", limit=limit)

    def extra(self):
        jobs = ("BGSAVE", "BGREWRITEAOF")
        found = {}
        for name in self.names:
            with self.server(name, dump=self.dump(name), workers=1) as server:
                for job in (None,) + jobs:
                    found[name, job] = self.overwritten(server, job)
        title, empty = "every key overwritten once", {"took": None, "share": None}
        for job in jobs + (None,):
            both = [{**empty, **found[name, job]} for name in self.names]
            words = f"{title} during {job}" if job else f"{title}, no job"
            limit = ("tidewater ≤ 5", lambda r: r <= 5) if job else None
            self.rows.add(f"{words}: extra RSS, % of used_memory", [f["rss"] for f in both], "{:.1f}", of="own", limit=limit)
            self.rows.add(f"{words}: extra used_memory, %", [f["used"] for f in both], "{:.1f}")
            if job:
                self.rows.add(f"{words}: {job} took, s", [f["took"] for f in both], "{:.2f}")
                self.rows.add(f"{words}: overwritten when it ended, %", [f["share"] for f in both], "{:.0f}")

    def overwritten(self, server, job):
        """Peaks over what was there before, in % of used_memory, while every key is overwritten, with a job or without."""
        path, count = self.stream(1)
        used, _ = compare.settled(server)
        rss = settled_rss(server)
        ended, found = [], {}
        with compare.Connection(server.port) as it, Watch(server) as watch:
            began = time.perf_counter()

            def look(done):
                if job and not ended and not running(it):
                    ended.append((done, time.perf_counter() - began))

            if job:
                it.call([job])
            feed(server.port, path, count, look)
            idle(it)
            look(count)
            if job:
                found = {"share": 100 * ended[0][0] / count, "took": ended[0][1]}
        peaks = watch.peaks
        say(f"{server.name}, {job or 'no job'}: RSS {rss / 1e6:.0f} MB, peak {peaks['total'] / 1e6:.0f} MB; most that a child had of its "
            f"own {peaks['child'] / 1e6:.0f} MB; used_memory {used / 1e6:.0f} MB, peak {peaks['used'] / 1e6:.0f} MB")
        return {"rss": 100 * (peaks["total"] - rss) / used, "used": 100 * (peaks["used"] - used) / used, **found}

    def appendonly(self):
        """All six servers at once, one busy at a time: what a shared machine does to one run, it does to its neighbours."""
        settings, rates = ("no", "everysec", "always"), {}
        servers = {}
        for setting in settings:
            how = [] if setting == "no" else ["--appendonly", "yes", "--appendfsync", setting]
            for name in self.names:
                servers[setting, name] = self.server(name, workers=1, extra=how + ["--auto-aof-rewrite-percentage", "0"])
        for depth in (1, 16):
            counts = {case: max(10_000, int(self.sets(server, depth, 20_000) * self.args.seconds)) for case, server in servers.items()}
            runs = {case: [] for case in servers}
            for turn in range(self.args.runs):
                for case in list(servers)[::1 if turn % 2 == 0 else -1]:
                    runs[case].append(self.sets(servers[case], depth, counts[case]))
            for setting in settings:
                rates[setting] = [statistics.median(runs[setting, name]) for name in self.names]
                limit = ("ratio ≥ 1.5", lambda r: r >= 1.5) if setting == "always" else None
                self.rows.add(f"SET op/s, appendfsync {setting}, P={depth}" if setting != "no" else f"SET op/s, appendonly no, P={depth}",
                              rates[setting], "{:,.0f}", limit=limit)
            self.rows.add(f"SET op/s, everysec / appendonly no, P={depth}", [e / n for e, n in zip(rates["everysec"], rates["no"])],
                          "{:.2f}", of="own", limit=("tidewater ≥ 0.85", lambda r: r >= 0.85))
        for server in servers.values():
            server.stop()

    def sets(self, server, depth, requests):
        return compare.one_run(self.args, server, ["SET", "key:" + compare.RAND, "v" * 64], requests, depth, None)[0]

    # The paced load -------------------------------------------------------------------------------------------------

    def paced(self, port, kind, keys, rate, seconds):
        if not self.pace:
            self.pace = os.path.join(self.place, "pace")
            source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "persist", "pace.rs")
            if not shutil.which("rustc"):
                sys.exit("compare: the paced load needs rustc")
            subprocess.run(["rustc", "--edition", "2024", "-O", "-o", self.pace, source], check=True)
        return Paced(self, [self.pace, str(port), str(CONNECTIONS), str(rate), str(keys), kind, str(seconds)], rate > 0)

    def phases(self, server, kind, keys, command, repeats, share=SHARE):
        """The highest rate, then latencies under the paced load before and during a background job."""
        seconds = self.args.seconds
        rate = cores = 0
        for _ in range(self.args.runs):  # the highest: a disturbed one would make the paced load too light
            cpu = server.cpu_ns()
            with self.paced(server.port, kind, keys, 0, seconds / 2) as load:
                top = load.end(wait=True)
            cpu = (server.cpu_ns() - cpu) / 1e9 / top["seconds"]
            rate, cores = max((rate, cores), (top["answered"] / top["seconds"], cpu))
        say(f"{server.name} {kind}: highest rate {rate:,.0f} op/s, with {cores:.2f} cores of the server's")
        job_s = []
        with compare.Connection(server.port) as it, self.paced(server.port, kind, keys, rate * share, 1800) as load:
            time.sleep(1)
            load.mark()
            time.sleep(max(2.0, seconds))
            load.mark()
            for _ in range(repeats):
                load.mark()
                began = time.perf_counter()
                it.call(command)
                idle(it)
                job_s.append(time.perf_counter() - began)
                load.mark()
                time.sleep(0.3)
            done = load.end()
        marks, latencies = done["marks"], done["latencies"]
        during = array.array("I")
        for low, high in zip(marks[2::2], marks[3::2]):
            during += latencies[low:high]
        before = latencies[marks[0]:marks[1]]
        say(f"{server.name} {kind}: {len(before):,} requests before, {len(during):,} during {command[0]}; the load itself was over "
            f"1 ms late {done['late']:,} times of {done['sent']:,}, at most {done['late_max_ms']:.1f} ms")
        return {"top": rate, "cores": cores, "job_s": statistics.mean(job_s), "before": spread(before), "during": spread(during)}


class Paced:
    def __init__(self, bench, command, paced):
        self.path = os.path.join(bench.place, "latencies")
        cores = bench.args.client_cores

        def first():
            os.sched_setaffinity(0, cores)
            try:  # a load that waits for a core would count its own wait
                os.nice(-20)
                if paced:  # the closed loop takes all of its core, which the kernel interrupts for 50 ms of each second
                    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            except PermissionError:
                pass

        self.process = subprocess.Popen(command + [self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=first)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def mark(self):
        self.process.stdin.write(b".")
        self.process.stdin.flush()

    def end(self, wait=False):
        """What the load says; it ends now, or wait: when its seconds are over."""
        if wait:
            text = self.process.stdout.read()
            self.process.stdin.close()
        else:
            self.process.stdin.close()
            text = self.process.stdout.read()
        if self.process.wait() != 0:
            sys.exit("compare: the paced load failed (did the server?)")
        done = json.loads(text)
        if done["bad"]:
            sys.exit(f"compare: {done['bad']} of {done['answered']} replies of the paced load were errors or null")
        done["latencies"] = array.array("I")
        with open(self.path, "rb") as f:
            done["latencies"].frombytes(f.read())
        return done


def spread(latencies):
    """p50, p99, p99.9 and the highest, in µs."""
    values = sorted(latencies)
    return [values[min(len(values) - 1, int(q * len(values)))] / 10 for q in (0.5, 0.99, 0.999, 1)] if values else [0.1] * 4


# What the servers do ------------------------------------------------------------------------------------------------


JOBS = ("rdb_bgsave_in_progress", "rdb_bgsave_scheduled", "aof_rewrite_in_progress", "aof_rewrite_scheduled")


def running(it):
    now = compare.info(it, "persistence")
    if "err" in (now["rdb_last_bgsave_status"].strip(), now["aof_last_bgrewrite_status"].strip()):
        sys.exit(f"compare: a background job failed: {now}")
    return any(int(now.get(job, 0)) for job in JOBS)


def idle(it):
    """Waits for the end of all background jobs."""
    end = time.perf_counter() + 900
    while running(it):
        if time.perf_counter() > end:
            sys.exit("compare: a background job has not ended within 15 minutes")
        time.sleep(0.02)


def settled_rss(server):
    """RSS once it stands still."""
    last = 0
    for _ in range(40):
        now = server.rss()
        if abs(now - last) <= now // 500:
            break
        last = now
        time.sleep(0.5)
    return now


class Watch:
    """Peaks of RSS (with what forked children have of their own) and used_memory, seen by a process of its own."""

    def __init__(self, server):
        self.mine, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=watch_main, args=(server.process.pid, server.port, theirs))
        self.peaks = None

    def __enter__(self):
        self.process.start()
        self.mine.recv()
        return self

    def __exit__(self, *_):
        self.mine.send("end")
        self.peaks = self.mine.recv()
        self.process.join()


def watch_main(pid, port, answer):
    peaks = {"total": 0, "child": 0, "used": 0}
    page = os.sysconf("SC_PAGE_SIZE")
    with compare.Connection(port) as it:
        answer.send("ready")
        while not answer.poll(0.03):
            # The children first: what the parent copies in between then counts once or not at all, never twice.
            child = sum(private(other) for other in children(pid))
            with open(f"/proc/{pid}/statm") as f:
                rss = int(f.read().split()[1]) * page
            used = int(compare.info(it, "memory")["used_memory"])
            for name, now in (("total", rss + child), ("child", child), ("used", used)):
                peaks[name] = max(peaks[name], now)
    answer.send(peaks)


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children") as f:
                found += f.read().split()
        except OSError:
            pass
    return found


def private(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            return 1024 * sum(int(line.split()[1]) for line in f if line.startswith("Private_"))
    except OSError:  # it has ended
        return 0


def feed(port, path, count, look=None):
    """Sends a file of requests and drains the replies, single lines or bulk strings without a "$", as they come."""
    link = socket.create_connection(("127.0.0.1", port))
    link.setblocking(False)
    done, left, last, looked = 0, b"", b"\n", time.perf_counter()
    with open(path, "rb") as f:
        more = True
        while done < count:
            readable, writable, _ = select.select([link], [link] if more else [], [], 60)
            if not readable and not writable:
                sys.exit(f"compare: the server answered {done:,} of {count:,} requests and then nothing for 60 s")
            if readable:
                data = link.recv(1 << 18)
                if not data:
                    sys.exit("compare: the server closed the connection while it was fed")
                if b"\n-" in last + data:
                    sys.exit(f"compare: while loading: {data[:300].decode(errors='replace')}")
                last = data[-1:]
                done += data.count(b"\n") - data.count(b"$")
            if writable:
                left = left or f.read(1 << 18)
                more = bool(left)
                if more:
                    left = left[link.send(left):]
            if look and time.perf_counter() - looked > 0.02:
                look(done)
                looked = time.perf_counter()
    link.close()


# The data -----------------------------------------------------------------------------------------------------------


def groups(gb):
    """How many of each there are: what makes a GB of redis-server's used_memory, times gb."""
    per_gb = {"s16": 800_000, "s64": 1_000_000, "s1k": 150_000, "s16k": 4_000, "ttl": 250_000, "hash": 500_000, "bighash": 18,
              "list": 140_000, "biglist": 30, "intset": 140_000, "set": 50_000, "bigset": 18, "zset": 140_000, "bigzset": 9,
              "stream": 2_000}
    return {name: max(1, int(count * gb)) for name, count in per_gb.items()}


def pool():
    """Text as values have it: words and numbers again and again, which compresses to about a half."""
    dice, words = random.Random(4), []
    names = ["".join(dice.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(dice.randint(3, 9))) for _ in range(300)]
    while len(words) < 130_000:
        words.append(f'"{dice.choice(names)}":{dice.randrange(10 ** dice.randint(1, 9))},')
    return "".join(words).encode()[:1 << 20]


def bulk(data):
    return b"$%d\r\n%b\r\n" % (len(data), data)


def dataset(gb, salt):
    """Yields (number of requests, their bytes). With a salt every key is overwritten: strings, fields and scores get other
    values of the same size in place; lists, sets and streams are deleted and made again."""
    counts, text = groups(gb), pool()
    span = len(text) - (1 << 14)
    shift = salt * 777_767

    def value(i, size):
        at = (i * 2_654_435_761 + shift) % span
        return text[at:at + size]

    def chunks(requests, at_once=1000):
        batch = []
        for request in requests:
            batch.append(request)
            if len(batch) == at_once:
                yield len(batch), b"".join(batch)
                batch = []
        if batch:
            yield len(batch), b"".join(batch)

    def strings(name, size):
        form, step = b"$%d\r\n%b:%%09d\r\n$%d\r\n%%b\r\n" % (len(name) + 10, name.encode(), size), 20
        for first in range(0, counts[name], step):
            these = range(first, min(first + step, counts[name]))
            yield b"*%d\r\n$4\r\nMSET\r\n" % (2 * len(these) + 1) + b"".join([form % (i, value(i, size)) for i in these])

    def expiring():
        for i in range(counts["ttl"]):
            yield b"*5\r\n$3\r\nSET\r\n$13\r\nttl:%09d\r\n$64\r\n%b\r\n$2\r\nEX\r\n$7\r\n1000000\r\n" % (i, value(i, 64))

    def each(name, verb, parts, count):
        """A small collection a key: parts(i) are its encoded elements, `count` of them."""
        wipe = salt and verb not in (b"HSET", b"ZADD")
        head = b"$%d\r\n%b:%%09d\r\n" % (len(name) + 10, name.encode())
        for i in range(counts[name]):
            key = head % i
            make = b"*%d\r\n%b" % (count + 2, bulk(verb)) + key + parts(i)
            if wipe:
                yield b"*2\r\n$3\r\nDEL\r\n" + key
            yield make

    def big(name, verb, part, per):
        """BIG elements a key, of `per` arguments each, 500 a request."""
        for i in range(counts[name]):
            key = bulk(b"%b:%09d" % (name.encode(), i))
            if salt and verb not in (b"HSET", b"ZADD"):
                yield b"*2\r\n$3\r\nDEL\r\n" + key
            for first in range(0, BIG, 500):
                yield (b"*%d\r\n%b%b" % (500 * per + 2, bulk(verb), key)) + b"".join([part(i * BIG + j) for j in range(first, first + 500)])

    def streams():
        for i in range(counts["stream"]):
            key = bulk(b"stream:%09d" % i)
            if salt:
                yield b"*2\r\n$3\r\nDEL\r\n" + key
            for j in range(500):
                entry = b"%d-1" % (1_700_000_000_000 + j * 977)
                yield b"*9\r\n$4\r\nXADD\r\n%b%b$6\r\nsensor\r\n$6\r\ns%05d\r\n$5\r\nvalue\r\n$8\r\n%08d\r\n$4\r\nunit\r\n$1\r\nC\r\n" % (
                    key, bulk(entry), i % 1000, (j * 7919 + shift) % 100_000_000)

    numbers = [b"$10\r\n%010d\r\n" % (n * 7_368_787 % 10_000_000_000) for n in range(5000)]

    def fields(i):
        return b"".join([b"$2\r\nf%d\r\n$12\r\n%b\r\n" % (f, value(i * 5 + f, 12)) for f in range(5)])

    def some(i, count):
        at = (i * 31 + shift) % (len(numbers) - count)
        return b"".join(numbers[at:at + count])

    def scored(i):
        return b"".join([b"$6\r\n%06d\r\n$10\r\nmember:%03d\r\n" % ((i * 7 + j * 7919 + shift) % 1_000_000, j) for j in range(10)])

    def words(i):
        return b"".join([b"$11\r\nword:%06d\r\n" % ((i * 10 + j + shift) % 1_000_000) for j in range(10)])

    yield from chunks(strings("s16", 16))
    yield from chunks(strings("s64", 64))
    yield from chunks(strings("s1k", 1000), 50)
    yield from chunks(strings("s16k", 16_000), 10)
    yield from chunks(expiring())
    yield from chunks(each("hash", b"HSET", fields, 10))
    yield from chunks(big("bighash", b"HSET", lambda n: b"$16\r\nmember:%09d\r\n$16\r\n%b\r\n" % (n, value(n, 16)), 2), 10)
    yield from chunks(each("list", b"RPUSH", lambda i: some(i, 20), 20))
    yield from chunks(big("biglist", b"RPUSH", lambda n: b"$16\r\n%b\r\n" % value(n, 16), 1), 10)
    yield from chunks(each("intset", b"SADD", lambda i: b"".join([b"$8\r\n%08d\r\n" % (10_000_000 + (i * 97 + shift) % 80_000_000 + j) for j in range(10)]), 10))
    yield from chunks(each("set", b"SADD", words, 10))
    yield from chunks(big("bigset", b"SADD", lambda n: b"$16\r\nmember:%09d\r\n" % n, 1), 10)
    yield from chunks(each("zset", b"ZADD", scored, 20))
    yield from chunks(big("bigzset", b"ZADD", lambda n: b"$9\r\n%09d\r\n$16\r\nmember:%09d\r\n" % ((n * 7919 + shift) % 1_000_000_000, n), 2), 10)
    yield from chunks(streams())
