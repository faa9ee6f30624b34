"""Drives the cases about starting: configs that must be refused at the start, by `check` and at a reload, with the place
named; and the source whose secret is not there."""

import os
import re
import subprocess
import time

import fire
import gateway as gateways
import healthy
import http1
import mistakes
import plan as plans
import request as requests
import sources
import watch

EXIT_S = 2.0


def unresolved(shot, arena):
    """A shot at the source without a secret: a refusal to start that names it is what is wanted; if it does start, the
    request has to be refused as the case says."""
    fired = fire.Fired(shot, arena, None, "plain", plans.Plan([]), facts={"is_final": True})
    try:
        with arena.fresh(more_sources=sources.unresolved()) as gateway:
            context = fire.context_for(arena, gateway, shot)
            fired = fire.fire(shot, arena, gateway, plans.lay_out(shot, context), context, "plain")
            fired.gateway = None
    except gateways.StartFailed as why:
        if sources.UNRESOLVED not in str(why):
            fired.problems.append(f"it refused to start without naming `{sources.UNRESOLVED}`: {why}")
    fired.facts["is_final"] = True
    return fired


def drive(shot, arena, tls, listener, run):
    """Every mistake that the words speak of."""
    chosen = _chosen(shot)
    if not chosen:
        raise requests.CannotRun(f"words that are not understood: {shot.generator!r}")
    with arena.fresh() as gateway:
        if gateway.is_stand_in:
            raise requests.CannotRun("a stand-in has no config")
        fired = fire.Fired(shot, arena, gateway, listener, plans.Plan([]), facts={"rss": gateway.rss()})
        fired.before = watch.look(gateway, arena)
        site = Site(arena.fixture)
        good = site.refused("serve", mistakes.Mistake("none", ""), run_for=1.0)
        if good.code is not None:
            fired.problems.append(f"the config without a mistake is refused, too: {good.said}")
        for mistake in chosen:
            _try(fired, site, mistake)
        _reloads(fired, chosen)
        fired.after = watch.look(gateway, arena)
        fired.facts["done"] = ("exit code", "exit != 0", "port never opened", "`check` says the same",
                               "running instance keeps")
        fired.facts["mistakes"] = len(chosen)
        fire.judge_control(fired)
        fired.problems += watch.always(gateway, fired.before, arena)
        run.note(shot, listener, fired)
    return []


def _chosen(shot):
    text = shot.note + " " + shot.generator + " " + shot.name
    if re.search(r"one config per mistake", text):
        return mistakes.ALL
    return [m for m in mistakes.ALL if re.search(m.tag, text, re.IGNORECASE)
            and ("admin" in m.tag) == bool(re.search(r"admin", text))]


class Ended:
    """How a command ended; `code` is `None` when it did not."""

    def __init__(self, code, said, seconds, opened):
        self.code, self.said, self.seconds, self.opened = code, said, seconds, opened


class Site:
    """A directory in which configs are tried."""

    def __init__(self, fixture):
        self.fixture = fixture
        self.directory = fixture.fresh("mistakes")
        self.config = os.path.join(self.directory, "tenterhook.toml")
        for name, text in mistakes.FILES.items():
            self._write(name, text)

    def _write(self, name, text):
        with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
            file.write(text)

    def refused(self, command, mistake, run_for=None):
        """Runs a command on a config, for so long at most."""
        port = gateways.free_port()
        admin = f"0.0.0.0:{port}" if mistake.name.startswith("admin: ") else "127.0.0.1:0"
        self._write("secret", mistake.secret)
        self._write("tenterhook.toml", mistake.toml(admin=admin))
        started = time.monotonic()
        process = subprocess.Popen([self.fixture.binary, command, "--config", self.config], cwd=self.directory,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env={"PATH": os.environ["PATH"], "NO_COLOR": "1"})
        opened, waited, deadline = False, 0.0, started + (run_for or 10 * EXIT_S)
        own = healthy.starved(os.getpid())
        while process.poll() is None and time.monotonic() < deadline:
            opened = opened or _listens(port)
            waited = max(waited, healthy.starved(process.pid))
            time.sleep(0.005)
        seconds = time.monotonic() - started - waited - (healthy.starved(os.getpid()) - own)
        code = process.poll()
        if code is None:
            process.kill()
        said = process.communicate()[0].decode("utf-8", "replace")
        return Ended(code, said, seconds, opened)


