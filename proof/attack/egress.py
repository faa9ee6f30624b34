"""Drives the cases in which the handler is the attacker: it plays what the case asks for, on the first attempt of an
event each, while healthy events go to the same destination."""

import dataclasses
import datetime
import json
import re
import time

import fire
import gateway as gateways
import http1
import plan as plans
import plays
import request as requests
import watch

ATTEMPT_S = 5.0


def drive(shot, arena, tls, listener, run):
    """One event for each play, and healthy ones between them."""
    chosen = _plays(shot, arena)
    with arena.fresh(tls, app_timeout="3s") as gateway:
        if gateway.is_stand_in:
            raise requests.CannotRun("a stand-in delivers nothing")
        fired = fire.Fired(shot, arena, gateway, listener, plans.Plan([]))
        gateway.reset_peak()
        fired.before, fired.facts["rss"] = watch.look(gateway, arena), gateway.rss()
        played = [_send(fired, play) for play in chosen]
        healthy = [_send(fired, None) for _ in range(5)]
        _await_first_attempts(fired, played)
        _judge_healthy(fired, healthy)
        for event, play in played:
            _judge(fired, event, play)
        fired.after = watch.look(gateway, arena)
        fired.facts["done"] = _measured(shot)
        fire.judge_statuses(fired)
        fire.judge_control(fired)
        fired.problems += watch.always(gateway, fired.before, arena)
        run.note(shot, listener, fired)
    return []


def _plays(shot, arena):
    text = shot.note + " " + shot.generator + " " + shot.name
    chosen = [f"retry-after {value}" for value in plays.retry_afters(text)]
    for name in plays.asked_for(text):
        chosen.append(f"redirect http://127.0.0.1:{arena.canary.port}/moved" if name == "redirect" else name)
    if not chosen:
        raise requests.CannotRun(f"words that are not understood: {shot.note!r}")
    return chosen


def _send(fired, play):
    """Sends a genuine event; returns it with its play."""
    context = fire.context_for(fired.arena, fired.gateway, fired.shot)
    body = json.dumps({"type": "egress", "play": play, "n": fired.arena.random.getrandbits(40)}).encode()
    step = plans.Send(requests.build(_plain(fired.shot), context, body=body))
    msg_id = next((v for k, v in step.request.headers if k.lower() == "webhook-id"), None)
    if play:
        fired.arena.handler.plays[msg_id] = [play]
    exchange = http1.exchange(fired.gateway.target, step.request.data, extra=0)
    fired.sent.append((step, exchange))
    event = json.loads(exchange.first.body)["id"] if exchange.status == 202 else None
    return event, play


def _plain(shot):
    return dataclasses.replace(shot, generator="", transport="http1")


def _await_first_attempts(fired, played):
    """Until each attempt that was played with is on record."""
    deadline = time.monotonic() + 20
    for event, _ in played:
        while event and time.monotonic() < deadline and not _attempts(fired, event):
            time.sleep(0.05)


def _attempts(fired, event):
    return [a for d in fired.gateway.event(event)["deliveries"] for a in d["attempt_log"]]


def _judge_healthy(fired, healthy):
    ids = {event for event, _ in healthy}
    seen = fired.arena.handler.wait(fired.before.mark, lambda seen: ids <= fire.ids_of(seen), 10)
    missing = ids - fire.ids_of(seen)
    if missing:
        fired.problems.append(f"{len(missing)} healthy events were not delivered beside it")


def _judge(fired, event, play):
    if event is None:
        return
    attempts = _attempts(fired, event)
    if not attempts:
        fired.problems.append(f"{play}: no attempt is on record after 20 s")
        return
    first = attempts[0]
    succeeded = first["verdict"] == "complete"
    expected = plays.PLAYS.get(play, (None, "failed"))[1]
    if expected == "failed" and succeeded:
        fired.problems.append(f"{play}: counted as delivered ({first})")
    if len(first["excerpt"]) > 64 << 10:
        fired.problems.append(f"{play}: {len(first['excerpt'])} characters of the answer are kept")
    if play in ("long body", "endless chunked") and "truncated" not in first["excerpt"] and first["excerpt"]:
        fired.problems.append(f"{play}: the record does not say that it was cut: {first['excerpt'][-60:]!r}")
    _judge_credit(fired, event, play, succeeded)
    if play.startswith("retry-after"):
        _judge_due(fired, event, play, first)


def _judge_credit(fired, event, play, succeeded):
    """Delivered means that this event was answered well: never by what was left over from another one."""
    seen = [r for r in fired.arena.handler.since(fired.before.mark) if r.header("tenterhook-event-id") == event]
    answered_well = any(r.played == "ok" for r in seen)
    state = fired.gateway.event(event)["state"]
    if state == "delivered" and not answered_well and not succeeded:
        fired.problems.append(f"{play}: delivered, but the handler never said so")
    after = False, None
    for r in fired.arena.handler.since(fired.before.mark):
        if after == (True, r.connection):
            fired.problems.append(f"{play}: the connection was used again")
        if r.played == play and r.header("tenterhook-event-id") == event:
            after = True, r.connection


def _judge_due(fired, event, play, first):
    delivery = fired.gateway.event(event)["deliveries"][0]
    if delivery["state"] == "delivered":
        started = [_time(a["started_at"]) for a in _attempts(fired, event)]
        gap = started[1] - started[0] if len(started) > 1 else 0
        if gap < 0.7:
            fired.problems.append(f"{play}: tried again after {gap:.2f} s")
        return
    due = _time(delivery["due_at"]) - _time(first["started_at"]) if delivery["due_at"] else None
    if due is None or not 0.7 <= due <= gateways.RETRY_CAP_S * 1.25 + 1:
        fired.problems.append(f"{play}: due {due} s after the attempt, in state {delivery['state']}")


def _time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _measured(shot):
    done = ["truncated=true", "no cross-event success", "next_attempt_at between"]
    return [words for words in done if any(re.search(words, sentence) for sentence in shot.also)]
