"""A healthy client beside an attack: genuine requests at an even pace on a connection of its own, and what an answer
costs before and during. Also tells how long the machine let a gateway wait for a processor, which is nobody's fault."""

import os
import threading
import time

import http1

PACE_S = 0.04
BASELINE_S = 1.0
# On a small machine attacker, gateway and client share the processors: below this nothing is called slow.
FLOOR_S = 0.5


def starved(pid):
    """For how long threads of a process were ready to run and did not get a processor, at most, in seconds."""
    longest = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                longest = max(longest, int(file.read().split()[1]))
    except OSError:
        pass
    return longest / 1e9


class Starvation:
    """How long a gateway and this very process had to wait for a processor since it was made, together."""

    def __init__(self, gateway):
        self.pids = [os.getpid()] + ([] if gateway.is_stand_in else [gateway.process.pid])
        self.begin = [starved(pid) for pid in self.pids]

    def seconds(self):
        """So far."""
        return sum(max(0.0, starved(pid) - begin) for pid, begin in zip(self.pids, self.begin))


class Healthy:
    """Runs from `start` to `stop`. What it measures before `attack` is the baseline."""

    def __init__(self, arena, gateway):
        self.arena, self.gateway = arena, gateway
        self.baseline, self.during, self.errors = [], [], []
        self.late = []  # by how much it woke up late itself: what the machine does to everybody
        self.is_attack, self.is_over = False, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.answered = 0

    def __enter__(self):
        self.thread.start()
        time.sleep(BASELINE_S)
        self.is_attack = True
        return self

    def __exit__(self, *_):
        deadline = time.monotonic() + 3
        while len(self.during) < 3 and time.monotonic() < deadline:
            time.sleep(PACE_S)
        self.is_over.set()
        self.thread.join(15)

    def _run(self):
        connection = None
        while not self.is_over.is_set():
            data, _ = self.arena.control_request(keep=True)
            waited = Starvation(self.gateway)
            started = time.monotonic()
            try:
                connection = connection or http1.Connection(self.gateway.target)
                response = connection.ask(data)
                status, closing = response.status, response.header("connection") == "close"
            except OSError as error:
                status, closing = f"{type(error).__name__}: {error}", True
            took = time.monotonic() - started - waited.seconds()
            (self.during if self.is_attack else self.baseline).append(max(took, 0.0))
            if status != 202:
                self.errors.append(status)
            else:
                self.answered += 1
            if closing and connection:
                connection.close()
                connection = None
            slept = time.monotonic()
            self.is_over.wait(PACE_S)
            if self.is_attack:
                self.late.append(max(0.0, time.monotonic() - slept - PACE_S))
        if connection:
            connection.close()

    def problems(self):
        """What was wrong."""
        found = [f"the healthy client got {self.errors[:3]} ({len(self.errors)} errors)"] if self.errors else []
        if not self.during:
            return found + ["the healthy client had no turn"]
        before, during = p99(self.baseline), p99(self.during)
        # An answer needs several turns of a processor, of gateway and client.
        if during > max(2 * before, FLOOR_S) + 4 * p99(self.late):
            found.append(f"p99 of the healthy client {during * 1000:.0f} ms, before {before * 1000:.0f} ms")
        return found


def p99(values):
    """The 99th percentile; the largest of a few."""
    return sorted(values)[int(len(values) * 0.99) if len(values) > 100 else -1] if values else 0.0
