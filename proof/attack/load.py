"""Drives the cases that are a load: recognises the flood that the words describe, runs it beside a healthy client on a
fresh gateway, and judges how its connections ended and what it cost."""

import base64
import collections
import dataclasses
import gzip
import json
import os
import re
import resource
import subprocess
import sys
import time

import acts
import budget
import fire
import healthy
import http1
import mutations
import plan as plans
import request as requests
import watch

HERE = os.path.dirname(os.path.abspath(__file__))
FORM = "application/x-www-form-urlencoded"


@dataclasses.dataclass
class Flood:
    """One thing to do: a kind of `flood.py` with its order, or requests for this process to send."""
    kind: str
    order: dict = dataclasses.field(default_factory=dict)
    sends: list = dataclasses.field(default_factory=list)
    expect: list | None = None


def drive(shot, arena, tls, listener, run):
    """A load, on a gateway of its own."""
    recognised = _recognise(shot, arena)
    # A body that shares the machine with many others has time; one that drips has to be cut off while we look.
    body_timeout = "5s" if re.search(r"slow|drip|byte at a time|1 byte", shot.generator) else "30s"
    with arena.fresh(tls, log_filter="info", body_timeout=body_timeout, header_timeout="8s") as gateway:
        if gateway.is_stand_in:
            raise requests.CannotRun("a load is not for a stand-in")
        fired = fire.Fired(shot, arena, gateway, listener, plans.Plan([]))
        gateway.settled()
        arena.control(gateway)
        gateway.settled()
        if recognised == "descriptors":
            _descriptors(fired)
        elif recognised == "tokens":
            _tokens(fired)
        else:
            _floods(fired, recognised(fire.context_for(arena, gateway, shot)))
        run.note(shot, listener, fired)
    return []


# What the words describe.

def _recognise(shot, arena):
    text = shot.generator
    for pattern, make in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return make if isinstance(make, str) else lambda context: make(shot, context)
    raise requests.CannotRun(f"words that are not understood: {text!r}")


def _head(shot, context, headers, body_headers):
    """The head of a request whose body comes separately."""
    data = http1.request_bytes("POST", shot.path, [("Content-Type", "application/json"), *headers, *body_headers])
    return base64.b64encode(data).decode()


def _signature(shot, context):
    """A signature of the right form that is wrong."""
    source = context.fixture.sources.get(shot.path.rpartition("/")[2])
    return [(source.scheme.header, source.scheme.wrap(plans.requests.signer.Signing([], b"", "", plans.now_text()),
                                                      "0" * 64))] if source else []


def _endless(shot, context):
    head = _head(shot, context, _signature(shot, context), [("Transfer-Encoding", "chunked")])
    rate = mutations.size_in(shot.generator, 64 << 20)
    return [Flood("endless", {"request": head, "bytes_per_second": rate, "seconds": 10,
                              "connections": mutations.count_before("connections|clients", shot.generator, 1)})]


def _upload(shot, context):
    size = mutations.size_in(shot.generator, 25 << 20)
    head = _head(shot, context, _signature(shot, context), [("Content-Length", str(size))])
    match = re.search(r"(\d+) s\b", shot.generator)
    seconds = budget.bounded(int(match.group(1)) if match else 5, budget.SECONDS_MAX, "seconds", shot)
    count = mutations.count_before("connections|clients|uploads", shot.generator, 64)
    # Where so many share two processors, a body may take longer than any body may: that is a refusal, too.
    return [Flood("upload", {"request": head, "size": size, "seconds": seconds, "connections": count},
                  expect=sorted({408, *shot.expect_status}))]


def _slow_read(shot, context):
    body = b"{}"
    data = http1.request_bytes("POST", shot.path, [("Content-Type", "application/json"), *_signature(shot, context)],
                               body)
    return [Flood("slow read", {"request": base64.b64encode(data).decode(), "seconds": 4,
                                "connections": mutations.count_before("clients|connections", shot.generator, 200)})]


