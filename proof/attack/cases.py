"""Reads files of attack cases and lays each out as shots: the case itself and each of its variants. Knows the format;
sends nothing."""

import base64
import dataclasses
import fnmatch
import json
import re

TRANSPORTS = ("http1", "raw", "h2", "sequence", "concurrent", "load", "statistical", "boot")
LISTENERS = ("ingress", "admin", "egress", "boot")


class BadFile(Exception):
    """A file that is no file of cases."""


class BadCase(Exception):
    """A case that is not written as cases are."""


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
    overrides: dict  # what is set beside all that: secret, ts, key, content_length, te
    changes: frozenset = frozenset()  # the keys that a variant has
    headers_set: dict = dataclasses.field(default_factory=dict)
    unknown: frozenset = frozenset()  # keys that mean something which is not known here
    said: str = ""  # the name as the case has it, without where else it is tried
    is_extra: bool = False  # at another source than the case has it, as far as its words have a meaning there

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
        return bool(self.name) and bool(self.said) and not self.changes - _WORDS


_OWN = {"name", "path", "method", "expect_status", "expect_no_event", "generator", "also", "note", "listener",
        "transport", "headers", "body_b64", "body", "raw_b64", "headers_set", "headers_add", "headers_remove"}

_WORDS = {"name", "expect_status", "expect_no_event", "note", "also"}

_OVERRIDES = {"secret", "ts", "key", "content_length", "te"}

# What is about a case, and changes nothing of it.
_ABOUT = {"id", "category", "source", "evidence", "variants", "title", "severity", "tags", "cwe", "cve", "asvs", "owasp",
          "refs", "references", "links", "comment", "description", "since", "why", "count", "version"}


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
    for number, case in enumerate(cases, 1):
        if not isinstance(case, dict) or not isinstance(case.get("id"), str) or not case["id"]:
            raise BadFile(f"{path}: case {number} has no `id`")
    return cases


def chosen(cases, patterns):
    """Those whose id fits one of the patterns; all of them without any."""
    if not patterns:
        return cases
    return [case for case in cases if any(fnmatch.fnmatchcase(case["id"], pattern) for pattern in patterns)]


def shots(case):
    """The case and its variants; raises `BadCase` where it is not written as cases are."""
    try:
        return _shots(case)
    except BadCase:
        raise
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise BadCase(f"it is not written as cases are: {error}") from error


def _shots(case):
    found = [_shot(case, {})]
    names = {}
    for number, variant in enumerate(case.get("variants") or [], 1):
        variant = {"name": variant} if isinstance(variant, str) else variant
        name = variant.get("name") or f"variant {number}"
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            name += f" ({names[name]})"
        found.append(_shot(case, {**variant, "name": name}))
    return found


def statuses(given):
    """`401`, `[401, "4xx"]` as a list of numbers."""
    found = []
    for one in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(one, str) and (match := re.fullmatch(r"([1-5])xx", one, re.IGNORECASE)):
            found += range(int(match.group(1)) * 100, int(match.group(1)) * 100 + 100)
        elif one is not None:
            found.append(int(one))
    return found


def _pairs(given):
    """Headers as pairs, whether they are a list of pairs or an object."""
    if isinstance(given, dict):
        given = [(k, each) for k, v in given.items() for each in (v if isinstance(v, list) else [v])]
    pairs = [(name, value) for name, value in given or []]
    for name, value in pairs:
        if not isinstance(name, str) or not isinstance(value, str):
            raise BadCase(f"a header is not text: {name!r}")
    return pairs


def _decoded(text):
    return base64.b64decode("".join(text.split()), validate=True)


def _texts(given):
    return [given] if isinstance(given, str) else [str(one) for one in given or []]


def _shot(case, variant):
    def of(key, default=None):
        return variant.get(key, case.get(key, default))

    transport = of("transport") or "http1"
    headers = _pairs(of("headers"))
    for name, value in (variant.get("headers_set") or {}).items():
        headers = set_header(headers, name, value)
    for name in _texts(variant.get("headers_remove")):
        headers = set_header(headers, name, None)
    headers += _pairs(variant.get("headers_add"))
    body = None
    if of("body") is not None and variant.get("body_b64") is None:
        body = of("body") if isinstance(of("body"), str) else json.dumps(of("body"), ensure_ascii=False)
        body = body.encode("utf-8", "surrogatepass")
    elif of("body_b64") is not None:
        body = _decoded(of("body_b64"))
    raw = _decoded(of("raw_b64")) if of("raw_b64") else None
    written = {**{key: value for key, value in case.items() if key not in _ABOUT}, **variant}
    return Shot(
        case_id=case["id"], name=variant.get("name", ""),
        transport=re.split(r"[:\s(,]", transport.strip().lower(), maxsplit=1)[0], transport_text=transport,
        listener=(of("listener") or "ingress").lower(), method=of("method", "POST") or "", path=of("path", "") or "",
        headers=headers, body=body, raw=raw, generator=of("generator", "") or "",
        expect_status=statuses(of("expect_status")), expect_no_event=bool(of("expect_no_event", False)),
        also=_texts(of("also")), note=of("note", "") or "",
        overrides={key: value for key, value in written.items() if key in _OVERRIDES},
        changes=frozenset(variant), headers_set=variant.get("headers_set") or {},
        unknown=frozenset(written) - _OWN - _OVERRIDES - _ABOUT, said=variant.get("name", ""),
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
