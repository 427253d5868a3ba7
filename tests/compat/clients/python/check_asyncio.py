"""redis-py, the asyncio client, over RESP2 and RESP3."""

import asyncio
import contextlib
import random
import time

import redis
import redis.asyncio as aio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from checks import HOST, PASSWORD, PORT, URL, end, equal, ok, raises_async, run, until_async

protocol = 2
NO_RETRY = Retry(NoBackoff(), 0)  # else it tries a wrong password ten times


def connect(**options):
    return aio.Redis(host=HOST, port=PORT, **{"password": PASSWORD, "protocol": protocol, "socket_timeout": 30, **options})


@contextlib.asynccontextmanager
async def fresh():
    async with connect() as client:
        await client.flushall()
        yield client


async def connecting(c):
    equal(await c.ping(), True)
    async with connect(password=None, retry=NO_RETRY) as anonymous:
        await raises_async(redis.AuthenticationError, "Authentication required" if protocol == 2 else "HELLO must be called with the client already authenticated", anonymous.get("k"))
    async with connect(password="wrong", retry=NO_RETRY) as wrong:
        await raises_async(redis.AuthenticationError, "invalid username-password pair", wrong.ping())
    async with connect(username="default", db=3) as three:
        await three.set("k", "in 3")
        equal((await three.client_info())["db"], 3)
    equal(await c.get("k"), None)
    async with aio.from_url(URL + f"?protocol={protocol}") as by_url:
        equal(await by_url.ping(), True)
    equal((await c.client_info())["resp"], str(protocol))


async def strings_and_bits(c):
    equal(await c.set("s", "hello"), True)
    equal(await c.append("s", "!"), 6)
    equal(await c.set("s", "x", get=True), b"hello!")
    equal(await c.mset({"a": 1, "b": 2}), True)
    equal(await c.mget("a", "none", "b"), [b"1", None, b"2"])
    equal(await c.incrby("a", 4), 5)
    equal(await c.incrbyfloat("b", 0.25), 2.25)
    equal(await c.setbit("bits", 9, 1), 0)
    equal(await c.bitcount("bits"), 1)
    equal(await c.bitop("NOT", "not", "bits"), 2)
    equal(await c.get("not"), b"\xff\xbf")
    equal(await c.bitfield("f").incrby("i8", 0, 200).execute(), [-56])


