"""Installs the Debian package in a clean tree, as its users do: install.py DEB TAR FOLDER, in namespaces of its own (trees.py).

There is no network but a loopback, so the server has the port that is packaged, and apt all that it needs in the tree.
"""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import trees  # noqa: E402

CONF, UNIT, DATA = "/etc/tidewater/tidewater.conf", "/usr/lib/systemd/system/tidewater.service", "/var/lib/tidewater"
# What any installation of any package changes.
DPKG = {"proc", "run", "tmp", "var/lib/dpkg", "var/lib/apt", "var/cache", "var/log"}
# What adduser makes when it changes a file.
BACKUPS = {f"etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")}


class Tree:
    def __init__(self, root):
        self.root = root

    def __call__(self, *command, status=0, **env):
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", **env}
        return trees.run("chroot", self.root, "env", "-i", *(f"{k}={v}" for k, v in clean.items()), *command, status=status)

    def path(self, name):
        return self.root + name

    def read(self, name):
        with open(self.path(name)) as f:
            return f.read()

    def write(self, name, text, mode=None):
        with open(self.path(name), "w") as f:
            f.write(text)
        if mode:
            os.chmod(f.name, mode)

    def exists(self, name):
        return os.path.lexists(self.path(name))

    def owned(self, name):
        """Owner and mode as the tree's names say them."""
        return self("stat", "-c", "%U:%G %a", name).strip()

    def state(self):
        done = subprocess.run(["chroot", self.root, "dpkg-query", "-W", "-f", "${Status} ${Version}", "tidewater"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout

    def inventory(self):
        return trees.inventory(self.root, *DPKG)


def apt(tree, *words):
    """apt-get without anybody to ask; policy-rc.d's refusals and failing scripts are in what it says."""
    said = tree("apt-get", "-y", "-o", "Dpkg::Use-Pty=0", *words)
    assert not re.search(r"tidewater.*(warning|error)|Failed to|cannot remove|not empty", said), said
    return said


def ask(port, *words):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s, s.makefile("rb") as replies:
        s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in map(str.encode, words)))
        line = replies.readline().decode().rstrip("\r\n")
        if line[0] == "*":
            return [replies.read(int(replies.readline()[1:]) + 2)[:-2].decode() for _ in range(int(line[1:]))]
        return replies.read(int(line[1:]) + 2)[:-2].decode() if line[0] == "$" and line != "$-1" else line


