"""Django's own Redis cache backend."""

import contextlib

import django
from django.conf import settings

from checks import URL, end, equal, ok, raises, run, until

settings.configure(CACHES={
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": URL, "KEY_PREFIX": "site", "TIMEOUT": 300},
    "other": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": URL[:-1] + "5"},
}, SECRET_KEY="x", SESSION_ENGINE="django.contrib.sessions.backends.cache", USE_TZ=True)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import caches  # noqa: E402


@contextlib.contextmanager
def fresh():
    for name in ("default", "other"):
        caches[name].clear()
    yield caches["default"]


def values(c):
    c.set("k", {"a": [1, 2.5, None, b"\x00\xff", "ü"]})
    equal(c.get("k"), {"a": [1, 2.5, None, b"\x00\xff", "ü"]})
    equal(c.get("none", "instead"), "instead")
    equal(c.add("k", 1), False)
    equal(c.add("new", 1), True)
    equal(c.has_key("new"), True)
    equal(c.delete("new"), True)
    equal(c.delete("new"), False)
    c.set("big", b"x" * 5_000_000)
    equal(len(c.get("big")), 5_000_000)
    equal(c.get_or_set("made", lambda: "once"), "once")
    equal(c.get_or_set("made", lambda: "twice"), "once")


def many(c):
    equal(c.set_many({f"k{i}": i for i in range(1000)}), [])
    equal(c.get_many([f"k{i}" for i in range(1001)]), {f"k{i}": i for i in range(1000)})
    c.delete_many([f"k{i}" for i in range(500)])
    equal(len(c.get_many([f"k{i}" for i in range(1000)])), 500)
    caches["other"].set("there", 1)
    c.clear()
    equal(c.get("k999"), None)
    equal(caches["other"].get("there"), 1)


def counting(c):
    c.set("n", 1)
    equal(c.incr("n", 41), 42)
    equal(c.decr("n"), 41)
    raises(ValueError, "not found", c.incr, "none")


def times(c):
    c.set("short", 1, timeout=1)
    equal(c.touch("short", 100), True)
    equal(c.touch("none", 100), False)
    c.set("gone", 1, timeout=0)
    equal(c.get("gone"), None)
    c.set("ever", 1, timeout=None)
    client = c._cache.get_client(None)  # noqa: SLF001: the backend has no call that tells a time to live
    ok(90 < client.ttl(c.make_key("short")) <= 100)
    equal(client.ttl(c.make_key("ever")), -1)
    c.set("brief", 1, timeout=1)
    until("it to expire", lambda: c.get("brief") is None)


def versions(c):
    c.set("k", "one", version=1)
    c.set("k", "two", version=2)
    equal((c.get("k", version=1), c.get("k", version=2)), ("one", "two"))
    equal(c.incr_version("k", version=2), 3)
    equal(c.get("k", version=3), "two")


def sessions(_):
    mine = SessionStore()
    mine["user"] = 7
    mine.save()
    equal(SessionStore(mine.session_key)["user"], 7)
    mine.delete()
    equal(SessionStore(mine.session_key).get("user"), None)


end(run([values, many, counting, times, versions, sessions], fresh))
