"""python-socketio's AsyncRedisManager: what one server's manager emits, another server's clients get."""

import asyncio
import contextlib

import redis.asyncio
import socketio

from checks import URL, end, equal, ok, run, until_async


@contextlib.asynccontextmanager
async def fresh():
    async with redis.asyncio.from_url(URL) as client:
        await client.flushall()
        yield client


class Instance:
    """A server with one client of its own, whose packets it keeps instead of sending them."""

    def __init__(self):
        self.manager = socketio.AsyncRedisManager(URL, channel="chat")
        self.server = socketio.AsyncServer(client_manager=self.manager, async_mode="asgi")
        self.sent = []

        async def keep(eio_sid, packet):
            self.sent.append(packet.data)

        self.server._send_packet = keep  # noqa: SLF001: in place of the browser
        self.server._send_eio_packet = lambda eio_sid, packet: keep(eio_sid, packet)  # noqa: SLF001
        self.manager.initialize()

    async def join(self, room=None):
        self.sid = await self.manager.connect(f"engine-{id(self)}", "/")
        if room:
            await self.manager.enter_room(self.sid, "/", room)

    def heard(self):
        return [str(packet) for packet in self.sent]


async def delivering(c):
    one, two = Instance(), Instance()
    await one.join("tides")
    await two.join("tides")

    async def both_listen():
        return (await c.pubsub_numsub("chat"))[0][1] == 2
    await until_async("both managers", both_listen)
    equal((await c.pubsub_numsub("chat"))[0][1], 2)

    await one.server.emit("news", {"level": 4.8})
    await arrived(one, "news", 1)
    await arrived(two, "news", 1)
    await two.server.emit("high", "water", room="tides")
    await arrived(one, "high", 1)
    await arrived(two, "high", 1)
    await one.server.emit("private", "x", to=two.sid)
    await arrived(two, "private", 1)
    equal(count(one, "private"), 0)
    await one.server.emit("others", "x", skip_sid=one.sid)
    await arrived(two, "others", 1)
    equal(count(one, "others"), 0)
    # A process that only writes, as a job queue would.
    await socketio.AsyncRedisManager(URL, channel="chat", write_only=True).emit("outside", b"\x00\xff", namespace="/")
    await arrived(one, "outside", 1)
    await arrived(two, "outside", 1)


def count(instance, event):
    return sum(f'"{event}"' in said for said in instance.heard())


async def arrived(instance, event, n):
    async def there():
        return count(instance, event) >= n
    await until_async(f"{event} to arrive", there)
    ok(count(instance, event) == n, instance.heard())


end(run([delivering], fresh))