def _drip_head(shot, context):
    data = f"POST {shot.path} HTTP/1.1\r\nHost: gw\r\nX-Slow: ".encode()
    return [Flood("drip", {"request": base64.b64encode(data).decode(), "seconds": 15,
                           "connections": mutations.count_before("clients|connections", shot.generator, 100)},
                  expect=sorted({0, 408, *shot.expect_status}))]


def _drip_body(shot, context):
    head = _head(shot, context, _signature(shot, context), [("Content-Length", "100000")])
    return [Flood("drip", {"request": head, "seconds": 15,
                           "connections": mutations.count_before("clients|connections", shot.generator, 100)})]


def _noise(shot, context):
    count = budget.bounded(mutations.count_before("rejected requests|requests|refused", shot.generator, 10000), budget.COUNT_MAX,
                    "requests", shot)
    size = mutations.size_in(shot.generator, 8000)
    header = http1.request_bytes("POST", shot.path, [*_signature(shot, context), ("X-Noise", "{random}")], b"")
    path = http1.request_bytes("POST", shot.path + "/{random}", [], b"")
    return [Flood("noise", {"request": base64.b64encode(data).decode(), "count": count // 2, "size": size,
                            "connections": 8, "seed": context.random.getrandbits(32)}) for data in (header, path)]


def _h2(kinds):
    def make(shot, context):
        text = shot.generator
        count = mutations.count_before(r"HEADERS|times|frames|streams|requests|PING|SETTINGS", text, 100_000)
        return [Flood(kind, {"count": count, "size": 256 << 10, "seconds": 20},
                      expect=None if kind not in _BOUNDED else [*shot.expect_status, "survived"])
                for words, kind in kinds if re.search(words, text, re.IGNORECASE)]
    return make


# Floods that need not end the connection, as long as they cost nothing: they are acknowledged or ignored one by one.
_BOUNDED = ("ping", "settings", "empty data")


def _big_signed(bodies):
    def make(shot, context):
        sends = []
        for content_type, body, is_signed in bodies(shot, context):
            if is_signed:
                sends.append(_genuine(shot, context, body, content_type))
            else:
                headers = [("Content-Type", content_type), *shot.headers]
                unsigned = dataclasses.replace(shot, headers=headers, body=None, generator="", transport="http1")
                refusals = [status for status in shot.expect_status if status not in (200, 202)]
                sends.append(plans.Send(requests.build(unsigned, context, body=body), refusals))
        return [Flood("sends", sends=sends)]
    return make


def _genuine(shot, context, body, content_type):
    name = plans.requests.sources.named_in(shot.path)
    source = context.fixture.sources.get(name)
    if source is None:
        raise requests.CannotRun(f"there is no source at {shot.path}")
    headers, body = source.genuine(body, requests.new_uuid(context.random), int(time.time()), content_type)
    genuine = dataclasses.replace(shot, headers=headers, body=None, generator="", transport="http1")
    return plans.Send(requests.build(genuine, context, body=body))


def _bombs(shot, context):
    is_signed = bool(re.search(r"(?<!un)signed", shot.generator, re.IGNORECASE))
    return [("application/json", body, is_signed) for body in mutations.bombs(shot.generator)]


