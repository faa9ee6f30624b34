"""Lays out what a shot sends, one step after another: most send one request, sequences and some generators several, with
acts on the gateway between them. Goes by the words of a case, never by its id."""

import dataclasses
import datetime
import json
import re
import time

import budget
import corpus
import gateway as gateways
import http1
import mutations
import notices
import placeholders
import request as requests


@dataclasses.dataclass
class Send:
    """One request. `expect`: statuses, where they are not those of the shot."""
    request: requests.Request
    expect: list | None = None
    source: str | None = None  # the address to come from
    is_flood: bool = False


@dataclasses.dataclass
class Act:
    """Something done to the gateway: a name that `acts` knows, with its argument."""
    name: str
    argument: object = None


@dataclasses.dataclass
class Plan:
    """The steps, and how many events there are to be in the end (`None`: one for each request accepted)."""
    steps: list
    events: int | None = None
    config: dict = dataclasses.field(default_factory=dict)
    distinct: int | None = None


def lay_out(shot, context):
    """The plan of a shot; raises `CannotRun` where its words are not understood."""
    for maker in (_sequence if shot.transport == "sequence" else _single):
        plan = maker(shot, context)
        if plan is not None:
            return plan
    raise requests.CannotRun(f"words that are not understood: {shot.generator or shot.transport_text!r}")


def _build(shot, context, **given):
    return requests.build(shot, context, **given)


def other(shot, **changes):
    """The shot with other data."""
    return dataclasses.replace(shot, **changes)


def now_text():
    """This second, as a timestamp."""
    return str(int(time.time()))


def _same_ids(context):
    """A context in which every `{{uuid}}` is the same."""
    return dataclasses.replace(context, uuid=context.uuid or requests.new_uuid(context.random))


# One request, or a few that belong together.

