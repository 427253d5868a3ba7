"""redis-py, the plain client, over RESP2 and RESP3."""

import contextlib
import random
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from checks import HOST, PASSWORD, PORT, URL, end, equal, ok, raises, run, until

protocol = 2
NO_RETRY = Retry(NoBackoff(), 0)  # else it tries a wrong password ten times


def connect(**options):
    return redis.Redis(HOST, PORT, **{"password": PASSWORD, "protocol": protocol, "socket_timeout": 30, **options})


@contextlib.contextmanager
def fresh():
    with connect() as client:
        client.flushall()
        yield client


def blocked(client):
    until("a blocked client", lambda: client.info("clients")["blocked_clients"] == 1)


def connecting(c):
    equal(c.ping(), True)
    with connect(password=None, retry=NO_RETRY) as anonymous:
        raises(redis.AuthenticationError, "Authentication required" if protocol == 2 else "HELLO must be called with the client already authenticated", anonymous.get, "k")
    with connect(password="wrong", retry=NO_RETRY) as wrong:
        raises(redis.AuthenticationError, "invalid username-password pair", wrong.ping)
    with connect(username="default", db=5, client_name="five") as five:
        five.set("k", "in 5")
        equal(five.client_info()["db"], 5)
        equal(five.client_getname(), "five" if protocol == 2 else b"five")
    equal(c.get("k"), None)
    equal(c.select(5), True)
    equal(c.get("k"), b"in 5")
    c.select(0)
    with redis.Redis.from_url(URL + f"?protocol={protocol}") as by_url:
        equal(by_url.ping(), True)
    equal(c.client_info()["resp"], str(protocol))
    equal(c.client_info()["lib-name"].startswith("redis-py"), True)
    ok(c.client_id() > 0)


def strings(c):
    equal(c.set("s", "hello"), True)
    equal(c.append("s", " world"), 11)
    equal(c.get("s"), b"hello world")
    equal(c.getrange("s", -5, -1), b"world")
    equal(c.setrange("s", 6, "there"), 11)
    equal(c.strlen("s"), 11)
    equal(c.set("s", "no", nx=True), None)
    equal(c.set("s", "new", get=True), b"hello there")
    equal(c.mset({"a": 1, "b": 2}), True)
    equal(c.mget("a", "none", "b"), [b"1", None, b"2"])
    equal(c.msetnx({"a": 3, "z": 3}), False)
    equal(c.getdel("s"), b"new")
    equal(c.lcs("a", "b"), b"")
    equal(c.exists("a", "b", "s"), 2)
    equal(c.type("a"), b"string")


def numbers(c):
    equal(c.incr("n"), 1)
    equal(c.incrby("n", 41), 42)
    equal(c.decr("n", 2), 40)
    equal(c.incrbyfloat("n", 0.5), 40.5)
    c.set("most", 2**63 - 1)
    raises(redis.ResponseError, "overflow", c.incr, "most")
    c.set("word", "w")
    raises(redis.ResponseError, "not an integer", c.incr, "word")


def bits(c):
    equal(c.setbit("b", 7, 1), 0)
    equal(c.getbit("b", 7), 1)
    equal(c.bitcount("b"), 1)
    c.set("x", b"\xff\x0f")
    c.set("y", b"\x0f\xff")
    equal(c.bitop("AND", "d", "x", "y"), 2)
    equal(c.get("d"), b"\x0f\x0f")
    equal(c.bitpos("x", 0), 8)
    equal(c.bitfield("f").set("u8", 0, 255).incrby("u8", 0, 10).overflow("SAT").incrby("u4", "#2", 100).execute(), [0, 9, 15])


def lists(c):
    equal(c.rpush("l", *"abcdef"), 6)
    equal(c.lpush("l", "z"), 7)
    equal(c.lrange("l", 0, 2), [b"z", b"a", b"b"])
    equal(c.lpop("l"), b"z")
    equal(c.rpop("l", 2), [b"f", b"e"])
    equal(c.linsert("l", "BEFORE", "b", "ab"), 5)
    equal(c.lindex("l", 1), b"ab")
    equal(c.lpos("l", "c"), 3)
    equal(c.lset("l", 0, "A"), True)
    equal(c.lrem("l", 0, "ab"), 1)
    equal(c.lmove("l", "m", "LEFT", "RIGHT"), b"A")
    equal(c.ltrim("l", 0, 0), True)
    equal(c.llen("l"), 1)
    equal(c.lmpop(2, "none", "m", direction="LEFT"), [b"m", [b"A"]])


