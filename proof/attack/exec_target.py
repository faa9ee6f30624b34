"""The command that the fixture's `exec` destination runs: writes down what it was given, and misbehaves where the body
asks for it with `{"play": …}`. Argument: the directory to write into."""

import json
import os
import signal
import sys
import time

directory = sys.argv[1]
body = sys.stdin.buffer.read()
event = os.environ.get("TENTERHOOK_EVENT_ID", "")
record = {"argv": sys.argv[2:], "environment": dict(os.environ), "body_hex": body.hex(), "pid": os.getpid()}
path = os.path.join(directory, f"run-{time.time_ns()}-{os.getpid()}.json")
with open(path + ".part", "w", encoding="utf-8", errors="surrogateescape") as file:
    json.dump(record, file)
os.rename(path + ".part", path)


def remember():
    """Leaves this process's id behind, so that its end can be checked."""
    with open(os.path.join(directory, "pids"), "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")


try:
    play = json.loads(body).get("play")
except (ValueError, AttributeError):
    play = None
if play == "daemonise":
    # The grandchild keeps our standard output open and outlives us, in a session of its own only if it may.
    if os.fork() == 0:
        remember()
        time.sleep(60)
elif play == "ignore sigterm":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    remember()
    time.sleep(60)
elif play == "forks":
    for _ in range(1000):
        if os.fork() == 0:
            remember()
            time.sleep(60)
            os._exit(0)
    time.sleep(60)
elif play == "output":
    remember()
    while True:
        os.write(1, b"x" * 65536)
elif play == "signal":
    os.kill(os.getpid(), signal.SIGSEGV)
elif play == "sleep":
    remember()
    time.sleep(60)
