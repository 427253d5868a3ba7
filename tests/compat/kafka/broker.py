"""A real Apache Kafka for tests: KRaft, one node or several, on free ports of 127.0.0.1, in a folder of its own.

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
process.roles={roles}
node.id={node}
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data-{node}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
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
    """The brokers of a cluster; the first is its controller, too."""

    def __init__(self, nodes=1):
        self.folder = tempfile.mkdtemp(prefix="tidewater-kafka-")
        controller = free_port()
        self.ports = [free_port() for _ in range(nodes)]
        self.servers = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.processes, self.turn = [None] * nodes, 0
        for i, port in enumerate(self.ports):
            listeners, roles = f"PLAINTEXT://127.0.0.1:{port}", "broker"
            if i == 0:
                listeners, roles = f"{listeners},CONTROLLER://127.0.0.1:{controller}", "broker,controller"
            with open(self.settings(i), "w") as f:
                f.write(SETTINGS.format(node=i + 1, port=port, controller=controller, roles=roles, listeners=listeners,
                                        folder=self.folder))
            log = open(os.path.join(self.folder, "format.log"), "wb")
            formatted = java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", self.settings(i),
                             stdout=log, stderr=log)
            if formatted.wait(60):
                with open(log.name) as said:
                    sys.exit("kafka: the storage could not be formatted: " + said.read())

    def settings(self, node):
        return os.path.join(self.folder, f"server-{node + 1}.properties")

    @property
    def process(self):
        return self.processes[0]

    def start(self):
        for node in range(len(self.processes)):
            self.start_node(node)
        from confluent_kafka.admin import AdminClient
        self.admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        return self.until_up()

    def start_node(self, node):
        log = open(os.path.join(self.folder, f"broker-{node + 1}.log"), "ab")
        heap = "768m" if len(self.processes) == 1 else "384m"
        self.processes[node] = java("kafka.Kafka", self.settings(node), heap=heap, stdout=log, stderr=log)

    def until_up(self):
        """All nodes answer for the cluster, and every partition has a leader and all its replicas in sync."""
        end = time.monotonic() + 90
        while time.monotonic() < end and all(process.poll() is None for process in self.processes):
            try:
                seen = self.admin.list_topics(timeout=2)
                partitions = [p for topic in seen.topics.values() for p in topic.partitions.values()]
                if len(seen.brokers) == len(self.processes) and all(p.leader > 0 and len(p.isrs) == len(p.replicas) for p in partitions):
                    return self
            except Exception:  # noqa: BLE001: not up yet
                pass
            time.sleep(0.05)
        for node in range(len(self.processes)):
            with open(os.path.join(self.folder, f"broker-{node + 1}.log"), errors="replace") as said:
                print(said.read()[-2000:])
        sys.exit("kafka: the brokers do not come up")

    def stop_node(self, node, how):
        process = self.processes[node]
        if process and process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop(self, how=signal.SIGTERM):
        for node in reversed(range(len(self.processes))):
            self.stop_node(node, how)

    def roll(self):
        """Ends one broker and starts it again: of several, each in its turn but the controller, so that leaders change."""
        if len(self.processes) == 1:
            self.stop()
            self.start()
            return
        self.turn += 1
        node = 1 + self.turn % (len(self.processes) - 1)
        self.stop_node(node, signal.SIGKILL if self.turn % 2 else signal.SIGTERM)
        self.start_node(node)
        self.until_up()

    def close(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, topic, partitions=1, **config):
        from confluent_kafka.admin import NewTopic
        config = {k.replace("_", "."): str(v) for k, v in config.items()}
        made = self.admin.create_topics([NewTopic(topic, partitions, len(self.processes), config=config)])
        made[topic].result(30)

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(30)
        end = time.monotonic() + 30
        while topic in self.admin.list_topics(timeout=5).topics and time.monotonic() < end:
            time.sleep(0.05)
