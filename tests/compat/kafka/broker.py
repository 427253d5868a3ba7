"""A real Apache Kafka broker for tests: KRaft, one node, on free ports of 127.0.0.1, in a folder of its own.

The jars come from Maven Central by pom.xml and stay under target/compat/kafka. Needs java and mvn.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
WORK = os.path.join(ROOT, "target", "compat", "kafka")
JARS = os.path.join(WORK, "jars")

SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.backoff.ms=500
log.segment.delete.delay.ms=100
"""


def jars():
    """The class path, fetched once."""
    if not os.path.isdir(JARS) or not os.listdir(JARS):
        os.makedirs(JARS, exist_ok=True)
        fetch = ["mvn", "-q", "-B", "-f", os.path.join(HERE, "pom.xml"), "dependency:copy-dependencies",
                 "-DoutputDirectory=" + JARS]
        for attempt in range(3):
            if subprocess.run(fetch, stdin=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(5)
        else:
            sys.exit("kafka: the jars could not be fetched")
    return os.path.join(JARS, "*")


def java(main, *args, heap="256m", **options):
    command = ["java", "-Xmx" + heap, "-XX:+UseSerialGC", "-cp", jars(), main, *args]
    return subprocess.Popen(command, stdin=options.pop("stdin", subprocess.DEVNULL), **options)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Broker:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tidewater-kafka-")
        self.port, self.controller = free_port(), free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self.settings = os.path.join(self.folder, "server.properties")
        with open(self.settings, "w") as f:
            f.write(SETTINGS.format(port=self.port, controller=self.controller, folder=self.folder))
        self.process = None
        log = open(os.path.join(self.folder, "format.log"), "wb")
        formatted = java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", self.settings,
                         stdout=log, stderr=log)
        if formatted.wait(60):
            with open(log.name) as said:
                sys.exit("kafka: the storage could not be formatted: " + said.read())

    def start(self):
        log = open(os.path.join(self.folder, "broker.log"), "ab")
        self.process = java("kafka.Kafka", self.settings, heap="768m", stdout=log, stderr=log)
        from confluent_kafka.admin import AdminClient
        self.admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        end = time.monotonic() + 90
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                if self.admin.list_topics(timeout=2).brokers:
                    return self
            except Exception:  # noqa: BLE001: not up yet
                pass
        with open(log.name, errors="replace") as said:
            sys.exit("kafka: the broker does not come up: " + said.read()[-2000:])

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, topic, partitions=1, **config):
        from confluent_kafka.admin import NewTopic
        config = {k.replace("_", "."): str(v) for k, v in config.items()}
        made = self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)])
        made[topic].result(30)

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(30)
        end = time.monotonic() + 30
        while topic in self.admin.list_topics(timeout=5).topics and time.monotonic() < end:
            time.sleep(0.05)
