"""What a variant changes that has nothing but a name: `Content-Type: text/html`, `kid=../../dev/null`, `right token +
<script>`. Each rule knows a family of phrases; a name that none of them understands is a case that cannot be run."""

import dataclasses
import json
import re
import urllib.parse

import cases
import tokens

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
_JWT = re.compile(r"\{\{jwt:.*\}\}", re.DOTALL)


@dataclasses.dataclass
class Change:
    """The request as the name has it."""
    headers: list
    path: str
    method: str | None = None
    secret: str | None = None
    body: bytes | None = None


def change(shot, path, headers, body, token):
    """The change, or `None` where the name is not understood. `token`: role or source -> text."""
    for rule in (_header, _token, _query, _method, _path, _secret, _member):
        found = rule(shot.said, Change(list(headers), path), body, token)
        if found is not None:
            return found
    return None


def _header(name, change, body, token):
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9_-]*):(?: (.*))?", name, re.DOTALL)
    if match is None:
        return None
    change.headers = cases.set_header(change.headers, match.group(1), match.group(2) or "")
    return change


def _token(name, change, body, token):
    """Other words for the token that a header has."""
    if not any(_JWT.search(value) for _, value in change.headers):
        return None
    words = name
    if re.match(r"(two|one|four|missing|empty|truncated|padd)", name, re.IGNORECASE):
        # What is cut off is cut off whatever the case had.
        words = next(m.group()[6:-2] for _, value in change.headers if (m := _JWT.search(value))) + "; " + name
    change.headers = [(key, _JWT.sub(lambda _: "{{jwt:" + words + "}}", value)) for key, value in change.headers]
    return change


def _query(name, change, body, token):
    """A challenge in the query, asked in another way."""
    place, has_query, query = change.path.partition("?")
    if not has_query:
        return None
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    known = False
    for words, rule in _ASKED:
        if match := re.search(words, name, re.IGNORECASE):
            pairs, known = rule(pairs, match, token, place.rpartition("/")[2]), True
    if re.search(r"unset|not set|no token configured", name):
        place, known = place + "unset", True
    if not known:
        return None
    change.path = place + "?" + urllib.parse.urlencode(pairs)
    return change


def _set(pairs, ending, value):
    return [(key, value if key.endswith(ending) else old) for key, old in pairs]


_ASKED = [
    (r"right (verify_?)?token", lambda pairs, m, token, source: _set(pairs, "verify_token", token(source) or "")),
    (r"wrong (verify_?)?token", lambda pairs, m, token, source: _set(pairs, "verify_token", "wrong")),
    (r"empty (verify_?)?token", lambda pairs, m, token, source: _set(pairs, "verify_token", "")),
    (r"(no|without) (verify_?)?token", lambda pairs, m, token, source: [p for p in pairs if "token" not in p[0]]),
    (r"(no|without) challenge", lambda pairs, m, token, source: [p for p in pairs if "challenge" not in p[0]]),
    (r"<script>", lambda pairs, m, token, source: _set(pairs, "challenge", "<script>alert(1)</script>")),
    (r"\bnumeric", lambda pairs, m, token, source: _set(pairs, "challenge", "1158201444")),
    (r"(long|\d+ ?KB) challenge", lambda pairs, m, token, source: _set(pairs, "challenge", "1" * 100_000)),
    (r"(?:duplicate|two|twice)\b.*?(hub\.\w+|challenge|token|mode)|hub\.\* (?:twice|duplicate)",
     lambda pairs, m, token, source: pairs + [p for p in pairs if p[0].endswith(m.group(1) or "challenge")]),
]


def _method(name, change, body, token):
    if name not in METHODS:
        return None
    change.method = name
    return change


def _path(name, change, body, token):
    if re.match(r"/[^\s]*$", name):
        change.path = name
    elif re.match(r"\?[^\s]*$", name):
        change.path += name
    else:
        return None
    return change


def _secret(name, change, body, token):
    match = re.fullmatch(r"(?:key|secret) [\"'`](.*)[\"'`]|(?:an )?empty (?:key|secret)", name, re.DOTALL)
    if match is None:
        return None
    change.secret = match.group(1) or ""
    return change


def _member(name, change, body, token):
    """A URL or a member of a message whose signature stands inside: it names another certificate, another topic."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    if not isinstance(document, dict) or "SigningCertURL" not in document:
        return None
    if re.match(r"(https?|ftp|file|gopher|data):", name) or re.fullmatch(r"[\w.@:\\/%#?-]+\.[\w.@:\\/%#?-]+", name):
        member, value = "SigningCertURL", name if ":/" in name else f"https://{name}/x.pem"
    elif match := re.fullmatch(r"(\w+)\s*[=:]\s*(.*)", name):
        member, value = match.groups()
        if member not in document and member not in ("Subject", "SubscribeURL"):
            return None
    else:
        return None
    change.body = json.dumps({**document, member: value}).encode()
    return change
