#!/usr/bin/env python3
"""Sits at a terminal: waits for each question, types its answer, then lets the program go on until SIGTERM.

usage: demo-person.py <seconds> <question>=<answer>... -- <program> <argument>...
Everything the terminal shows goes to stdout. Exit code 1 when a question does not come within the seconds.
"""

import os
import pty
import select
import signal
import sys
import time


def main():
    patience, cut = float(sys.argv[1]), sys.argv.index("--")
    talk = [pair.split("=", 1) for pair in sys.argv[2:cut]]
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(sys.argv[cut + 1], sys.argv[cut + 1 :])
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    unread = ""
    deadline = time.monotonic() + patience
    while True:
        left = deadline - time.monotonic() if talk else None
        if left is not None and left <= 0:
            print(f"\nnobody asked: {talk[0][0]}", file=sys.stderr)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            sys.exit(1)
        if not select.select([terminal], [], [], left)[0]:
            continue
        try:
            shown = os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            shown = ""
        if not shown:
            break
        sys.stdout.write(shown)
        sys.stdout.flush()
        unread += shown
        if talk and talk[0][0] in unread:
            os.write(terminal, (talk[0][1] + "\n").encode())
            talk.pop(0)
            unread = ""
            deadline = time.monotonic() + patience
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or (1 if talk else 0))


main()