def sets(c):
    equal(c.sadd("s", 1, 2, 3), 3)
    equal(c.sadd("t", 2, 3, 4), 3)
    equal(c.smembers("s"), {b"1", b"2", b"3"})
    equal(c.sinter("s", "t"), {b"2", b"3"})
    equal(c.sunionstore("u", "s", "t"), 4)
    equal(c.sdiff("s", "t"), {b"1"})
    equal(c.sintercard(2, ["s", "t"]), 2)
    equal(c.smismember("s", ["1", "9"]), [1, 0])
    equal(c.smove("s", "t", "1"), True)
    equal(c.srem("t", "1", "9"), 1)
    ok(c.spop("u") in {b"1", b"2", b"3", b"4"})
    equal(len(c.srandmember("t", 2)), 2)


def sorted_sets(c):
    equal(c.zadd("z", {"a": 1, "b": 2.5, "c": 3}), 3)
    equal(c.zadd("z", {"a": 2}, xx=True, gt=True, ch=True), 1)
    equal(c.zincrby("z", 0.25, "b"), 2.75)
    equal(c.zscore("z", "b"), 2.75)
    pairs = [[b"a", 2.0], [b"b", 2.75], [b"c", 3.0]]
    equal([list(p) for p in c.zrange("z", 0, -1, withscores=True)], pairs)
    equal(c.zrange("z", "(2", "+inf", byscore=True), [b"b", b"c"])
    equal(c.zrevrange("z", 0, 0), [b"c"])
    equal(c.zrangebyscore("z", "-inf", 2.75, start=1, num=5), [b"b"])
    equal(c.zrank("z", "c"), 2)
    equal(c.zcount("z", 2, 3), 3)
    equal(c.zmscore("z", ["a", "none"]), [2.0, None])
    c.zadd("y", {"c": 10})
    equal([list(p) for p in c.zinter({"z": 2, "y": 1}, withscores=True)], [[b"c", 16.0]])
    equal(c.zunionstore("u", ["z", "y"]), 3)
    equal([list(p) for p in c.zpopmin("u", 1)], [[b"a", 2.0]])
    c.zadd("lex", dict.fromkeys("abcd", 0))
    equal(c.zrangebylex("lex", "[b", "(d"), [b"b", b"c"])
    equal(c.zadd("inf", {"up": float("inf"), "down": float("-inf")}), 2)
    equal(c.zscore("inf", "down"), float("-inf"))


def hashes(c):
    equal(c.hset("h", "f", "v"), 1)
    equal(c.hset("h", mapping={"g": 1, "i": 2}), 2)
    equal(c.hgetall("h"), {b"f": b"v", b"g": b"1", b"i": b"2"})
    equal(c.hmget("h", "f", "none"), [b"v", None])
    equal(c.hincrby("h", "g", 5), 6)
    equal(c.hincrbyfloat("h", "i", 0.5), 2.5)
    equal(c.hexists("h", "none"), False)
    equal(c.hsetnx("h", "f", "w"), 0)
    equal(sorted(c.hkeys("h")), [b"f", b"g", b"i"])
    equal(c.hdel("h", "f", "none"), 1)
    equal(c.hlen("h"), 2)
    equal(len(c.hrandfield("h", 5)), 2)
    equal(c.hstrlen("h", "g"), 1)


def field_ttl(c):
    c.hset("h", mapping={"f": "v", "g": "w"})
    equal(c.hexpire("h", 100, "f", "none"), [1, -2])
    ok(0 < c.httl("h", "f")[0] <= 100)
    equal(c.hpersist("h", "f"), [1])
    equal(c.hpexpire("h", 1, "g"), [1])
    until("the field to expire", lambda: c.hlen("h") == 1)
    equal(c.hgetall("h"), {b"f": b"v"})


