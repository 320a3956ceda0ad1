#!/usr/bin/env python3
"""Types beginnings of lines into real shells, presses Tab, and reads what the shells made of them.

complete.py <directory of the completion scripts>
"""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# Seconds that a shell gets for one answer.
PATIENCE = 60

# What is typed, and what stands there after Tab.
CASES = [
    ("openclaw nodes desc", "openclaw nodes describe"),
    ("openclaw devices keys cr", "openclaw devices keys create"),
    ("openclaw exec-approvals allow", "openclaw exec-approvals allowlist"),
    ("openclaw gateway run --bi", "openclaw gateway run --bind"),
    ("openclaw gateway run --bind tail", "openclaw gateway run --bind tailnet"),
    ("openclaw gateway run --bind=tail", "openclaw gateway run --bind=tailnet"),
    ("openclaw --profile nodes devices key", "openclaw --profile nodes devices keys"),
    ("openclaw config get gateway.custom", "openclaw config get gateway.customBindHost"),
    ("openclaw completion -s fi", "openclaw completion -s fish"),
    ("openclaw nodes list --conn", "openclaw nodes list --connected"),
    ("openclaw nodes list --no-c", "openclaw nodes list --no-color"),
    ("openclaw qr --svg /etc/hostn", "openclaw qr --svg /etc/hostname"),
    ("openclaw approvals check -- sha256s", "openclaw approvals check -- sha256sum"),
    # A switch of this command, and an option with a value of another.
    ("openclaw approvals get --gateway --js", "openclaw approvals get --gateway --json"),
    ("openclaw node join --gateway nodes --js", "openclaw node join --gateway nodes --json"),
    ("openclaw approvals allowlist remove --gateway /etc/hostn", "openclaw approvals allowlist remove --gateway /etc/hostn"),
    # Nothing fits: the line stays.
    ("openclaw nodes list --raw-s", "openclaw nodes list --raw-s"),
    ("openclaw nodes approve desc", "openclaw nodes approve desc"),
]


class Shell:
    """An interactive shell on a terminal of its own, with an empty home."""

    def __init__(self, command, lines):
        self.home = tempfile.mkdtemp()
        environment = {
            "HOME": self.home,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
            "HISTFILE": "",
            "COLUMNS": "500",
        }
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(self.home)
            os.execvpe(command[0], command, environment)
        for at, line in enumerate(lines):
            self.send(f"{line}; echo @read''y{at}@\r")
            self.wait(rf"@ready{at}@")

    def send(self, text):
        os.write(self.terminal, text.encode())

    def wait(self, pattern):
        """The first group, or all, of what matches in what the shell writes from now on."""
        seen, end = "", time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.5)[0]:
                seen += os.read(self.terminal, 65536).decode(errors="replace").replace("\a", "")
            found = re.search(pattern, seen)
            if found:
                return found.group(found.lastindex or 0)
        raise SystemExit(f"waited in vain for {pattern!r}; the shell wrote:\n{seen}")

    def completed(self, typed):
        """The line after Tab. It is printed by the shell itself, as a word between marks, and not run."""
        self.send(f"\x15{typed}\t\x01echo '@\x05@'\r")
        return self.wait(r"[\r\n]@([^@\r\n]*)@").rstrip(" =")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)
        shutil.rmtree(self.home, ignore_errors=True)


def fish(scripts, typed):
    """The same of fish, which completes a line by itself when it is asked to."""
    home = tempfile.mkdtemp()
    command = ["fish", "--no-config", "-c", f"source {scripts}/fish/openclaw.fish; complete -C '{typed}'"]
    environment = {"HOME": home, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    shutil.rmtree(home, ignore_errors=True)
    if result.returncode or result.stderr:
        raise SystemExit(f"fish: {result.stderr}")
    words = [line.split("\t")[0] for line in result.stdout.splitlines()]
    before = typed[: typed.rindex(" ") + 1]
    return before + words[0] if len(words) == 1 else f"{typed}" if not words else f"{before}{words}"


def main():
    scripts = os.path.abspath(sys.argv[1])
    ways = [
        ("bash", ["bash", "--norc", "--noprofile", "-i"], [f". {scripts}/bash/openclaw"]),
        ("zsh, from fpath", ["zsh", "-f", "-i"], [f"fpath=({scripts}/zsh $fpath)", "autoload -Uz compinit", "compinit -D -u"]),
        ("zsh, sourced", ["zsh", "-f", "-i"], [f". {scripts}/zsh/_openclaw"]),
    ]
    wrong = 0
    for name, command, lines in ways:
        shell = Shell(command, lines)
        for typed, wanted in CASES:
            got = shell.completed(typed)
            if got != wanted:
                wrong += 1
                print(f"{name}: {typed!r} became {got!r} instead of {wanted!r}")
        shell.close()
    for typed, wanted in CASES:
        got = fish(scripts, typed)
        if got != wanted:
            wrong += 1
            print(f"fish: {typed!r} became {got!r} instead of {wanted!r}")
    if wrong:
        raise SystemExit(f"{wrong} completions are wrong")
    print(f"{len(CASES)} lines completed as they should be in bash, zsh (both ways) and fish")


main()
