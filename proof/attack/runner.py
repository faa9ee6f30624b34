"""Runs one case: its shots, on the listeners that each concerns, with the driver that its transport needs."""

import dataclasses
import os
import queue
import re
import threading
import time

import acts
import also
import arena as arenas
import boot
import cases
import egress
import execs
import fire
import gateway as gateways
import load
import plan as plans
import providers
import request as requests
import sources
import stalls
import statistical


# How often a shot is tried again that failed while the machine stood still.
AGAIN_MAX = 3
# Problems that are figures. Where none can be had, a case has not been run; it has neither passed nor failed.
MEASURED = r"p99 of the healthy client|request took [\d.]+ s|of a processor|ms against|t = -?[\d.]+ over|it took [\d.]+ s"


@dataclasses.dataclass
class Result:
    """What became of a case."""
    case_id: str
    is_refusal: bool
    is_of_signature: bool = False  # a refusal for want of a good one, of a request that is well otherwise
    ran: bool = False
    shots: int = 0
    problems: list = dataclasses.field(default_factory=list)  # (label, listener, problem)
    not_run: list = dataclasses.field(default_factory=list)  # (label, why)
    again: list = dataclasses.field(default_factory=list)  # (label, listener, problem, seconds), tried once more
    unchecked: set = dataclasses.field(default_factory=set)
    control_failures: int = 0
    rss: int = 0
    seconds: float = 0.0


def measures(case):
    """Whether a case measures time, memory or a flood, so that nothing may run beside it."""
    generator, transport = str(case.get("generator") or ""), str(case.get("transport") or "").lower()
    words = " ".join([transport, generator, *map(str, case.get("also") or [])])
    if re.search(r"\bload\b|statistical|latency|CPU time|RSS|other ids|healthy client", words):
        return True
    return "h2" in transport and bool(generator)


class Pool:
    """Arenas, one for each case that runs at the moment."""

    def __init__(self, fixture, seed, chosen, make=None, is_quick=False):
        self.fixture, self.seed, self.make, self.is_quick = fixture, seed, make, is_quick
        self.is_control = make is not None or fixture.is_open
        self.by_id = {case["id"]: case for case in reversed(chosen)}
        self.free, self.all, self.lock = queue.SimpleQueue(), [], threading.Lock()

    def run(self, case, progress):
        """Runs a case in a free arena."""
        try:
            arena = self.free.get_nowait()
        except queue.Empty:
            with self.lock:
                number = len(self.all)
                arena = arenas.Arena(self.fixture, self.seed * 1000 + number, self.make)
                self.all.append(arena)
        started = time.monotonic()
        try:
            result = Run(case, arena, self).run()
            result.seconds = time.monotonic() - started
        finally:
            self.free.put(arena)
        progress.finished(result)
        return result

    def close(self):
        """Stops everything."""
        for arena in self.all:
            arena.close()


