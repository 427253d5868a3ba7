"""Runs the commands of a document: its fenced blocks that are marked `sh run`, in order, in one shell and an empty folder.

A block marked `text output` behind one is what that one prints, to the letter. Ports come from variables that the document
sets only when they are not set.
"""

import os
import re
import shutil
import signal
import socket
import subprocess


def blocks(text):
    """The marked blocks: the line that they begin at, the commands, and the output that is shown, if any."""
    found = []
    for m in re.finditer(r"^```(sh run|text output)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if m[1] == "sh run":
            found.append([text.count("\n", 0, m.start()) + 1, m[2], None])
        else:
            assert found and found[-1][2] is None, "output without commands"
            found[-1][2] = m[2]
    return found


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def check(path, binary, folder):
    with open(path) as f:
        found = blocks(f.read())
    assert len(found) > 10 and sum(b[2] is not None for b in found) > 5, "the document's blocks are not found"
    programs, work = os.path.join(folder, "bin"), os.path.join(folder, "work")
    os.makedirs(programs)
    os.makedirs(work)
    os.symlink(binary, os.path.join(programs, "tidewater"))
    for needed in ("redis-server", "redis-cli"):
        assert shutil.which(needed), f"{needed} is needed"
    redis_port, tidewater_port = free_ports(2)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("REDIS", "TIDEWATER"))}
    environment.update(PATH=f"{programs}:{environment['PATH']}", REDIS_PORT=str(redis_port), TIDEWATER_PORT=str(tidewater_port))
    shell = subprocess.Popen(["bash", "-euo", "pipefail"], cwd=work, env=environment, stdin=subprocess.PIPE, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    mark = "end of block 7c1f"
    try:
        for line, commands, wanted in found:
            where = f"{os.path.basename(path)}:{line}"
            # Servers in the background must not hold the shell's input.
            shell.stdin.write(f"{{\n{commands}}} </dev/null\nprintf '%s\\n' '{mark}'\n")
            shell.stdin.flush()
            said = []
            for one in shell.stdout:
                if one == mark + "\n":
                    break
                said.append(one)
            else:
                raise AssertionError(f"{where} failed with status {shell.wait()}:\n{commands}--- and said\n{''.join(said)}")
            if wanted is not None:
                assert "".join(said) == wanted, f"{where}:\n{commands}--- said\n{''.join(said)}--- and not\n{wanted}"
        shell.stdin.close()
        assert shell.wait(30) == 0
    finally:
        # What is left of the document's servers is in the shell's group.
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        shell.wait()
        shell.stdout.close()
    return f"{len(found)} blocks, {sum(b[2] is not None for b in found)} outputs compared"