def _listens(port):
    wanted = f":{port:04X} "
    with open("/proc/net/tcp", encoding="ascii") as file:
        return any(wanted in line and line.split()[3] == "0A" for line in file)


def _try(fired, site, mistake):
    for command in ("serve", "check"):
        ended = site.refused(command, mistake)
        where = f"{command}, {mistake.name}"
        if ended.code is None:
            fired.problems.append(f"{where}: it runs")
            continue
        if ended.code == 0:
            fired.problems.append(f"{where}: exit code 0")
        if ended.code != 0 and ended.seconds > EXIT_S:
            fired.problems.append(f"{where}: it took {ended.seconds:.1f} s")
        if ended.opened:
            fired.problems.append(f"{where}: the port was opened")
        if "panicked" in ended.said:
            fired.problems.append(f"{where}: panicked")
        missing = [name for name in ("tenterhook.toml", *mistake.names) if name not in ended.said]
        if missing:
            fired.problems.append(f"{where}: does not name {missing}: {ended.said.strip()[:200]!r}")
        if not re.search(r"toml:\d+|line \d+", ended.said):
            fired.problems.append(f"{where}: does not name the line: {ended.said.strip()[:200]!r}")
        if mistake.secret.strip() and len(mistake.secret.strip()) > 9 and mistake.secret.strip() in ended.said:
            fired.problems.append(f"{where}: repeats the secret")


def _reloads(fired, chosen):
    """A running gateway keeps its config, whatever it is told to read."""
    gateway = fired.gateway
    with open(gateway.config_path, encoding="utf-8") as file:
        good = file.read()
    for name, text in mistakes.FILES.items():
        with open(os.path.join(gateway.directory, name), "w", encoding="utf-8") as file:
            file.write(text)
    for mistake in chosen:
        if mistake.name.startswith("admin: ") or mistake.whole:
            text = mistake.toml()
        else:
            text = good + _grafted(mistake)
        with open(os.path.join(gateway.directory, "secret"), "w", encoding="utf-8") as file:
            file.write(mistake.secret)
        gateway.write_config(text)
        response = gateway.api("POST", "/api/v1/reload", {})
        if response is None or response.status != 422:
            fired.problems.append(f"reload, {mistake.name}: answered {response.status if response else 'nothing'}")
    begin = gateway.log_size()
    gateway.hup()
    if b"config_reload_refused" not in gateway.wait_log(begin, [b"config_reload_refused"]):
        fired.problems.append("a reload of a bad config by SIGHUP was not refused in the log")
    gateway.write_config(good)
    _still_works(fired)


def _grafted(mistake):
    """The mistake as sections behind a good config. One about `[server]` says that section twice, which is refused as
    well, if for another reason."""
    server = f"[server]\n{mistake.server}\n" if mistake.server else ""
    return (f"\n[sources.s]\n{mistake.source}\n{mistake.rest}\n[destinations.mistaken]\n{mistake.destination}\n"
            f'[[routes]]\nsource = "{mistake.route}"\n{server}')


def _still_works(fired):
    arena, gateway = fired.arena, fired.gateway
    source = arena.fixture.sources["gh"]
    body = b'{"zen":"after the reloads"}'
    data = http1.request_bytes("POST", source.path, source.signed(body, requests.new_uuid(arena.random), 0), body)
    got = http1.exchange(gateway.target, data, extra=0)
    if got.status != 202:
        fired.problems.append(f"after refused reloads a genuine request was answered {got.status}")
    gateway.settled()
