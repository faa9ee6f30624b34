"""Reads files of attack cases and lays each out as shots: the case itself and each of its variants. Knows the format;
sends nothing."""

import base64
import dataclasses
import fnmatch
import json
import re

TRANSPORTS = ("http1", "raw", "h2", "sequence", "concurrent", "load", "statistical", "boot")


class BadFile(Exception):
    """A file that is no file of cases."""


@dataclasses.dataclass
class Shot:
    """One thing to try: a case, or a variant of it with what the variant changes."""
    case_id: str
    name: str  # of the variant; empty for the case itself
    transport: str  # the first word, without what is behind `:` or a blank
    transport_text: str  # as written
    listener: str
    method: str
    path: str
    headers: list
    body: bytes | None
    raw: bytes | None
    generator: str
    expect_status: list
    expect_no_event: bool
    also: list
    note: str
    overrides: dict  # what a variant sets beside all that: secret, ts, key, content_length, te, …
    changes: frozenset = frozenset()  # the keys that a variant has
    headers_set: dict = dataclasses.field(default_factory=dict)

    @property
    def label(self):
        """`ID` or `ID/variant`."""
        return f"{self.case_id}/{self.name}" if self.name else self.case_id

    @property
    def texts(self):
        """Everything that says in words what is to be done."""
        return " ".join([self.name, self.generator, self.transport_text, self.note, *self.also])

    @property
    def is_only_words(self):
        """Whether it is a variant that changes no data: its name has to say what is different."""
        return bool(self.name) and not self.changes - _WORDS


_OWN = {"name", "path", "method", "expect_status", "expect_no_event", "generator", "also", "note", "listener",
        "transport", "headers", "body_b64", "body", "raw_b64", "headers_set", "headers_add", "headers_remove"}

_WORDS = {"name", "expect_status", "expect_no_event", "note", "also"}


def load(path):
    """The cases of a file, as they are written."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise BadFile(f"{path}: {error}") from error
    cases = document.get("cases") if isinstance(document, dict) else document
    if not isinstance(cases, list):
        raise BadFile(f"{path}: there is no list `cases`")
    for case in cases:
        if not isinstance(case, dict) or not case.get("id"):
            raise BadFile(f"{path}: a case without `id`")
    return cases


def chosen(cases, patterns):
    """Those whose id fits one of the patterns; all of them without any."""
    if not patterns:
        return cases
    return [case for case in cases if any(fnmatch.fnmatchcase(case["id"], pattern) for pattern in patterns)]


def shots(case):
    """The case and its variants."""
    found = [_shot(case, {})]
    names = {}
    for number, variant in enumerate(case.get("variants", []), 1):
        name = variant.get("name") or f"variant {number}"
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            name += f" ({names[name]})"
        found.append(_shot(case, {**variant, "name": name}))
    return found


def _shot(case, variant):
    def of(key, default=None):
        return variant.get(key, case.get(key, default))

    transport = of("transport", "http1")
    headers = [(name, value) for name, value in of("headers") or []]
    for name, value in (variant.get("headers_set") or {}).items():
        headers = set_header(headers, name, value)
    for name in variant.get("headers_remove") or []:
        headers = set_header(headers, name, None)
    added = variant.get("headers_add") or []
    headers += [(name, value) for name, value in (added.items() if isinstance(added, dict) else added)]
    body = None
    if of("body") is not None and variant.get("body_b64") is None:
        body = of("body").encode("utf-8", "surrogatepass")
    elif of("body_b64") is not None:
        body = base64.b64decode(of("body_b64"))
    raw = base64.b64decode(of("raw_b64")) if of("raw_b64") else None
    return Shot(
        case_id=case["id"], name=variant.get("name", ""),
        transport=re.split(r"[:\s(]", transport.strip().lower(), maxsplit=1)[0], transport_text=transport,
        listener=of("listener", "ingress"), method=of("method", "POST"), path=of("path", ""),
        headers=headers, body=body, raw=raw, generator=of("generator", "") or "",
        expect_status=list(of("expect_status") or []), expect_no_event=bool(of("expect_no_event", False)),
        also=list(of("also") or []), note=of("note", "") or "",
        overrides={key: value for key, value in variant.items() if key not in _OWN},
        changes=frozenset(variant), headers_set=variant.get("headers_set") or {},
    )


def set_header(headers, name, value):
    """The headers with `name` once, as `value`, where its first one was or else at the end; `None` takes it away."""
    out, done = [], value is None
    for key, old in headers:
        if key.lower() != name.lower():
            out.append((key, old))
        elif not done:
            out.append((key, value))
            done = True
    return out if done else out + [(name, value)]