def _large(shot, context):
    size = mutations.size_in(shot.generator, 20 << 20)
    is_signed = not re.search(r"unsigned", shot.generator, re.IGNORECASE)
    many = b"{" + b",".join(b'"k%d":""' % number for number in range(size // 14))[:size] + b"}"
    long_key = b'{"' + b"k" * (size // 2) + b'":[' + b"0," * (size // 4) + b"0]}"
    return [("application/json", body, is_signed) for body in (many, long_key)]


def _params(shot, context):
    count = mutations.count_before("params|parameters|fields", shot.generator, 1_000_000)
    is_signed = not re.search(r"unsigned", shot.generator, re.IGNORECASE)
    separators = [b"&"] + ([b";"] if '";"' in shot.generator else [])
    return [(FORM, separator.join(b"p%d=v" % number for number in range(count)), is_signed) for separator in separators]


def _multipart(shot, context):
    parts = mutations.count_before("parts", shot.generator, 1_000_000)
    size = mutations.size_in(shot.generator, 8 << 20)
    kind = "multipart/form-data; boundary=x"
    part = b"--x\r\n\r\n\r\n"
    bodies = [part * min(parts, (20 << 20) // len(part)) + b"--x--\r\n", b"p" * size + b"\r\n" + part + b"--x--\r\n",
              b"--x\r\nX-Long: " + b"a" * size + b"\r\n\r\n\r\n--x--\r\n"]
    signed = [True] if not re.search(r"unsigned", shot.generator, re.IGNORECASE) else [True, False]
    return [(kind, body, is_signed) for is_signed in signed for body in bodies]


def _compressed(shot, context):
    body = gzip.compress(bytes(min(mutations.size_in(shot.generator, 64 << 20), 256 << 20)))
    sends = [_genuine(shot, context, body, "application/json")]
    headers = [*sends[0].request.headers, ("Content-Encoding", "gzip")]
    sends[0] = plans.Send(requests.build(dataclasses.replace(shot, headers=headers, generator="", transport="http1"),
                                         context, body=body))
    return [Flood("sends", sends=sends)]


def _repeat(shot, context):
    """The case's own request, as often as it says, each with an id of its own."""
    count = mutations.count_before("requests|POSTs|copies|times|connections|clients", shot.generator)
    if not count:
        raise requests.CannotRun(f"words that are not understood: {shot.generator!r}")
    count = budget.bounded(count, budget.COUNT_MAX, "requests", shot)
    own = dataclasses.replace(shot, generator="", transport="http1")
    return [Flood("requests", sends=[requests.build(own, context) for _ in range(count)])]


_KNOWN = [
    (r"chunked body that never ends|endless (chunked )?body", _endless),
    (r"never reads? their responses|slow.?read", _slow_read),
    (r"RLIMIT_NOFILE|prlimit|file descriptors", "descriptors"),
    (r"attempts? then (one|the) right|wrong tokens|brute force", "tokens"),
    (r"HTTP/2", _h2([(r"rapid reset", "rapid reset"), (r"CONTINUATION", "continuation"), (r"HPACK", "hpack bomb"),
                     (r"header list", "header list"), (r"MadeYouReset", "made reset"), (r"PING", "ping"),
                     (r"SETTINGS", "settings"), (r"empty.DATA", "empty data")])),
    (r"rejected requests|refused requests|random (header|path)", _noise),
    (r"multipart", _big_signed(_multipart)),
    (r"params|parameters|urlencoded", _big_signed(_params)),
    (r'"\["|\[\[|levels deep|nest', _big_signed(_bombs)),
    (r"gzip|deflate|compress", _compressed),
    (r"slowloris|head(er)?s? .*(byte|drip|slow)|drip.*head", _drip_head),
    (r"body .*(byte at a time|1 byte|drip|slowly)|slow body|drip.*body", _drip_body),
    (r"connections?,? each (uploads|sends)|uploads", _upload),
    (r"(KiB|MiB|KB|MB) of ", _big_signed(_large)),
    (r"\d (?:[\w-]+ ){0,3}(requests|POSTs|copies|times|connections|clients)", _repeat),
]


# How it is done.

def _floods(fired, floods):
    gateway, arena, shot = fired.gateway, fired.arena, fired.shot
    context = fire.context_for(arena, gateway, shot)
    gateway.reset_peak()
    fired.facts.update(rss=gateway.rss(), metrics_before=_metrics(gateway), files_before=gateway.files())
    fired.before = watch.look(gateway, arena)
    if not any("healthy client" in sentence for sentence in shot.also):
        # Its events would hide what the flood does to the files.
        _each(fired, floods, context)
        answered = 0
    else:
        # Files first, without anybody else's events in them.
        if any("store file size" in sentence for sentence in shot.also):
            _each(fired, [_smaller(flood) for flood in floods], context)
        fired.facts["files_after"] = gateway.files()
        with healthy.Healthy(arena, gateway) as beside:
            _each(fired, floods, context)
        fired.facts["healthy"], answered = beside, beside.answered
    fired.facts["log_after"] = gateway.log_size() - answered * _line_bytes(gateway)
    fired.facts.setdefault("files_after", gateway.files())
    fired.facts["metrics_after"] = _metrics(gateway)
    gateway.settled(20)
    if "CPU back to idle" in shot.note:
        _is_idle(fired)
    fired.after = watch.look(gateway, arena)
    fired.facts["flooded"] = answered + fired.facts.get("repeated", 0)
    fire.judge_statuses(fired)
    fire.judge_store(_without_rows(fired, fired.facts["flooded"]))
    fire.judge_control(fired)
    fired.problems += watch.always(gateway, fired.before, arena)


def _smaller(flood):
    return dataclasses.replace(flood, order={**flood.order, "count": min(flood.order.get("count", 0), 500)})


def _line_bytes(gateway):
    """What a line about an accepted event takes in the log, at most."""
    return 600


def _without_rows(fired, answered):
    """The healthy client leaves rows and files behind; only what it did not leave is judged."""
    if answered:
        fired.after.rows, fired.after.files = fired.before.rows, fired.before.files
        fired.arena = _Quiet(fired.arena, fired.before.mark)
    return fired


class _Quiet:
    """An arena whose handler has not heard of the healthy client's events."""

    def __init__(self, arena, mark):
        self._arena = arena
        self.handler = self
        self._handler = arena.handler

    def since(self, mark):
        """Without the control source."""
        return [r for r in self._handler.since(mark) if r.source != "ctl"]

    def wait(self, mark, condition, timeout):
        """As the handler does."""
        return self._handler.wait(mark, condition, timeout)

    def mark(self):
        """As the handler does."""
        return self._handler.mark()

    def __getattr__(self, name):
        return getattr(self._arena, name)


def _each(fired, floods, context):
    for flood in floods:
        if flood.kind == "sends":
            for step in flood.sends:
                fired.sent.append((step, http1.exchange(fired.gateway.target, step.request.data, timeout=30, extra=0)))
            continue
        if flood.kind == "requests":
            ends = collections.Counter(acts.pump(fired.gateway.target, [r.data for r in flood.sends], window=1))
            fired.facts["repeated"] = fired.facts.get("repeated", 0) + ends[202]
        else:
            ends = _run(fired.gateway.target, flood)
        expected = fired.shot.expect_status if flood.expect is None else flood.expect
        bad = {str(status): count for status, count in ends.items()
               if status not in expected and not (status is None and "survived" in expected)
               and not (isinstance(status, int) and status > 0 and "survived" in expected and status < 500)}
        if bad:
            told = {("no end" if status == "None" else status): count for status, count in bad.items()}
            fired.problems.append(f"{flood.kind}: ended with {told}, expected {fire.either(fired.shot.expect_status)}")


def _run(target, flood):
    order = {"kind": flood.kind, "host": target.host, "port": target.port, "tls": target.tls, **flood.order}
    done = subprocess.run([sys.executable, "-B", os.path.join(HERE, "flood.py")], input=json.dumps(order).encode(),
                          capture_output=True, timeout=900)
    if done.returncode:
        raise RuntimeError("the flood failed: " + done.stderr.decode()[-500:])
    return collections.Counter({status: count for status, count in json.loads(done.stdout)["statuses"]})


def _metrics(gateway):
    response = gateway.api("GET", "/metrics")
    return len(response.body) if response else 0


def _is_idle(fired):
    time.sleep(1.0)
    begin = fired.gateway.cpu_s()
    time.sleep(0.5)
    used = fired.gateway.cpu_s() - begin
    if used > 0.15:
        fired.problems.append(f"a second later it still uses {used / 0.5:.0%} of a processor")


def _descriptors(fired):
    """Takes every file descriptor that the gateway has, and gives some back."""
    gateway, arena, shot = fired.gateway, fired.arena, fired.shot
    match = re.search(r"nofile=(\d+)", shot.generator)
    limit = int(match.group(1)) if match else 256
    match = re.search(r"keep (\d+) idle", shot.generator)
    idle = int(match.group(1)) if match else 300
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
    fired.before, fired.facts["rss"] = watch.look(gateway, arena), gateway.rss()
    sockets, accepted = [], 0
    with healthy.Healthy(arena, gateway) as beside:
        begin = gateway.cpu_s()
        for _ in range(max(idle, limit + 50)):
            try:
                sockets.append(http1.connect(http1.Target(gateway.target.host, gateway.target.port), 2))
            except OSError:
                break
        time.sleep(2.0)
        used = gateway.cpu_s() - begin
        for sock in sockets[:50]:
            sock.close()
        started, waited, answer = time.monotonic(), healthy.Starvation(gateway), None
        while answer != 202 and time.monotonic() - started - waited.seconds() < 1.0:
            data, _ = arena.control_request()
            answer = http1.exchange(gateway.target, data, timeout=1.0, extra=0).status
            accepted += answer == 202
        if answer != 202:
            fired.problems.append(f"a second after 50 sockets were closed a genuine request was answered {answer}")
    for sock in sockets:
        sock.close()
    if used > 1.0:
        fired.problems.append(f"it spun while it had no descriptors: {used:.1f} s of CPU time in 2 s")
    fired.facts["healthy"] = beside
    fired.facts["done"] = ("one signed request succeeds",)
    gateway.settled(20)
    fired.after = watch.look(gateway, arena)
    fire.judge_control(fired)
    fired.problems += watch.always(gateway, fired.before, arena)


def _tokens(fired):
    """Guesses at the admin token, from one address and from many; the right one keeps working."""
    gateway, shot = fired.gateway, fired.shot
    count = mutations.count_before("attempts|wrong tokens", shot.generator, 1000)
    fired.before, fired.facts["rss"] = watch.look(gateway, fired.arena), gateway.rss()
    statuses = collections.Counter()
    path = shot.path.replace("{{admin}}", "/api/v1")
    for number in range(count):
        # The console's form is of later work: the token itself is guessed at, where it is asked for.
        target = path if number % 2 else "/api/v1/ledger"
        wrong = fired.arena.random.randbytes(16).hex()
        source = "127.0.0.1" if number < count // 2 else f"127.0.1.{number % 256}"
        data = http1.request_bytes("POST" if number % 2 else "GET", target, [
            *shot.headers, ("Authorization", "Bearer " + wrong), ("Connection", "close")],
            json.dumps({"token": wrong}).encode() if number % 2 else b"")
        statuses[http1.exchange(gateway.admin, data, extra=0, source=source).status, number % 2] += 1
    # An unknown path is not found before anybody is asked for a token; that is no guess.
    wrong_ends = {s: n for (s, is_form), n in statuses.items() if s not in shot.expect_status and not
                  (is_form and s == 404)}
    if wrong_ends:
        fired.problems.append(f"guesses were answered {wrong_ends}")
    if not any(s == 429 for s, _ in statuses):
        fired.problems.append("1,000 guesses were not throttled")
    started = time.monotonic()
    for source in ("127.0.0.1", "127.0.0.77"):
        data = http1.request_bytes("GET", "/api/v1/ledger", [
            ("Authorization", "Bearer " + gateway.fixture.tokens["admin"]), ("Connection", "close")])
        status = http1.exchange(gateway.admin, data, extra=0, source=source).status
        if status != 200 or time.monotonic() - started > 2:
            fired.problems.append(f"the right token from {source} is answered {status} after "
                                  f"{time.monotonic() - started:.1f} s")
    store = b"".join(open(os.path.join(gateway.directory, name), "rb").read()
                     for name in os.listdir(gateway.directory) if name.startswith("tenterhook.db"))
    fired.problems += watch.leaks(store, list(gateway.fixture.tokens.values()), "the store")
    fired.facts["done"] = ("right token still works", "store contains no plaintext token")
    fired.after = watch.look(gateway, fired.arena)
    fired.problems += watch.untouched(fired.before, fired.after, fired.arena)
    fire.judge_control(fired)
    fired.problems += watch.always(gateway, fired.before, fired.arena)

