"""Clean Debian trees, as tars that are made once, and namespaces to use them in.

What a test mounts and starts is in a mount and a process namespace of its own, and the trees are in memory there: when the test
ends, however it ends, all of it is gone.
"""

import fcntl
import os
import shlex
import shutil
import socket
import struct
import subprocess

SUITE = "bookworm"


class Skipped(Exception):
    """A row that cannot run here, and why."""


class Failed(Exception):
    """A command that ended badly, with what it said."""


def run(*command, timeout=300, env=None, status=0, **options):
    """Runs a command; its output, if it ends as expected."""
    done = subprocess.run(command, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options)
    if done.returncode != status:
        raise Failed(f"{shlex.join(map(str, command))}: status {done.returncode}\n{done.stdout[-6000:]}")
    return done.stdout


def needed(*programs):
    if os.getuid():
        raise Skipped("it needs root")
    for program in programs:
        assert shutil.which(program), f"{program} is needed"


def isolated(*command, network=True):
    """The command in namespaces of its own; it dies with who started it. Without the network there is only `loopback`."""
    # /proc is mounted over the old one, which would show the wrong processes.
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            *([] if network else ["--net"]), *command]


def loopback():
    """Brings up the loopback of a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        up = 0x1 | 0x40
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", up))  # SIOCSIFFLAGS


def mirror():
    """Where this machine's apt gets Debian from."""
    with open("/etc/os-release") as f:
        own = dict(line.rstrip("\n").split("=", 1) for line in f if "=" in line).get("VERSION_CODENAME", SUITE)
    listed = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    for line in listed.splitlines():
        uri, release, component = line.rsplit(" ", 2)
        if component == "main" and release in (SUITE, own, "stable"):
            return uri
    raise AssertionError(f"apt has no source for Debian's {SUITE} or {own}")


def base(folder, *packages):
    """The tar of a minimal tree with these packages, which debootstrap makes if it is not in the folder."""
    path = os.path.join(folder, "-".join([SUITE, *packages]) + ".tar")
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        work = path + ".tree"
        os.makedirs(work, exist_ok=True)
        proxy = run("apt-config", "shell", "p", "Acquire::http::Proxy").strip().removeprefix("p=").strip("'")
        include = [f"--include={','.join(packages)}"] if packages else []
        script = ('mount -t tmpfs -o mode=755 tree "$1"\n'
                  'debootstrap --variant=minbase "${@:5}" "$3" "$1" "$4"\n'
                  'rm -f "$1"/var/cache/apt/archives/*.deb "$1"/var/log/bootstrap.log\n'
                  'tar -C "$1" --numeric-owner -cf "$2" .')
        run(*isolated("bash", "-euc", script, "bash", work, path + ".part", SUITE, mirror(), *include), timeout=600,
            env={"http_proxy": proxy} if proxy else None)
        os.rename(path + ".part", path)
        os.rmdir(work)
    return path


def unpack(tar, root):
    """The tree in memory, with /proc; only in a mount namespace."""
    os.makedirs(root, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tree", root)
    run("tar", "-C", root, "--numeric-owner", "-xf", tar)
    run("mount", "-t", "proc", "proc", os.path.join(root, "proc"))


def inventory(root, *without):
    """Every path under a tree, but for the contents of some folders."""
    found = set()
    for folder, folders, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        folders[:] = [f for f in folders if os.path.normpath(os.path.join(relative, f)) not in without]
        found.update(os.path.normpath(os.path.join(relative, name)) for name in folders + files)
    return found