def _long_header(shot, context):
    found = mutations.long_header(shot.generator)
    if not found:
        return None
    name, start, items = found
    whole = _lines(name, start, items)
    # As much of it as any server reads: the rest of the cap has to come from the gateway itself.
    fitting = _lines(name, start, items[:max(1, 48_000 // max(1, len(items[0])))])
    body = shot.body if shot.body is not None else mutations.COMPACT
    return Plan([Send(_build(shot, context, body=body, headers=[*shot.headers, *lines]))
                 for lines in (whole, fitting)])


def _lines(name, start, items, line_max=7000):
    lines, line = [], start
    for item in items:
        if len(line) + len(item) > line_max:
            lines.append((name, line))
            line = start
        line += item
    return [*lines, (name, line)]


def _addresses(shot, context):
    if not re.search(r"peer address|127\.0\.0\.0/8", shot.generator):
        return None
    steps = []
    body = mutations.COMPACT

    def add(expect, source, forwarded=None, signed=False):
        headers = list(shot.headers)
        if forwarded:
            headers.append(("X-Forwarded-For", forwarded))
        if signed:
            headers.append(("X-Sig", "{{sig:ipallow}}"))
        steps.append(Send(_build(shot, context, body=body, headers=headers), expect, source))
    for source in ("127.0.0.1", "127.0.0.100", "127.0.0.110"):
        add(None, source)
        add([403], source, signed=True)
        # An address that is no proxy of ours may say what it likes.
        add([403], source, forwarded="192.0.2.10", signed=True)
    for forwarded in ("192.0.2.1", "192.0.2.100", "192.0.2.10%eth0", "0300.0.02.012", "3221225994", "192.0.2.010",
                      "192.0.2.10, 192.0.2.1", "::ffff:192.0.2.100", "192.0.2.10.evil.test", ""):
        add([403], "127.0.0.2", forwarded or "unknown", signed=True)
    for forwarded in ("192.0.2.10", "::ffff:192.0.2.10"):
        add([401], "127.0.0.2", forwarded)
    return Plan(steps)


def _two_timestamps(shot, context):
    if not re.search(r"send old then fresh", shot.generator):
        return None
    builder = requests.Builder(shot, context)
    scheme = context.fixture.sources[builder.source()].scheme
    name = scheme.timestamp_header
    both = [(name, "{{ts-4000}}"), (name, "{{ts}}")]
    others = [(k, v) for k, v in shot.headers if k.lower() != name.lower()]
    return Plan([Send(_build(shot, context, headers=order + others)) for order in (both, both[::-1])])


def _described_body(shot, context):
    body = mutations.repeated_json(shot.generator)
    if body is None:
        return None
    bodies = [body]
    if re.search(r"differing in the last byte", shot.texts):
        # The last byte of the long string, which ends before the last quote.
        at = body.rstrip(b"}] ").rfind(b'"') - 1
        bodies.append(body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])
    return Plan([Send(_build(shot, context, body=each)) for each in bodies])


def _sized(shot, context):
    text = shot.generator
    size = mutations.size_in(text) or 0
    if count := mutations.count_before("headers", text):
        headers = [*shot.headers, *((f"X-Extra-{at}", "a") for at in range(count))]
        return Plan([Send(_build(shot, context, headers=headers))])
    if size and re.search(r"\bheader\b", text):
        return Plan([Send(_build(shot, context, headers=[*shot.headers, ("X-Long", "a" * size)]))])
    if size and re.search(r"\b(path|URL|target)\b", text):
        return Plan([Send(_build(shot, context, path=shot.path + "a" * size))])
    if size and re.search(r"\bquery\b", text):
        return Plan([Send(_build(shot, context, path=shot.path + "?q=" + "a" * size))])
    if size and re.search(r"\bbody\b", text):
        return Plan([Send(_build(shot, context, body=b"a" * size))])
    return None


def _one(shot, context):
    understood = (not shot.generator or re.search(r"\bsigns?\b.+\bsends?\b|last chunk followed by", shot.generator))
    if not understood:
        return None
    prelude = []
    if match := re.search(r'no collision with "([^"]+)"', " ".join(shot.also)):
        prelude = [Send(_build(shot, context, body=json.dumps({"id": match.group(1), "type": "t"}).encode()), [202])]
    return Plan([*prelude, Send(_build(shot, context))])


def _message(shot, context):
    """A message whose signature stands inside, as words describe it."""
    builder = requests.Builder(shot, context)
    source = context.fixture.sources.get(builder.source() or "")
    if source is None or not source.scheme.seals_body or not re.search(r"\bsign", shot.generator):
        return None
    now = datetime.datetime.fromtimestamp(builder.now, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    words = placeholders.expand(f"{shot.generator}; {shot.said}", builder.values(), strict=False)
    document, whose = notices.described(words, now, builder.uuid)
    return Plan([Send(_build(other(shot, said=""), context, body=source.scheme.sealed(document, whose)))])


def _listed(shot, context):
    """Several documents, one after another, without a sequence."""
    bodies = mutations.json_examples(shot.generator)
    if len(bodies) < 2 or not any("{{sig:" in value for _, value in shot.headers):
        return None
    return Plan([Send(_build(other(shot, generator=""), context, body=body)) for body in bodies])


_single = (_message, _long_header, _addresses, _two_timestamps, _described_body, _listed, _sized, _one)


# Sequences.

def _signed(shot, context, body, now=None, event_id=None):
    """A genuine request with that body, signed for the shot's source whatever its headers say."""
    own = requests.Builder(shot, context)
    name = own.source()
    if name is None:
        raise requests.CannotRun(f"there is no source at {shot.path}")
    source = context.fixture.sources[name]
    if any("{{sig:" in value for _, value in shot.headers):
        return _build(shot, context, body=body)
    headers, body = source.genuine(body, event_id or own.uuid, own.now)
    return _build(other(shot, headers=headers, generator=""), context, body=body)


def _restart(shot, context):
    if not re.search(r"restart|kill -9", shot.note + shot.generator, re.IGNORECASE):
        return None
    sent = _build(shot, context)
    return Plan([Send(sent, [202]), Act("kill and start"), Send(sent, [200])], events=1)


def _eviction(shot, context):
    count = mutations.count_before("other ids|ids|distinct ids", shot.note + " " + shot.generator)
    if not count or re.search(r"forged", shot.texts):
        return None
    count = budget.bounded(count, budget.COUNT_MAX, "ids", shot)
    sent = _build(shot, context)
    steps = [Send(sent, [202]), Act("flood of genuine ids", (count, sent.source))]
    if re.search(r"reload", shot.note + shot.generator):
        steps.append(Act("reload"))
    return Plan([*steps, Send(sent, [200])], events=1, config={"unrouted": (sent.source,), "log_filter": gateways.QUIET})


def _new_id(shot, context):
    if not re.search(r"\bnew (X-[\w-]+|id|webhook-id)", shot.note + shot.generator, re.IGNORECASE):
        return None
    return Plan([Send(_build(shot, context), [202]), Send(_build(shot, context))])


def _distinct_ids(shot, context):
    if not re.search(r"each id once", shot.generator):
        return None
    ids = mutations.quoted_ids(shot.note + " " + shot.generator)
    if not ids:
        return None
    steps, seen = [], set()
    source = requests.Builder(shot, context).source()
    id_header = context.fixture.sources[source].scheme.id_header if source else None
    for each in ids:
        # HTTP takes blanks off the ends of a value, so that ids differing in those alone arrive as one.
        on_the_wire = each.strip(" \t")
        if id_header and on_the_wire not in seen:
            seen.add(on_the_wire)
            headers = [(k, on_the_wire if k.lower() == id_header.lower() else v) for k, v in shot.headers]
            steps.append(Send(_build(other(shot, generator=""), context, headers=headers)))
    # In a body every byte arrives.
    in_body = other(shot, path="/webhooks/bodyid", generator="",
                    headers=[("Content-Type", "application/json"), ("X-Sig", "{{sig:bodyid}}")])
    for each in ids:
        body = json.dumps({"id": each, "type": "t"}, ensure_ascii=False).encode()
        steps.append(Send(_build(in_body, context, body=body)))
    return Plan(steps, events=len(steps), distinct=len(steps))


def _paths(shot, context):
    paths = re.findall(r"/webhooks/[\w-]+", shot.transport_text)
    if len(paths) < 2:
        return None
    steps = []
    for path in paths:
        name = path.rpartition("/")[2]
        headers = [(k, re.sub(r"\{\{sig:\w+", "{{sig:" + name, v)) for k, v in shot.headers]
        steps.append(Send(_build(other(shot, path=path, headers=headers), context)))
    return Plan(steps)


def _forged_then_genuine(shot, context):
    if not re.search(r"genuine request", " ".join(shot.also)):
        return None
    context = _same_ids(context)
    steps = [Send(_build(shot, context))]
    if match := re.search(r"unchanged by ([\d,]+) forged", " ".join(shot.also)):
        steps.append(Act("flood of forged ids", (mutations.number(match.group(1)), shot)))
    source = requests.Builder(shot, context).source()
    scheme = context.fixture.sources[source].scheme
    headers = [(k, "{{sig:%s}}" % source if k.lower() == scheme.header.lower() else v) for k, v in shot.headers]
    return Plan([*steps, Send(_build(other(shot, headers=headers), context), [202])], events=1)


def _full_store(shot, context):
    if not re.search(r"ENOSPC|store full|disk full", shot.transport_text + shot.note, re.IGNORECASE):
        return None
    sent = _build(shot, context)
    return Plan([Act("fill the disk"), Act("use up the store", sent.source), Send(sent), Act("free the disk"),
                 Act("retry until accepted", sent)], events=1, config={"small_disk": True})


def _conflict(shot, context):
    if not re.search(r"different (signed )?body", shot.note + shot.generator, re.IGNORECASE):
        return None
    context = _same_ids(context)
    second = _build(shot, context)
    document = json.loads(second.body)
    first = json.dumps({**document, "v": 1, "first": True}).encode()
    return Plan([Send(_build(shot, context, body=first), [202]), Send(second)])


def _documents(shot, context):
    text = shot.generator
    if re.search(r"JSONTestSuite|JSON corpus|all files", text):
        bodies = corpus.JSON
    else:
        bodies = mutations.json_examples(text)
    if not bodies:
        return None
    return Plan([Send(_signed(shot, context, body)) for body in bodies])


def _twice(shot, context):
    if shot.generator:
        return None
    sent = _build(shot, context)
    return Plan([Send(sent), Send(sent)])


_sequence = (_full_store, _restart, _forged_then_genuine, _eviction, _distinct_ids, _new_id, _paths, _conflict,
             _documents, _twice)


def genuine(context, source, body, event_id, ts, content_type="application/json"):
    """The bytes of a genuine request, for floods and load."""
    found = context.fixture.sources[source]
    headers, body = found.genuine(body, event_id, ts, content_type)
    return http1.request_bytes("POST", found.path, headers, body)