class Run:
    """One case in one arena."""

    def __init__(self, case, arena, pool):
        self.case, self.arena, self.pool = case, arena, pool
        self.result, self.shots = Result(case["id"], False), []
        try:
            shots = cases.shots(case)
        except cases.BadCase as why:
            self.result.not_run.append((case["id"], str(why)))
            return
        self.shots = shots + [extra for shot in shots for extra in _against(shot)]
        base = shots[0]
        self.result.is_of_signature = base.transport == "http1" and not is_admin(base) and {401} <= set(
            base.expect_status) <= {400, 401, 403, 503} and sources.named_in(base.path) in arena.fixture.sources
        self.result.is_refusal = bool(
            base.expect_no_event and base.expect_status and all(s == 0 or s >= 400 for s in base.expect_status))

    def run(self):
        """Runs every shot."""
        for number, shot in enumerate(self.shots):
            listeners = self._listeners(shot)
            if self.pool.is_quick and shot.name:
                listeners = listeners[number % len(listeners):][:1]
            for tls in listeners:
                if not self._once(shot, tls, "TLS" if tls else "plain"):
                    break
        return self.result

    def _once(self, shot, tls, listener):
        """One shot on one listener; whether it could be run. What fails while the machine stood still is tried again: a
        gateway that does wrong does it then, too."""
        for _ in range(AGAIN_MAX + 1):
            kept = len(self.result.problems), self.result.control_failures
            with stalls.Watch() as watch:
                try:
                    self._fire(shot, tls, listener)
                except requests.CannotRun as why:
                    if not shot.is_extra:
                        self.result.not_run.append((shot.label, str(why)))
                    return False
                except gateways.StartFailed as why:
                    self._problem(shot, listener, f"the gateway did not start: {why}")
                except Exception as error:  # noqa: BLE001 - a bug here is a failure of the case, and never a pass
                    self._problem(shot, listener, f"{type(error).__name__}: {error}{_where(error)}")
            problems = self.result.problems[kept[0]:]
            if not problems or not watch.stalled or self.pool.is_control:
                break
            self.result.again.append((shot.label, listener, problems[0][2], round(watch.seconds, 1)))
            if len(self.result.again) > AGAIN_MAX * 4:
                break
            self.arena.forget(tls)
            del self.result.problems[kept[0]:]
            self.result.control_failures = kept[1]
        else:
            if all(re.search(MEASURED, problem) for _, _, problem in problems):
                self.result.not_run.append((shot.label, f"nothing can be measured ({listener}) where the machine stands "
                                                        f"still for {watch.seconds:.1f} s: {problems[0][2]}"))
                return True
            self.result.problems += problems
            self.result.control_failures += any("control request" in problem for _, _, problem in problems)
        return True

    def _problem(self, shot, listener, problem):
        self.result.ran = True
        self.result.problems.append((shot.label, listener, problem))

    def _listeners(self, shot):
        """Plain and TLS for whatever comes in through ingress; the rest has one."""
        if shot.transport in ("boot", "statistical") or shot.listener == "egress" or is_admin(shot) or \
                "handler scripts" in shot.generator:
            return (False,)
        if shot.transport == "load" or (shot.transport == "h2" and shot.generator) or _is_heavy(shot):
            return (False,) if _is_heavy(shot) else (False, True)
        return (False, True)

    def _fire(self, shot, tls, listener):
        refuse_what_is_missing(shot, self.arena.fixture)
        source = sources.named_in(shot.path)
        if source == sources.UNRESOLVED:
            fired = boot.unresolved(shot, self.arena)
        else:
            fired = self._driver(shot)(shot, self.arena, tls, listener, self)
        for one in fired if isinstance(fired, list) else [fired]:
            self.note(shot, listener, one)

    def note(self, shot, listener, fired):
        """Adds what one shot showed to the result."""
        problems, unchecked = (fired.problems, [])
        if not fired.facts.get("is_final"):
            fired.facts["reference"] = lambda case_id: self._reference(case_id, fired)
            more, unchecked = also.check(fired)
            problems = problems + more
        self.result.ran = True
        self.result.shots += 1
        self.result.unchecked |= set(unchecked)
        self.result.control_failures += bool(fired.facts.get("control_failed"))
        if fired.gateway is not None and fired.gateway.alive and not fired.gateway.is_stand_in:
            self.result.rss = max(self.result.rss, fired.gateway.peak())
        for problem in problems:
            self._problem(shot, listener, problem)

    def _driver(self, shot):
        if shot.transport == "boot":
            return boot.drive
        if shot.transport == "statistical":
            return statistical.drive
        if shot.listener == "egress":
            return egress.drive
        if "handler scripts" in shot.generator or "child" in shot.generator.lower():
            return execs.drive
        if shot.transport == "load" or (shot.transport == "h2" and shot.generator):
            return load.drive
        if shot.transport in ("http1", "raw", "h2", "sequence", "concurrent"):
            return requests_driver
        raise requests.CannotRun(f"transport {shot.transport_text!r} is not known here")

    def _reference(self, case_id, fired):
        """A request of another case, to be compared with."""
        case = self.pool.by_id.get(case_id)
        shot = cases.shots(case)[0] if case else _wrong_signature(fired)
        context = fire.context_for(self.arena, fired.gateway, shot)
        return plans.lay_out(shot, context).steps[-1]


