"""Fires the shots that are requests one after another: `http1`, `raw`, `h2`, `sequence` and `concurrent`. Looks before and
after, judges the answers, and leaves a `Fired` for the sentences under `also`."""

import dataclasses
import json
import re
import threading
import time

import acts
import arena as arenas
import h2
import healthy
import http1
import plan as plans
import request as requests
import watch

# Connections of one `concurrent` case, at most.
CONCURRENT_MAX = 512


@dataclasses.dataclass
class Fired:
    """Everything that was seen of one shot on one listener."""
    shot: object
    arena: object
    gateway: object
    listener: str
    plan: object = None
    sent: list = dataclasses.field(default_factory=list)  # (Send, Exchange)
    before: object = None
    after: object = None
    events: list = dataclasses.field(default_factory=list)  # new events, oldest first, without those of floods
    received: list = dataclasses.field(default_factory=list)  # at the handler
    problems: list = dataclasses.field(default_factory=list)
    facts: dict = dataclasses.field(default_factory=dict)

    @property
    def exchanges(self):
        """The exchanges alone."""
        return [exchange for _, exchange in self.sent]


def context_for(arena, gateway, shot):
    """What requests of this shot are made with."""
    context = requests.Context(arena.fixture, arena.canary.port, arena.canary_file, arena.random)
    if "{{event}}" in shot.path + str(shot.headers):
        context.event = _some_event(gateway, arena)
    return context


def _some_event(gateway, arena):
    events = gateway.events(limit=1)
    if not events:
        arena.control(gateway)
        events = gateway.events(limit=1)
    return events[0]["id"]


def needs_fresh(shot):
    """Whether a shot needs an empty store: it may store an event, and not under an id of its own."""
    if shot.transport in ("sequence", "concurrent"):
        return True
    return not shot.expect_no_event and "{{uuid}}" not in str(shot.headers) + str(shot.body) and \
        "{{admin}}" not in shot.path


def fire(shot, arena, gateway, plan, context, listener):
    """Carries out a plan, and checks everything that holds for any case."""
    fired = Fired(shot, arena, gateway, listener, plan)
    gateway.settled()
    gateway.reset_peak()
    fired.facts["rss"] = gateway.rss()
    fired.before = watch.look(gateway, arena)
    flooded, beside = 0, None
    if any("healthy client" in sentence for sentence in shot.also) and not gateway.is_stand_in:
        beside = fired.facts["healthy"] = healthy.Healthy(arena, gateway)
        beside.__enter__()
    if shot.transport == "concurrent":
        _at_once(fired, plan)
    else:
        for step in plan.steps:
            if isinstance(step, plans.Act):
                accepted, problems = acts.perform(step, gateway, context)
                flooded += accepted - (step.name == "retry until accepted")
                fired.problems += problems
            else:
                fired.sent.append((step, send(step, fired)))
    if beside:
        beside.__exit__()
        flooded += beside.answered
        gateway.settled()
    fired.facts["flooded"] = flooded
    judge_statuses(fired)
    fired.after = watch.look(gateway, arena)
    judge_store(fired)
    judge_control(fired)
    fired.problems += watch.always(gateway, fired.before, arena, [e.raw for e in fired.exchanges])
    return fired


def send(step, fired):
    """Sends one request."""
    shot, request = fired.shot, step.request
    target = fired.gateway.admin if request.admin else fired.gateway.target
    source = step.source
    if request.admin and source is None:
        # Whoever guesses wrong too often has to wait; the shots are not one and the same person.
        source = "127.0." + ".".join(str(fired.arena.random.randrange(1, 255)) for _ in range(2))
    if shot.transport == "h2":
        return h2.exchange(target, request)
    # What is written byte for byte may end anywhere: only there a second answer has to be waited for.
    extra = http1.EXTRA_S if shot.transport == "raw" else 0
    return http1.exchange(target, request.data, extra=extra, head_only=request.method == "HEAD", source=source)


def _at_once(fired, plan):
    match = re.search(r"\d+", fired.shot.transport_text)
    count = min(int(match.group()) if match else 16, CONCURRENT_MAX)
    for step in plan.steps[:-1]:
        fired.sent.append((step, send(step, fired)))
    step, barrier = plan.steps[-1], threading.Barrier(count)
    results = [None] * count

    def run(number):
        barrier.wait(120)
        results[number] = send(step, fired)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fired.sent += [(step, result) for result in results]


def judge_statuses(fired):
    """Each answer is one that the case or the step expects."""
    for step, exchange in fired.sent:
        expected = fired.shot.expect_status if step.expect is None else step.expect
        status = exchange.status
        if exchange.refused:
            fired.problems.append("the connection was refused")
        elif status is None:
            fired.problems.append(f"no answer after {exchange.seconds:.1f} s, and not closed")
        elif expected and status not in expected:
            took = f" after {exchange.seconds:.1f} s" if status == 0 else ""
            fired.problems.append(f"answered {status}{took}, expected {either(expected)}" + _hint(fired, step, exchange))
        elif status >= 500 and status not in expected:
            fired.problems.append(f"answered {status}")


