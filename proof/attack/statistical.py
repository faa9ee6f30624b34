"""Drives the cases that compare times: two kinds of requests, one after the other at random, and Welch's t-test on how
long their answers took. It finds a comparison that ends early, not one of nanoseconds: that needs the many samples of a
full run."""

import dataclasses
import math
import re

import budget
import fire
import http1
import mutations
import plan as plans
import request as requests
import watch

T_MAX = 4.5


def drive(shot, arena, tls, listener, run):
    """The case against each of its variants; without any, a signature that is wrong in its first against one that is
    wrong in its last place."""
    if shot.name:
        return []
    with arena.fresh(tls, log_filter="info") as gateway:
        if gateway.is_stand_in:
            raise requests.CannotRun("a stand-in takes no time")
        fired = fire.Fired(shot, arena, gateway, listener, plans.Plan([]), facts={"rss": gateway.rss()})
        fired.before = watch.look(gateway, arena)
        context = fire.context_for(arena, gateway, shot)
        classes = _classes(shot, context, run)
        count = mutations.count_before("samples|requests|times", shot.texts, budget.SAMPLES_MAX)
        count = budget.bounded(count, budget.SAMPLES_MAX, "samples", shot)
        for name, other in classes[1:]:
            _compare(fired, classes[0], (name, other), count)
        fired.after = watch.look(gateway, arena)
        if shot.expect_no_event:
            fired.problems += watch.untouched(fired.before, fired.after, arena)
        fire.judge_control(fired)
        fired.problems += watch.always(gateway, fired.before, arena)
        fired.facts["is_final"] = True
        run.note(shot, listener, fired)
    return []


def _classes(shot, context, run):
    variants = [s for s in run.shots if s.name]
    plain = [dataclasses.replace(s, transport="http1", generator="") for s in (shot, *variants)]
    if variants:
        return [(s.name or "the case", requests.build(s, context)) for s in plain]
    source = context.fixture.sources.get(requests.Builder(shot, context).source() or "")
    if source is None:
        raise requests.CannotRun("there are no variants to compare, and no signature to change")
    genuine = requests.build(dataclasses.replace(plain[0], headers=[
        (k, v) for k, v in plain[0].headers if k.lower() != source.scheme.header.lower()]), context)
    found = []
    for name, position in (("wrong in its first place", 0), ("wrong in its last place", -2)):
        wrong = list(genuine.expected)
        wrong[position] = "0" if wrong[position] != "0" else "1"
        signing = plans.requests.signer.Signing([], b"", "", plans.now_text())
        headers = [*genuine.headers, (source.scheme.header, source.scheme.wrap(signing, "".join(wrong)))]
        data = http1.request_bytes(genuine.method, genuine.path, headers, genuine.body)
        found.append((name, dataclasses.replace(genuine, data=data)))
    return found


def _compare(fired, one, other, count):
    connection = None
    times = ([], [])
    rng = fired.arena.random
    for _ in range(2 * count):
        which = rng.getrandbits(1)
        connection = connection or http1.Connection(fired.gateway.target)
        started = http1.time.perf_counter_ns()
        response = connection.ask((one, other)[which][1].data)
        times[which].append(http1.time.perf_counter_ns() - started)
        if response.status not in fired.shot.expect_status:
            fired.problems.append(f"answered {response.status}")
            return
        if response.header("connection") == "close":
            connection.close()
            connection = None
    if connection:
        connection.close()
    t = welch(*(_without_outliers(values, sorted(times[0] + times[1])) for values in times))
    limit = re.search(r"\|t\|\s*<=?\s*([\d.]+)", " ".join(fired.shot.also))
    if abs(t) > float(limit.group(1) if limit else T_MAX):
        fired.problems.append(f"{one[0]} against {other[0]}: t = {t:.1f} over {count} samples each")


def _without_outliers(values, everything):
    # What the machine did in between says nothing about the comparison.
    most = everything[int(len(everything) * 0.8)]
    return [value for value in values if value <= most]


def welch(a, b):
    """Welch's t."""
    def moments(values):
        mean = sum(values) / len(values)
        return mean, sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1) / len(values)
    (mean_a, var_a), (mean_b, var_b) = moments(a), moments(b)
    return (mean_a - mean_b) / math.sqrt(var_a + var_b or 1)
