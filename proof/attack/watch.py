"""What may not change while an attack is refused, looked at before and after: ledger, rows, files, handler, canary, log,
memory."""

import dataclasses
import os
import re

RSS_MAX = 256 << 20


@dataclasses.dataclass
class Seen:
    """The state at one moment."""
    accepted: int
    conflicts: int
    rows: dict
    files: dict
    names: set
    last_event: str | None
    mark: int
    canary: int
    log: int


def look(gateway, arena):
    """The state now."""
    ledger = gateway.ledger()["events"]
    newest = gateway.api_json("/api/v1/events?limit=1")["items"]
    return Seen(ledger["accepted"], ledger["conflicts"], gateway.rows(), gateway.files(), gateway.names(),
                newest[0]["id"] if newest else None, arena.handler.mark(), arena.canary.touched, gateway.log_size())


def untouched(before, after, arena):
    """Problems where a refused request has left a trace."""
    problems = []
    if after.accepted != before.accepted:
        problems.append(f"{after.accepted - before.accepted} events were accepted")
    if after.rows != before.rows:
        changed = [f"{name} {before.rows.get(name)} -> {count}" for name, count in after.rows.items()
                   if count != before.rows.get(name)]
        problems.append("rows changed: " + ", ".join(changed))
    if after.files != before.files:
        problems.append(f"files of the store changed: {before.files} -> {after.files}")
    if after.names != before.names:
        problems.append(f"new files: {sorted(after.names ^ before.names)}")
    delivered = arena.handler.since(before.mark)
    if delivered:
        problems.append(f"{len(delivered)} requests reached the handler")
    return problems


def always(gateway, before, arena, answers=()):
    """Problems that fail any case: a death, a panic, a touched canary, a secret that shows, too much memory."""
    problems = []
    if arena.canary.touched != (before.canary if before else 0):
        problems.append("the canary was connected to")
    if os.path.exists(arena.canary_file):
        problems.append("the canary file exists")
        os.unlink(arena.canary_file)
    if gateway.is_stand_in:
        return problems
    if not gateway.alive:
        problems.append(f"the gateway has ended with {gateway.process.returncode}")
    said = gateway.log(gateway.scanned)
    gateway.scanned += len(said)
    if b"panicked" in said:
        problems.append("panicked: " + _line_with(said, b"panicked"))
    problems += leaks(said, gateway.fixture.secrets, "the log")
    for answer in answers:
        problems += leaks(answer, gateway.fixture.secrets, "an answer")
    if gateway.alive and gateway.peak() > RSS_MAX:
        problems.append(f"RSS peak is {gateway.peak() >> 20} MiB")
    return problems


def leaks(data, secrets, where):
    """Secrets that show in some bytes."""
    return [f"a secret shows in {where}: {secret[:12]}…" for secret in secrets if secret.encode() in data]


def _line_with(said, word):
    match = re.search(rb"[^\n]*" + word + rb"[^\n]*", said)
    return match.group().decode("utf-8", "replace")[:200]


def api_answers(gateway):
    """Everything that the admin API shows, to be searched for secrets."""
    paths = ["/metrics", "/readyz", "/healthz"] + [
        "/api/v1/" + name for name in ("ledger", "events", "deliveries", "dead", "sources", "destinations",
                                       "rejections", "config", "audit")]
    found = []
    for path in paths:
        response = gateway.api("GET", path)
        if response is not None:
            found.append(response.body)
    for event in gateway.events(limit=50):
        response = gateway.api("GET", "/api/v1/events/" + event["id"])
        if response is not None:
            found.append(response.body)
    return found