def _hint(fired, step, exchange):
    body = exchange.first.body if exchange.first else b""
    return f" ({step.request.method} {step.request.path[:60]!r}: {body[:100].decode('utf-8', 'replace')})" if body else ""


def either(expected):
    """Statuses in words."""
    return " or ".join("closed" if status == 0 else str(status) for status in expected)


def accepted(fired):
    """The sends that were answered as a new event."""
    found = [(step, exchange) for step, exchange in fired.sent
             if not step.request.admin and exchange.status is not None and 200 <= exchange.status < 300
             and step.request.source and not _is_known(exchange)]
    return found


def _is_known(exchange):
    """Whether a 2xx is not about a new event: it was there before, or a question was answered."""
    try:
        said = json.loads(exchange.first.body)
        return said.get("status") != "accepted" if isinstance(said, dict) else True
    except (ValueError, AttributeError):
        return exchange.status != 202


def judge_store(fired):
    """What was answered as stored is stored, and nothing else."""
    shot, gateway, arena = fired.shot, fired.gateway, fired.arena
    new = fired.after.accepted - fired.before.accepted - fired.facts["flooded"]
    fired.facts["new"] = new
    answered = accepted(fired)
    if not answered and not fired.facts["flooded"] and new == 0 and shot.expect_no_event:
        fired.problems += _traces(fired)
    if shot.expect_no_event and not answered and new and fired.plan.events is None:
        fired.problems.append(f"{new} events were accepted")
    retried = sum(1 for s in fired.plan.steps if isinstance(s, plans.Act) and s.name == "retry until accepted")
    if new != len(answered) + retried:
        fired.problems.append(f"{len(answered) + retried} requests were answered as new events, {new} are stored")
    if fired.plan.events is not None and new != fired.plan.events:
        fired.problems.append(f"{new} new events, expected {fired.plan.events}")
    if new and not gateway.is_stand_in:
        _judge_bodies(fired, answered, new)


def _traces(fired):
    """What a refused request has left behind. The gateway may still have been writing down the end of an earlier
    delivery, and it writes something of its own now and then: what only changed in files is asked for again, and a request
    that writes will write again, where a gateway that is left alone for as long does not."""
    problems = watch.untouched(fired.before, fired.after, fired.arena)
    for _ in range(3):
        if not problems or not all(problem.startswith("files ") for problem in problems) or fired.gateway.is_stand_in:
            break
        fired.gateway.settled()
        before, started = watch.look(fired.gateway, fired.arena), time.monotonic()
        for step, _ in fired.sent:
            send(step, fired)
        problems = watch.untouched(before, watch.look(fired.gateway, fired.arena), fired.arena)
        if problems and _writes_alone(fired, time.monotonic() - started):
            return []
    return problems


def _writes_alone(fired, seconds):
    """Whether the files change although nobody asks for anything: as the store does every ten seconds."""
    if seconds < 1:
        return False  # Nothing is written so often; who waits for it would only find what comes once in a while.
    before, deadline = fired.gateway.files(), time.monotonic() + min(max(12, 2 * seconds), 40)
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if fired.gateway.files() != before:
            return True
    return False


def _judge_bodies(fired, answered, new):
    """Each stored event has the bytes that were sent, and they are delivered once."""
    gateway, arena = fired.gateway, fired.arena
    by_id = {}
    for step, exchange in answered:
        try:
            by_id[json.loads(exchange.first.body)["id"]] = step.request
        except (ValueError, KeyError, AttributeError):
            fired.problems.append("a 2xx does not say which event it is for")
    routed = {i: r for i, r in by_id.items() if r.source not in fired.plan.config.get("unrouted", ())}
    over_http = {i: r for i, r in routed.items() if r.source != "exec"}
    seen = arena.handler.wait(fired.before.mark, lambda seen: over_http.keys() <= ids_of(seen), arenas.DELIVERY_S)
    fired.received = [r for r in seen if r.header("tenterhook-event-id") in by_id]
    for event_id, request in by_id.items():
        fired.events.append({"id": event_id, "source": request.source})
        if gateway.body(event_id) != request.body:
            fired.problems.append(f"the stored body of {event_id} is not what was sent")
    for event_id, request in over_http.items():
        bodies = [r.body for r in seen if r.header("tenterhook-event-id") == event_id]
        if bodies != [request.body]:
            what = f"{len(bodies)} times" if len(bodies) != 1 else "with other bytes"
            fired.problems.append(f"{event_id} was delivered {what}")


def ids_of(seen):
    """The ids of the events in what has arrived."""
    return {received.header("tenterhook-event-id") for received in seen}


def judge_control(fired):
    """A genuine request still gets through, and nothing was stored late."""
    gateway, arena = fired.gateway, fired.arena
    before = gateway.ledger()["events"]["accepted"]
    problem = arena.control(gateway)
    if problem:
        fired.problems.append(problem)
        fired.facts["control_failed"] = True
    elif gateway.ledger()["events"]["accepted"] != before + 1 or before != fired.after.accepted:
        fired.problems.append("events were stored after the answer")