async def collections(c):
    equal(await c.rpush("l", *"abc"), 3)
    equal(await c.lrange("l", 0, -1), [b"a", b"b", b"c"])
    equal(await c.lmove("l", "m", "RIGHT", "LEFT"), b"c")
    equal(await c.sadd("s", 1, 2, 3), 3)
    equal(await c.smembers("s"), {b"1", b"2", b"3"})
    await c.sadd("t", 3, 4)
    equal(await c.sinter("s", "t"), {b"3"})
    equal(await c.zadd("z", {"a": 1, "b": 2.5}), 2)
    equal([list(p) for p in await c.zrange("z", 0, -1, withscores=True)], [[b"a", 1.0], [b"b", 2.5]])
    equal(await c.zscore("z", "b"), 2.5)
    equal([list(p) for p in await c.zpopmax("z", 1)], [[b"b", 2.5]])
    equal(await c.hset("h", mapping={"f": "v", "g": 1}), 2)
    equal(await c.hgetall("h"), {b"f": b"v", b"g": b"1"})
    equal(await c.hincrby("h", "g", 9), 10)
    equal(await c.hexpire("h", 100, "f"), [1])
    ok(0 < (await c.httl("h", "f"))[0] <= 100)
    equal(await c.geoadd("g", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")), 2)
    equal(round(await c.geodist("g", "Palermo", "Catania", "km"), 1), 166.3)
    equal(await c.geosearch("g", longitude=15, latitude=37, radius=100, unit="km"), [b"Catania"])
    equal(await c.pfadd("p", *range(500)), 1)
    ok(470 < await c.pfcount("p") < 530)


async def streams(c):
    ids = [await c.xadd("x", {"n": n}) for n in range(5)]
    equal(await c.xlen("x"), 5)
    equal(await c.xgroup_create("x", "g", id="0"), True)
    got = await c.xreadgroup("g", "one", {"x": ">"}, count=3)
    equal([i for i, _ in (dict(got)[b"x"] if protocol == 2 else got[b"x"][0])], ids[:3])
    equal(await c.xack("x", "g", *ids[:2]), 2)
    equal((await c.xpending("x", "g"))["pending"], 1)
    equal([i for i, _ in (await c.xautoclaim("x", "g", "two", 0, "0"))[1]], [ids[2]])
    equal((await c.xinfo_groups("x"))[0]["name"], b"g")
    equal([i for i, _ in await c.xrange("x", min=ids[3])], ids[3:])
    await raises_async(redis.ResponseError, "BUSYGROUP", c.xgroup_create("x", "g"))
    await raises_async(redis.ResponseError, "NOGROUP", c.xreadgroup("none", "one", {"x": ">"}))


async def expiry(c):
    equal(await c.set("k", "v", px=30), True)
    ok(await c.pttl("k") <= 30)

    async def gone():
        return await c.get("k") is None
    equal(await until_async("the key to expire", gone), True)
    equal(await c.ttl("k"), -2)
    await c.set("k", "v")
    equal(await c.expire("k", 100), True)
    ok(99 <= await c.ttl("k") <= 100)
    equal(await c.persist("k"), True)


async def pipelining(c):
    async with c.pipeline(transaction=False) as p:
        for i in range(5000):
            p.set(f"p:{i}", i).get(f"p:{i}")
        got = await p.execute()
    equal(got[1::2], [str(i).encode() for i in range(5000)])
    async with c.pipeline(transaction=False) as p:
        got = await p.set("a", "x").incr("a").get("a").execute(raise_on_error=False)
    ok(isinstance(got[1], redis.ResponseError) and got[2] == b"x", got)
    # As many at once as there are tasks: each has a connection of its own.
    equal(sorted(await asyncio.gather(*(c.incr("together") for _ in range(50)))), list(range(1, 51)))


async def transactions(c):
    async with c.pipeline() as p:
        equal(await p.set("a", 1).incr("a").execute(), [True, 2])
    async with c.pipeline() as p:
        await p.watch("a")
        value = int(await p.get("a"))
        p.multi()
        equal(await p.set("a", value + 1).execute(), [True])
    async with c.pipeline() as p:
        await p.watch("a")
        await c.set("a", 100)
        p.multi()
        p.set("a", 0)
        await raises_async(redis.WatchError, "", p.execute())
    equal(await c.get("a"), b"100")


async def subscriptions(c):
    async with c.pubsub() as heard:
        await heard.subscribe("news")
        await heard.psubscribe("n*")
        equal([(await heard.get_message(timeout=5))["type"] for _ in range(2)], ["subscribe", "psubscribe"])
        equal(await c.publish("news", "one"), 2)
        equal([(await heard.get_message(timeout=5))["type"] for _ in range(2)], ["message", "pmessage"])
        await heard.punsubscribe()
        equal((await heard.get_message(timeout=5))["type"], "punsubscribe")
        equal(await c.publish("news", "two"), 1)
        equal((await heard.get_message(timeout=5))["data"], b"two")
    async with c.pubsub() as sharded:
        await sharded.ssubscribe("shard")
        equal((await sharded.get_message(timeout=5))["type"], "ssubscribe")
        equal(await c.spublish("shard", "hi"), 1)
        equal((await sharded.get_message(timeout=5))["type"], "smessage")


async def blocking(c):
    async def is_blocked():
        return (await c.info("clients"))["blocked_clients"] == 1

    for call, push, wanted in (
        (lambda: c.blpop(["none", "q"], 20), lambda: c.rpush("q", 1), [b"q", b"1"]),
        (lambda: c.blmove("q", "r", 20), lambda: c.rpush("q", 2), b"2"),
        (lambda: c.bzpopmin("z", 20), lambda: c.zadd("z", {"m": 2}), [b"z", b"m", 2.0]),
    ):
        waiting = asyncio.create_task(call())
        await until_async("a blocked client", is_blocked)
        await push()
        got = await waiting
        equal(list(got) if isinstance(got, tuple) else got, wanted)
    began = time.monotonic()
    equal(await c.brpop("none", 0.2), None)
    ok(0.15 < time.monotonic() - began < 5)
    # A task that is cancelled while it waits leaves no connection behind that hears another's reply.
    waiting = asyncio.create_task(c.blpop("never", 0))
    await until_async("a blocked client", is_blocked)
    waiting.cancel()
    equal(await asyncio.gather(waiting, return_exceptions=True) != [], True)
    equal(await c.echo("mine"), b"mine")


async def iteration(c):
    async with c.pipeline(transaction=False) as p:
        for i in range(3000):
            p.set(f"key:{i}", i)
        p.hset("hash", mapping={f"f{i}": i for i in range(3000)})
        p.sadd("set", *range(3000))
        p.zadd("zset", {f"m{i}": i for i in range(3000)})
        await p.execute()
    equal({k async for k in c.scan_iter("key:*", count=100)}, {f"key:{i}".encode() for i in range(3000)})
    equal({k: v async for k, v in c.hscan_iter("hash")}, {f"f{i}".encode(): str(i).encode() for i in range(3000)})
    equal(len({m async for m in c.sscan_iter("set")}), 3000)
    equal({m: s async for m, s in c.zscan_iter("zset")}, {f"m{i}".encode(): float(i) for i in range(3000)})


async def big_and_binary(c):
    big = random.Random(2).randbytes(20_000_000)
    equal(await c.set("big", big), True)
    ok(await c.get("big") == big, "20 MB came back otherwise")
    every = bytes(range(256)) + b"\r\n$-1\r\n"
    await c.hset(every, every, every)
    equal(await c.hgetall(every), {every: every})


async def errors(c):
    await c.rpush("l", 1)
    await raises_async(redis.ResponseError, "WRONGTYPE", c.get("l"))
    await raises_async(redis.ResponseError, "unknown command", c.execute_command("NOSUCH"))
    await raises_async(redis.ResponseError, "wrong number of arguments", c.execute_command("GET"))
    async with c.pipeline() as p:
        p.set("a", 1).execute_command("SET", "a")
        await raises_async(redis.ResponseError, "wrong number of arguments", p.execute())
    equal(await c.exists("a"), 0)


async def reconnecting(c):
    await c.set("k", "v")
    victim = await c.client_id()
    async with connect() as other:
        equal(await other.client_kill_filter(_id=victim), 1)
    equal(await c.get("k"), b"v")
    ok(await c.client_id() != victim)
    async with c.pubsub() as heard:
        await heard.subscribe("news")
        await heard.get_message(timeout=5)
        equal(await c.client_kill_filter(_type="pubsub"), 1)
        equal((await heard.get_message(timeout=5))["type"], "subscribe")
        equal(await c.publish("news", "again"), 1)
        equal((await heard.get_message(timeout=5))["data"], b"again")


async def server(c):
    ok((await c.info())["redis_version"].startswith("7."))
    equal(await c.config_set("slowlog-log-slower-than", 20_000), True)
    equal(await c.config_get("slowlog-log-slower-than"), {"slowlog-log-slower-than": "20000"})
    await c.config_set("slowlog-log-slower-than", 10_000)
    ok("get" in await c.command())
    ok((await c.client_info())["lib-name"].startswith("redis-py"))
    equal(await c.dbsize(), 0)


GROUPS = [connecting, strings_and_bits, collections, streams, expiry, pipelining, transactions, subscriptions, blocking, iteration,
          big_and_binary, errors, reconnecting, server]

failures = []
for protocol in (2, 3):
    print(f"RESP{protocol}")
    failures += [f"{name} (RESP{protocol})" for name in run(GROUPS, fresh)]
end(failures)
