"""Celery with Redis as its broker and its store of results: a worker process, and tasks from here."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import celery
import redis

from checks import URL, end, equal, ok, raises, run, until

app = celery.Celery("celery_worker", broker=URL, backend=URL[:-1] + "1")
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True, result_expires=100)


@app.task
def add(a, b):
    return a + b


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


@contextlib.contextmanager
def worker():
    with redis.Redis.from_url(URL) as client, open("worker.log", "wb") as log:
        client.flushall()
        process = subprocess.Popen([sys.executable, "-B", "-m", "celery", "-A", "celery_worker", "worker", "--concurrency", "2", "--loglevel", "INFO"],
                                   stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__)) + ":" + os.environ["PYTHONPATH"]})
        try:
            yield process, client
        except Exception:
            with open("worker.log", errors="replace") as said:
                print(said.read()[-2000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def tasks(given):
    process, client = given
    began = time.monotonic()
    equal(add.delay(2, 3).get(timeout=20), 5)
    equal([r.get(timeout=30) for r in [add.delay(i, i) for i in range(100)]], [2 * i for i in range(100)])
    raises(ValueError, "wrong water", fail.delay("wrong water").get, timeout=30)
    equal(third_time.delay().get(timeout=30), 2)
    equal(celery.group(add.s(i, 1) for i in range(10))().get(timeout=30), list(range(1, 11)))
    equal((add.s(1, 2) | add.s(10))().get(timeout=30), 13)
    equal(celery.chord([add.s(i, i) for i in range(5)], total.s())().get(timeout=30), 20)
    late = add.apply_async((1, 1), countdown=1)
    equal(late.get(timeout=30), 2)
    ok(client.hlen("unacked") == 0)
    # What the transport does every ten seconds: it takes a lock and looks for what no worker has acknowledged.
    until("the first restore", lambda: time.monotonic() - began > 12 or process.poll() is not None, 20)
    equal(process.poll(), None)
    equal(add.delay(3, 4).get(timeout=30), 7)


@app.task
def total(numbers):
    return sum(numbers)


if __name__ == "__main__":
    end(run([tasks], worker))
