"""A chat room over plain TCP: `nc 127.0.0.1 7001`. What is said goes to everybody by pub/sub and to newcomers from a list.

The first line is a name; then each line is said to the room, and `/who` and `/quit` are commands. Any number of these
programs can run against one server: the room is in the server, not here.
"""

import asyncio
import json
import os
import signal

import redis.asyncio as redis

HISTORY, CHANNEL, PEOPLE = "chat:history", "chat:live", "chat:people"
KEPT = 20

store = redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), decode_responses=True)
writers: set[asyncio.StreamWriter] = set()


async def say(name: str, text: str) -> None:
    """Remembers and spreads a message, both or neither."""
    message = json.dumps({"name": name, "text": text})
    async with store.pipeline(transaction=True) as pipe:
        pipe.rpush(HISTORY, message).ltrim(HISTORY, -KEPT, -1).publish(CHANNEL, message)
        await pipe.execute()


def line(message: str) -> bytes:
    m = json.loads(message)
    return f"{m['name']}: {m['text']}\n".encode()


async def listen(subscribed: asyncio.Event) -> None:
    """Hands on what the room says, whichever program it was said to."""
    async with store.pubsub() as channel:
        await channel.subscribe(CHANNEL)
        async for message in channel.listen():
            if message["type"] == "subscribe":
                subscribed.set()
            else:
                for writer in writers:
                    writer.write(line(message["data"]))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    name = ""
    try:
        writer.write(b"Your name?\n")
        name = (await reader.readline()).decode(errors="replace").strip()
        if not name:
            return
        if not await store.sadd(PEOPLE, name):
            writer.write(b"Somebody here has that name.\n")
            name = ""
            return
        for message in await store.lrange(HISTORY, 0, -1):
            writer.write(line(message))
        writers.add(writer)
        await say(name, "joined")
        while text := (await reader.readline()).decode(errors="replace"):
            match text.strip():
                case "":
                    pass
                case "/quit":
                    break
                case "/who":
                    writer.write(", ".join(sorted(await store.smembers(PEOPLE))).encode() + b"\n")
                case said:
                    await say(name, said)
    except ConnectionError:
        pass
    finally:
        writers.discard(writer)
        if name:
            await store.srem(PEOPLE, name)
            await say(name, "left")
        writer.close()


async def main() -> None:
    subscribed, ended = asyncio.Event(), asyncio.Event()
    for how in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(how, ended.set)
    listener = asyncio.create_task(listen(subscribed))
    listener.add_done_callback(lambda _: ended.set())
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait([asyncio.create_task(subscribed.wait()), waiting], return_when=asyncio.FIRST_COMPLETED)
    if not ended.is_set():
        server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ.get("PORT", "7001")))
        print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
        await waiting
        server.close()
    if listener.done():
        listener.result()
    # The people here leave the room with this program.
    for writer in list(writers):
        writer.transport.abort()
    while writers:
        await asyncio.sleep(0)
    others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task() and t is not listener]
    await asyncio.gather(*others, return_exceptions=True)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    await store.aclose()


asyncio.run(main())
