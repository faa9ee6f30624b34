"""Drives the cases in which a command misbehaves: the fixture's command plays what the case describes, and afterwards
nothing of it may be left."""

import dataclasses
import json
import os
import re
import time

import fire
import gateway as gateways
import healthy
import http1
import plan as plans
import request as requests
import watch

PLAYS = [
    (r"daemonis|holding stdout", "daemonise"), (r"ignores? SIGTERM", "ignore sigterm"), (r"forks", "forks"),
    (r"writes \d+ GiB|endless output", "output"), (r"exits? by signal", "signal"), (r"sleeps? for ever", "sleep"),
]


def drive(shot, arena, tls, listener, run):
    """One event for each play, one after another, and one that behaves after each."""
    chosen = [play for words, play in PLAYS if re.search(words, shot.note + shot.generator + shot.name)]
    if not chosen:
        raise requests.CannotRun(f"words that are not understood: {shot.note!r}")
    with arena.fresh(tls) as gateway:
        if gateway.is_stand_in:
            raise requests.CannotRun("a stand-in runs nothing")
        fired = fire.Fired(shot, arena, gateway, listener, plans.Plan([]))
        gateway.reset_peak()
        fired.before, fired.facts["rss"] = watch.look(gateway, arena), gateway.rss()
        for play in chosen:
            _play(fired, play)
        _no_zombies(fired)
        fired.after = watch.look(gateway, arena)
        fired.facts["done"] = ("worker free within", "whole process group killed", "captured output", "no zombie")
        fire.judge_statuses(fired)
        fire.judge_control(fired)
        fired.problems += watch.always(gateway, fired.before, arena)
        run.note(shot, listener, fired)
    return []


def _event(fired, document):
    context = fire.context_for(fired.arena, fired.gateway, fired.shot)
    shot = dataclasses.replace(fired.shot, generator="", transport="http1")
    body = json.dumps({**document, "n": fired.arena.random.getrandbits(40)}).encode()
    step = plans.Send(requests.build(shot, context, body=body))
    exchange = http1.exchange(fired.gateway.target, step.request.data, extra=0)
    fired.sent.append((step, exchange))
    return json.loads(exchange.first.body)["id"] if exchange.status == 202 else None


def _settled(fired, event, within):
    """The attempt, once there is one."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        deliveries = fired.gateway.event(event)["deliveries"]
        if deliveries and deliveries[0]["attempt_log"]:
            return deliveries[0]
        time.sleep(0.05)
    return None


def _play(fired, play):
    allowed = gateways.EXEC_TIMEOUT_S + 2
    waited = healthy.Starvation(fired.gateway)
    # Two at the same time: all the workers that there are.
    events = [_event(fired, {"ref": play, "play": play}) for _ in range(2)]
    for event in events:
        delivery = event and _settled(fired, event, allowed + 10)
        if not delivery:
            fired.problems.append(f"{play}: no attempt is on record")
            continue
        attempt = delivery["attempt_log"][0]
        if attempt["took_ms"] / 1000 - waited.seconds() > allowed:
            fired.problems.append(f"{play}: the worker was busy for {attempt['took_ms']} ms")
        if len(attempt["excerpt"]) > 64 << 10:
            fired.problems.append(f"{play}: {len(attempt['excerpt'])} characters of output are kept")
        if play != "daemonise" and attempt["verdict"] == "complete":
            fired.problems.append(f"{play}: counted as delivered")
    after = _event(fired, {"ref": "well-behaved"})
    delivery = after and _settled(fired, after, allowed + 10)
    if not delivery or delivery["state"] != "delivered":
        fired.problems.append(f"{play}: a command after it did not run: {delivery}")
    _nobody_left(fired, play)


def _nobody_left(fired, play):
    path = os.path.join(fired.gateway.directory, "pids")
    if not os.path.exists(path):
        return
    with open(path, encoding="ascii") as file:
        pids = [int(line) for line in file if line.strip()]
    deadline = time.monotonic() + 5
    while (left := [pid for pid in pids if _is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.unlink(path)
    if left:
        fired.problems.append(f"{play}: {len(left)} processes are left")
        for pid in left:
            os.kill(pid, 9)


def _is_alive(pid):
    state = gateways.process_state(pid)
    return state not in ("", "Z", "X")


def _no_zombies(fired):
    deadline = time.monotonic() + 5
    while (left := fired.gateway.zombies()) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        fired.problems.append(f"{len(left)} zombies after 5 s")
