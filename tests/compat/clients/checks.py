"""What the Python programs here share: counted checks in named groups, and where the server is."""

import asyncio
import inspect
import os
import sys
import time
import traceback

HOST = os.environ["TIDEWATER_HOST"]
PORT = int(os.environ["TIDEWATER_PORT"])
PASSWORD = os.environ["TIDEWATER_PASSWORD"]
URL = f"redis://:{PASSWORD}@{HOST}:{PORT}/0"

held = 0


def ok(holds, said="does not hold"):
    global held
    if not holds:
        raise AssertionError(said)
    held += 1


def equal(got, wanted):
    ok(got == wanted and type(got) is type(wanted), f"got {got!r:.300}, wanted {wanted!r:.300}")


def raises(kind, text, call, *args, **options):
    try:
        got = call(*args, **options)
    except kind as error:
        ok(text in str(error), f"{kind.__name__} says {error}, not {text}")
        return
    raise AssertionError(f"got {got!r:.300}, wanted {kind.__name__}: {text}")


async def raises_async(kind, text, awaitable):
    try:
        got = await awaitable
    except kind as error:
        ok(text in str(error), f"{kind.__name__} says {error}, not {text}")
        return
    raise AssertionError(f"got {got!r:.300}, wanted {kind.__name__}: {text}")


def until(what, holds, seconds=15):
    """Waits for what no event tells: an other connection's state."""
    end = time.monotonic() + seconds
    while not (seen := holds()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.005)
    return seen


async def until_async(what, holds, seconds=15):
    end = time.monotonic() + seconds
    while not (seen := await holds()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        await asyncio.sleep(0.005)
    return seen


def run(groups, fresh):
    """Runs each group with what fresh gives (a context manager, or an async one), all of them even if one fails."""
    failed = []
    for group in groups:
        before, began = held, time.monotonic()
        try:
            if inspect.iscoroutinefunction(group):
                async def one(group=group):
                    async with fresh() as c:
                        await asyncio.wait_for(group(c), 60)
                asyncio.run(one())
            else:
                with fresh() as c:
                    group(c)
            ok(held > before, "the group has checked nothing")
        except Exception:  # noqa: BLE001: the next group says more
            traceback.print_exc(limit=-6, file=sys.stdout)
            failed.append(group.__name__)
            print(f"{group.__name__}: FAILED")
            continue
        print(f"{group.__name__}: {held - before} in {time.monotonic() - began:.2f} s")
    return failed


def end(failed):
    if failed:
        print("failed:", *failed)
    print(f"{held} checks")
    sys.exit(bool(failed))