def streams(c):
    first = c.xadd("x", {"n": 1})
    more = [c.xadd("x", {"n": n}) for n in range(2, 6)]
    equal(c.xlen("x"), 5)
    equal(c.xrange("x", count=1), [(first, {b"n": b"1"})])
    equal(c.xrevrange("x", count=1), [(more[-1], {b"n": b"5"})])
    got = c.xread({"x": more[2]})
    equal(dict(got)[b"x"] if protocol == 2 else got[b"x"][0], [(more[3], {b"n": b"5"})])
    equal(c.xgroup_create("x", "g", id="0"), True)
    raises(redis.ResponseError, "BUSYGROUP", c.xgroup_create, "x", "g")
    got = c.xreadgroup("g", "one", {"x": ">"}, count=3)
    entries = dict(got)[b"x"] if protocol == 2 else got[b"x"][0]
    equal([i for i, _ in entries], [first, *more[:2]])
    equal(c.xack("x", "g", first), 1)
    equal(c.xpending("x", "g")["pending"], 2)
    equal(c.xpending_range("x", "g", "-", "+", 10)[0]["consumer"], b"one")
    equal([i for i, _ in c.xclaim("x", "g", "two", 0, [more[0]])], [more[0]])
    equal([i for i, _ in c.xautoclaim("x", "g", "three", 0, "0")[1]], more[:2])
    info = c.xinfo_groups("x")[0]
    equal((info["name"], info["pending"], info["consumers"]), (b"g", 2, 3))
    equal(c.xinfo_stream("x")["length"], 5)
    equal({i["name"] for i in c.xinfo_consumers("x", "g")}, {b"one", b"two", b"three"})
    equal(c.xtrim("x", maxlen=2, approximate=False), 3)
    equal(c.xdel("x", more[-1]), 1)
    equal(c.xgroup_destroy("x", "g"), True)