def requests_driver(shot, arena, tls, listener, run):
    """Fires requests at a gateway that is kept, or at a fresh one."""
    def go(gateway):
        context = fire.context_for(arena, gateway, shot)
        plan = plans.lay_out(shot, context)
        return fire.fire(shot, arena, gateway, plan, context, listener), plan

    if not fire.needs_fresh(shot):
        fired, _ = go(arena.kept(tls))
        return fired
    config, disk = _config_of(shot, arena)
    try:
        with arena.fresh(tls, **config) as gateway:
            fired, _ = go(gateway)
            # Looked at while it still runs.
            run.note(shot, listener, fired)
    finally:
        _remove(disk)
    return []


def _config_of(shot, arena):
    """How the gateway of a shot has to be made: known from the plan, which is laid out once for that."""
    context = requests.Context(arena.fixture, arena.canary.port, arena.canary_file, arena.random, event="none")
    plan = plans.lay_out(shot, context)
    config = dict(plan.config)
    if config.pop("small_disk", False):
        wrapper, disk = acts.small_disk()
        return {**config, "wrapper": wrapper, "data": f"{disk}/tenterhook.db",
                "store": f"sqlite:{disk}/tenterhook.db"}, disk
    return config, None


def _remove(disk):
    if disk:
        os.rmdir(disk)


def is_admin(shot):
    """Whether a shot goes to the admin listener."""
    if "{{admin}}" in shot.path:
        return True
    return shot.listener == "admin" and not requests.speaks_of_ingress(shot)


def refuse_what_is_missing(shot, fixture):
    """Raises `CannotRun` for sources and sessions that do not exist here."""
    if shot.unknown:
        raise requests.CannotRun("keys that are not known here: " + ", ".join(sorted(shot.unknown)))
    if shot.listener not in cases.LISTENERS:
        raise requests.CannotRun(f"listener {shot.listener!r} is not known here")
    name = sources.named_in(shot.path)
    if "{{session}}" in str(shot.headers) + shot.path:
        raise requests.CannotRun("a console with sessions is of later work")
    if name and name not in fixture.sources and name != sources.UNRESOLVED and shot.expect_status and \
            not {400, 404, 405} & set(shot.expect_status):
        raise requests.CannotRun(f"there is no source `{name}` here")


def _against(shot):
    """The same shot against each further source that a sentence names; a token, against every source that takes one."""
    found = []
    if sources.named_in(shot.path) == providers.TOKEN_SOURCES[0] and any(
            name.lower() == "authorization" and "{{jwt:" in value for name, value in shot.headers):
        found = [dataclasses.replace(shot, path=f"/webhooks/{name}", name=f"{shot.name} at {name}".strip(), is_extra=True)
                 for name in providers.TOKEN_SOURCES[1:]]
    for sentence in shot.also:
        if re.match(r"run against source", sentence, re.IGNORECASE):
            for name in re.findall(r"`([\w-]+)`", sentence):
                if name != sources.named_in(shot.path):
                    found.append(dataclasses.replace(shot, path=f"/webhooks/{name}",
                                                     name=f"{shot.name} at {name}".strip(),
                                                     changes=shot.changes | {"path"}))
    return found


def _wrong_signature(fired):
    shot = fired.shot
    source = fired.arena.fixture.sources[sources.named_in(shot.path)]
    headers = [(k, v) for k, v in shot.headers if k.lower() != source.scheme.header.lower()]
    value = source.scheme.wrap(plans.requests.signer.Signing(headers, b"", "", "{{ts}}"), "0" * 64)
    return dataclasses.replace(shot, headers=[*headers, (source.scheme.header, value)], generator="")


def _is_heavy(shot):
    """Whether once is enough: what takes long, and does not depend on the listener."""
    return bool(re.search(r"\d{2,3},000 other ids|ENOSPC|RLIMIT_NOFILE", shot.note + shot.transport_text
                          + shot.generator))


def _where(error):
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    return f" ({frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno})" if frame else ""