def programs_running():
    """Processes of the server in this namespace."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as f:
            if f.read().startswith("tidewater"):
                found.append(int(pid))
    return found


@contextlib.contextmanager
def service(tree, folder):
    """The server as the unit starts it: its command, user, folder, mask and notification. Ends by SIGTERM."""
    text = tree.read(UNIT)
    setting = lambda name: re.search(rf"^{name}=(.*)$", text, re.MULTILINE)[1]  # noqa: E731
    state = setting("StateDirectory")
    assert setting("WorkingDirectory") == f"%S/{state}" and os.path.join("/var/lib", state) == DATA
    # The manager's socket is where the server can see it.
    name = os.path.join(tree.root, "run", "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        os.chmod(name, 0o777)
        manager.settimeout(30)
        said = open(os.path.join(folder, "server.log"), "w+")
        process = subprocess.Popen(
            ["chroot", f"--userspec={setting('User')}:{setting('Group')}", tree.root, "env", "-i", f"--chdir={DATA}",
             "NOTIFY_SOCKET=/run/notify", *shlex.split(setting("ExecStart"))],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, umask=int(setting("UMask"), 8))
        try:
            try:
                told = manager.recv(4096)
                assert b"READY=1\n" in told, told
            except TimeoutError:
                said.seek(0)
                raise AssertionError(f"the server is not ready: {said.read()}") from None
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, process.returncode
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            said.close()
            os.unlink(name)


def installed(tree, version):
    """What holds after every installation."""
    assert tree.state() == f"install ok installed {version}", tree.state()
    assert not programs_running(), "installing started a server"
    name, _, uid, gid, _, home, shell = tree("getent", "passwd", "tidewater").strip().split(":")
    assert 100 <= int(uid) < 1000 and home == DATA and shell == "/usr/sbin/nologin", (uid, home, shell)
    assert tree("getent", "group", "tidewater").split(":")[2] == gid
    assert tree("id", "-nG", "tidewater").strip() == "tidewater"
    assert tree("getent", "shadow", "tidewater").split(":")[1][0] in "!*", "the user has a password"
    assert tree.owned(DATA) == "tidewater:tidewater 750" and tree.owned("/etc/tidewater") == "tidewater:tidewater 750"
    assert tree.owned(CONF) == "tidewater:tidewater 640", tree.owned(CONF)
    assert tree.owned(UNIT) == "root:root 644" and tree.owned("/usr/bin/tidewater") == "root:root 755"
    # All that dpkg unpacked is as it was packed.
    assert tree("dpkg", "--verify", "tidewater").replace("??5??????", "").split() in ([], ["c", CONF])
    return uid


def next_version(tree, deb, folder, version, change):
    """The package with another version and another configuration."""
    unpacked = os.path.join(folder, version)
    trees.run("dpkg-deb", "--raw-extract", deb, unpacked)
    for name, edit in (("DEBIAN/control", lambda t: re.sub(r"(?m)^Version: .*$", f"Version: {version}", t)),
                       (CONF[1:], lambda t: t + change)):
        with open(os.path.join(unpacked, name), "r+") as f:
            text = edit(f.read())
            f.seek(0)
            f.truncate()
            f.write(text)
    trees.run("dpkg-deb", "--root-owner-group", "-Znone", "--build", unpacked, tree.path(f"/tmp/tidewater_{version}.deb"))
    return f"/tmp/tidewater_{version}.deb"


def main():
    source, tar, folder = sys.argv[1:]
    trees.loopback()
    tree, began = Tree(os.path.join(folder, "debian")), time.monotonic()
    trees.unpack(tar, tree.root)
    before = tree.inventory()
    version = trees.run("dpkg-deb", "--field", source, "Version").strip()
    deb = f"/tmp/tidewater_{version}.deb"
    trees.run("cp", source, tree.path(deb))

    # As an image is made: a policy against starting, no systemd that runs.
    tree.write("/usr/sbin/policy-rc.d", '#!/bin/sh\necho "$@" >>/run/policy\nexit 101\n', 0o755)
    said = apt(tree, "install", deb)
    assert "Setting up tidewater" in said, said
    uid = installed(tree, version)
    assert tree("systemctl", "is-enabled", "tidewater", status=1).strip() == "disabled"
    assert not tree.exists("/etc/systemd/system/multi-user.target.wants/tidewater.service")
    assert tree("dpkg-query", "-W", "-f", "${Conffiles}", "tidewater").split()[0::2] == [CONF]
    tree("systemd-analyze", "verify", "--man=no", UNIT)
    packaged = tree.read(CONF)

    with service(tree, folder) as process:
        with open(f"/proc/{process.pid}/status") as f:
            status = f.read()
        assert set(re.search(r"^Uid:(.*)$", status, re.MULTILINE)[1].split()) == {uid}, status
        assert ask(6379, "PING") == "+PONG" and ask(6379, "SET", "k", "v") == "+OK"
        assert os.readlink(f"/proc/{process.pid}/exe").endswith("/usr/bin/tidewater")
        assert ask(6379, "CONFIG", "GET", "dir") == ["dir", DATA]
        # An edit by the server itself.
        assert ask(6379, "CONFIG", "SET", "maxmemory", "123mb") == "+OK" and ask(6379, "CONFIG", "REWRITE") == "+OK"
    assert tree.owned(DATA + "/dump.rdb") == "tidewater:tidewater 600", tree.owned(DATA + "/dump.rdb")
    assert tree.owned(CONF) == "tidewater:tidewater 640", "CONFIG REWRITE keeps who may read it"
    # And one by hand.
    edited = re.sub(r"(?m)^databases 16$", "databases 17", tree.read(CONF))
    assert "123mb" in edited or str(123 << 20) in edited
    tree.write(CONF, edited)

    # Upgrades: the file that was edited stays, whether the package's has changed or not.
    second = next_version(tree, source, folder, version.replace("-1", "-2"), "")
    apt(tree, "install", second)
    installed(tree, version.replace("-1", "-2"))
    assert tree.read(CONF) == edited and not tree.exists(CONF + ".dpkg-dist")
    third = next_version(tree, source, folder, version.replace("-1", "-3"), "\n# The third.\n")
    apt(tree, "-o", "Dpkg::Options::=--force-confold", "install", third)
    installed(tree, version.replace("-1", "-3"))
    assert tree.read(CONF) == edited and tree.read(CONF + ".dpkg-dist").endswith("# The third.\n")

    # Where systemd runs, the upgrade asks the policy before it restarts anything.
    os.makedirs(tree.path("/run/systemd/system"))
    os.rename(tree.path("/usr/bin/systemctl"), tree.path("/usr/bin/systemctl.real"))
    tree.write("/usr/bin/systemctl", '#!/bin/sh\necho "$@" >>/run/calls\n', 0o755)
    fourth = next_version(tree, source, folder, version.replace("-1", "-4"), "\n# The third.\n")
    apt(tree, "install", fourth)
    assert set(tree.read("/run/calls").splitlines()) == {"--system daemon-reload"}, tree.read("/run/calls")
    assert "tidewater.service try-restart" in tree.read("/run/policy"), tree.read("/run/policy")
    # And without a policy against it, restarts what runs.
    os.unlink(tree.path("/usr/sbin/policy-rc.d"))
    apt(tree, "install", "--reinstall", fourth)
    assert "try-restart tidewater.service" in tree.read("/run/calls"), tree.read("/run/calls")
    assert " start " not in tree.read("/run/calls") and "enable" not in tree.read("/run/calls")
    os.rename(tree.path("/usr/bin/systemctl.real"), tree.path("/usr/bin/systemctl"))
    os.rmdir(tree.path("/run/systemd/system"))

    # Removed: the configuration and the data stay, and no link points nowhere.
    tree("systemctl", "--quiet", "enable", "tidewater")
    assert tree.exists("/etc/systemd/system/multi-user.target.wants/tidewater.service")
    apt(tree, "remove", "tidewater")
    assert tree.state().startswith("deinstall ok config-files"), tree.state()
    assert not tree.exists("/usr/bin/tidewater") and not tree.exists(UNIT)
    assert not tree.exists("/etc/systemd/system/multi-user.target.wants/tidewater.service")
    assert tree.read(CONF) == edited and tree.exists(DATA + "/dump.rdb")
    assert tree("getent", "passwd", "tidewater").split(":")[2] == uid

    # Back again: with the old data and configuration.
    apt(tree, "install", fourth)
    installed(tree, version.replace("-1", "-4"))
    with service(tree, folder):
        assert ask(6379, "GET", "k") == "v"
        assert ask(6379, "CONFIG", "GET", "databases")[1] == "17" and ask(6379, "CONFIG", "GET", "maxmemory")[1] == str(123 << 20)

    # Purged: nothing is left but the user, whose files may be elsewhere. dpkg knows only of the file that it unpacked.
    os.mkdir(tree.path("/etc/tidewater/conf.d"))
    tree.write("/etc/tidewater/conf.d/own.conf", "databases 18\n")
    apt(tree, "purge", "tidewater")
    assert tree.state() == "", tree.state()
    for at in ("/run/policy", "/run/calls"):
        os.unlink(tree.path(at))
    left, gone = tree.inventory() - before - BACKUPS, before - tree.inventory()
    assert not left and not gone, (left, gone)
    assert tree("getent", "passwd", "tidewater").split(":")[2] == uid

    # A purge after a removal is the same; and where there is no systemd at all, as in most containers, it works too.
    os.rename(tree.path("/usr/bin/systemctl"), tree.path("/usr/bin/systemctl.real"))
    apt(tree, "install", deb)
    assert installed(tree, version) == uid and tree.read(CONF) == packaged
    with service(tree, folder):
        assert ask(6379, "GET", "k") == "$-1"
    apt(tree, "remove", "tidewater")
    assert tree.exists(DATA + "/dump.rdb") and tree.exists(CONF)
    apt(tree, "purge", "tidewater")
    os.rename(tree.path("/usr/bin/systemctl.real"), tree.path("/usr/bin/systemctl"))
    left = tree.inventory() - before - BACKUPS
    assert tree.state() == "" and not left, left
    print(f"installed, served as uid {uid}, upgraded 3 times, removed and purged twice in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