def geo(c):
    equal(c.geoadd("g", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")), 2)
    equal(round(c.geodist("g", "Palermo", "Catania", "km"), 1), 166.3)
    equal(c.geosearch("g", longitude=15, latitude=37, radius=100, unit="km"), [b"Catania"])
    equal(c.georadius("g", 15, 37, 200, "km", sort="ASC"), [b"Catania", b"Palermo"])
    equal([round(x, 3) for x in c.geopos("g", "Palermo")[0]], [13.361, 38.116])
    equal(c.geohash("g", "Palermo") in ([b"sqc8b49rny0"], ["sqc8b49rny0"]), True)


def hyperloglog(c):
    equal(c.pfadd("p", *range(1000)), 1)
    ok(950 < c.pfcount("p") < 1050)
    c.pfadd("q", *range(500, 1500))
    equal(c.pfmerge("r", "p", "q"), True)
    ok(1430 < c.pfcount("r") < 1570)


def expiry(c):
    equal(c.set("k", "v", ex=100), True)
    ok(99 <= c.ttl("k") <= 100)
    equal(c.persist("k"), True)
    equal(c.ttl("k"), -1)
    equal(c.pexpire("k", 30), True)
    until("the key to expire", lambda: c.get("k") is None)
    equal(c.ttl("k"), -2)
    c.set("k", "v")
    equal(c.expire("k", 10, gt=True), False)
    at = int(time.time()) + 50
    equal(c.expireat("k", at), True)
    equal(c.expiretime("k"), at)
    equal(c.getex("k", persist=True), b"v")


def pipelining(c):
    with c.pipeline(transaction=False) as p:
        for i in range(10_000):
            p.set(f"p:{i}", i)
            p.get(f"p:{i}")
        got = p.execute()
    equal(got[1::2], [str(i).encode() for i in range(10_000)])
    with c.pipeline(transaction=False) as p:
        p.set("a", "x").incr("a").get("a")
        got = p.execute(raise_on_error=False)
    ok(isinstance(got[1], redis.ResponseError) and got[0] is True and got[2] == b"x", got)


def transactions(c):
    with c.pipeline() as p:
        equal(p.set("a", 1).incr("a").get("a").execute(), [True, 2, b"2"])
    with c.pipeline() as p:
        p.watch("a")
        value = int(p.get("a"))
        p.multi()
        p.set("a", value + 1)
        equal(p.execute(), [True])
    with c.pipeline() as p, connect() as other:
        p.watch("a")
        other.set("a", 100)
        p.multi()
        p.set("a", 0)
        raises(redis.WatchError, "", p.execute)
    equal(c.get("a"), b"100")
    equal(c.transaction(lambda p: (p.multi(), p.incr("a")), "a"), [101])
    with c.pipeline() as p:
        p.set("a", 1)
        p.execute_command("SET", "a")
        raises(redis.ResponseError, "wrong number of arguments", p.execute)
    connection = c.connection_pool.get_connection()
    for command in (("MULTI",), ("SET", "a"), ("EXEC",)):
        connection.send_command(*command)
    equal(connection.read_response() in (b"OK", "OK"), True)
    raises(redis.ResponseError, "wrong number", connection.read_response)
    raises(redis.exceptions.ExecAbortError, "discarded because of previous errors", connection.read_response)
    c.connection_pool.release(connection)
    equal(c.get("a"), b"101")


def subscriptions(c):
    heard = c.pubsub()
    heard.subscribe("news")
    heard.psubscribe("n*")
    equal([heard.get_message(timeout=5)["type"] for _ in range(2)], ["subscribe", "psubscribe"])
    equal(c.publish("news", b"\x00one"), 2)
    equal([(m["type"], m["data"]) for m in (heard.get_message(timeout=5) for _ in range(2))], [("message", b"\x00one"), ("pmessage", b"\x00one")])
    equal(c.publish("other", "x"), 0)
    equal(c.pubsub_channels(), [b"news"])
    equal(c.pubsub_numpat(), 1)
    heard.unsubscribe("news")
    equal(heard.get_message(timeout=5)["type"], "unsubscribe")
    equal(c.publish("news", "two"), 1)
    equal(heard.get_message(timeout=5)["pattern"], b"n*")
    heard.close()
    sharded = c.pubsub()
    sharded.ssubscribe("shard")
    equal(sharded.get_message(timeout=5)["type"], "ssubscribe")
    equal(c.spublish("shard", "hi"), 1)
    got = sharded.get_message(timeout=5)
    equal((got["type"], got["data"]), ("smessage", b"hi"))
    sharded.close()
    arrived = threading.Event()
    threaded = c.pubsub()
    threaded.subscribe(**{"handled": lambda m: m["data"] == b"go" and arrived.set()})
    thread = threaded.run_in_thread(sleep_time=0.01)
    until("the thread", lambda: c.publish("handled", "go") == 1)
    ok(arrived.wait(5))
    thread.stop()
    thread.join()


def blocking(c):
    def later(call):
        def wait_and_call():
            with connect() as other:
                blocked(other)
                call(other)
        thread = threading.Thread(target=wait_and_call)
        thread.start()
        return thread

    for call, wanted, push in (
        (lambda: c.blpop(["none", "q"], 20), [b"q", b"1"], lambda o: o.rpush("q", 1)),
        (lambda: c.brpop("q", 20), [b"q", b"2"], lambda o: o.rpush("q", 2)),
        (lambda: c.blmove("q", "r", 20), b"3", lambda o: o.rpush("q", 3)),
        (lambda: c.blmpop(20, 1, "q", direction="LEFT"), [b"q", [b"4"]], lambda o: o.rpush("q", 4)),
        (lambda: c.bzpopmin("z", 20), [b"z", b"m", 1.5], lambda o: o.zadd("z", {"m": 1.5})),
    ):
        thread = later(push)
        got = call()
        thread.join()
        equal(list(got) if isinstance(got, tuple) else got, wanted)
    c.xadd("x", {"a": 1})
    thread = later(lambda o: o.xadd("x", {"a": 2}))
    got = c.xread({"x": "$"}, block=20_000)
    thread.join()
    equal((got[0][1] if protocol == 2 else got[b"x"][0])[0][1], {b"a": b"2"})
    began = time.monotonic()
    equal(c.blpop("none", 0.2), None)
    ok(0.15 < time.monotonic() - began < 5)
    equal(c.bzpopmax("none", 0.05), None)


def iteration(c):
    with c.pipeline(transaction=False) as p:
        for i in range(5000):
            p.set(f"key:{i}", i)
        p.hset("hash", mapping={f"f{i}": i for i in range(3000)})
        p.sadd("set", *range(3000))
        p.zadd("zset", {f"m{i}": i for i in range(3000)})
        p.execute()
    equal({*c.scan_iter("key:*", count=100)}, {f"key:{i}".encode() for i in range(5000)})
    equal(sorted(c.scan_iter(_type="HASH")), [b"hash"])
    equal(dict(c.hscan_iter("hash")), {f"f{i}".encode(): str(i).encode() for i in range(3000)})
    equal({*c.sscan_iter("set", match="1*")}, {str(i).encode() for i in range(3000) if str(i)[0] == "1"})
    equal(dict(c.zscan_iter("zset")), {f"m{i}".encode(): float(i) for i in range(3000)})
    equal(len(c.keys("key:1*")), 1111)


def big_and_binary(c):
    big = random.Random(1).randbytes(20_000_000)
    equal(c.set("big", big), True)
    ok(c.get("big") == big, "20 MB came back otherwise")
    every = bytes(range(256)) + b"\r\n$-1\r\n"
    c.set(every, every)
    equal(c.get(every), every)
    c.hset(b"h\x00", every, b"")
    equal(c.hgetall(b"h\x00"), {every: b""})
    with connect(decode_responses=True) as words:
        words.set("clé", "zwölf 🐘")
        equal(words.get("clé"), "zwölf 🐘")
    equal(c.restore("copy", 0, c.dump("clé")), b"OK")


def errors(c):
    c.rpush("l", 1)
    raises(redis.ResponseError, "WRONGTYPE", c.incr, "l")
    raises(redis.ResponseError, "unknown command 'NOSUCH'", c.execute_command, "NOSUCH")
    raises(redis.ResponseError, "wrong number of arguments", c.execute_command, "GET")
    raises(redis.ResponseError, "syntax error", c.execute_command, "SET", "a", "b", "c")
    raises(redis.ResponseError, "no such key", c.rename, "none", "x")
    raises(redis.ResponseError, "out of range", c.select, 1000)


def reconnecting(c):
    c.set("k", "v")
    victim = c.client_id()
    with connect() as other:
        equal(other.client_kill_filter(_id=victim), 1)
    equal(c.get("k"), b"v")
    ok(c.client_id() != victim)
    heard = c.pubsub()
    heard.subscribe("news")
    heard.get_message(timeout=5)
    with connect() as other:
        equal(other.client_kill_filter(_type="pubsub"), 1)
        equal(heard.get_message(timeout=5)["type"], "subscribe")
        equal(other.publish("news", "again"), 1)
    equal(heard.get_message(timeout=5)["data"], b"again")
    heard.close()


def server(c):
    info = c.info()
    ok(info["redis_version"].startswith("7.") and info["tcp_port"] == PORT, info)
    equal(c.info("keyspace"), {})
    c.set("k", "v")
    equal(c.info("keyspace")["db0"]["keys"], 1)
    equal(c.config_get("maxmemory-policy"), {"maxmemory-policy": "noeviction"})
    equal(c.config_set("hash-max-listpack-entries", 64), True)
    equal(c.config_get("hash-max-listpack-e*"), {"hash-max-listpack-entries": "64"})
    c.config_set("hash-max-listpack-entries", 128)
    equal(c.client_setinfo("lib-name", "mine") in (True, b"OK"), True)
    ok(any(i["lib-name"] == "mine" for i in c.client_list()))
    equal(c.command_count() > 200, True)
    ok("get" in c.command())
    equal(c.command_getkeys("SET", "key", "v") in ([b"key"], ["key"]), True)
    equal(c.dbsize(), 1)
    ok(abs(c.time()[0] - time.time()) < 60)
    equal(c.object("encoding", "k") in (b"embstr", "embstr"), True)
    ok(c.memory_usage("k") > 0)
    equal(c.echo("hi"), b"hi")
    ok(isinstance(c.slowlog_get(), list))


GROUPS = [connecting, strings, numbers, bits, lists, sets, sorted_sets, hashes, field_ttl, streams, geo, hyperloglog, expiry, pipelining,
          transactions, subscriptions, blocking, iteration, big_and_binary, errors, reconnecting, server]

failures = []
for protocol in (2, 3):
    print(f"RESP{protocol}")
    failures += [f"{name} (RESP{protocol})" for name in run(GROUPS, fresh)]
end(failures)
