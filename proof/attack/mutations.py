"""What the words of a case do to a request: bodies that are described instead of written out, changes that a variant
names, lengths and counts. Each function knows a family of phrases, not a case."""

import json
import re

_UNITS = {"": 1, "b": 1, "byte": 1, "bytes": 1, "kb": 1000, "kib": 1024, "mb": 10**6, "mib": 2**20, "gb": 10**9,
          "gib": 2**30}

SAMPLE = {"id": "evt_atk", "type": "ping", "created": 1700000000, "data": {"amount": 1000, "note": "a/b \u00e9"}}
COMPACT = json.dumps(SAMPLE, separators=(",", ":"), ensure_ascii=False).encode()


class NotUnderstood(Exception):
    """Words that nobody here can turn into a request."""


def number(text):
    """`2,000`, `1e6`, `5k` as an int."""
    text = text.replace(",", "").replace("_", "")
    if text[-1:] in "kK":
        return int(float(text[:-1]) * 1000)
    return int(float(text))


def count_before(words, text, default=None):
    """The number that stands before one of the words: `256 connections`."""
    match = re.search(r"(\d[\d,]*(?:e\d+)?[kK]?)\s+(?:[\w-]+\s+){0,3}?(?:" + words + r")\b", text)
    return number(match.group(1)) if match else default


def size_in(text, default=None):
    """The first size in the text, in bytes: `20 MiB`, `64 KB`."""
    match = re.search(r"(\d[\d,.]*)\s*\+?\s*(KiB|KB|MiB|MB|GiB|GB)\b", text, re.IGNORECASE)
    return int(float(match.group(1).replace(",", "")) * _UNITS[match.group(2).lower()]) if match else default


def repeated_json(text):
    """A body written as JSON in which `"a"*1048576` stands for a long string; `None` if it is none."""
    if not re.search(r'"\s*\*\s*[\d,]+', text):
        return None

    def grown(match):
        return json.dumps(json.loads(match.group(1)) * number(match.group(2)))
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=None)
    if start is None:
        return None
    body = re.sub(r'("(?:[^"\\]|\\.)*")\s*\*\s*([\d,]+)', grown, text[start:])
    end = max(body.rfind("}"), body.rfind("]")) + 1
    try:
        json.loads(body[:end])
    except ValueError:
        return None
    return body[:end].encode()


def json_examples(text):
    """The JSON documents that a sentence lists: `{"a":null}, {"b":[]}`."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at] in "{[":
            try:
                _, end = decoder.raw_decode(text, at)
                found.append(text[at:end].encode())
                at = end
                continue
            except ValueError:
                pass
        at += 1
    return found


def bombs(text):
    """Deep nestings that the text describes: `200,000 "[" then 200,000 "]"`, `{"a":{"a":…`."""
    depth = count_before(r'"\[|\[|levels|deep', text) or 0
    match = re.search(r'([\d,]+)\s*"?\[', text)
    depth = number(match.group(1)) if match else depth
    if not depth:
        return []
    found = [b"[" * depth + b"]" * depth]
    if '{"a"' in text:
        found.append(b'{"a":' * depth + b"1" + b"}" * depth)
    return found


_FORMS = [  # phrase -> body made of a JSON body
    (r"re-?ordered|pretty", lambda doc, raw: json.dumps(dict(reversed(doc.items())), indent=2).encode()),
    (r"spaces|whitespace", lambda doc, raw: json.dumps(doc, separators=(" , ", " : ")).encode()),
    (r"\\u|escapes?", lambda doc, raw: json.dumps(doc, ensure_ascii=True, separators=(",", ":")).encode()
     .replace(b"/", b"\\u002f")),
    (r"compact", lambda doc, raw: COMPACT),
]

_CHANGES = [  # name of a variant -> change of the sent bytes, the signed ones staying as they are
    (r"(one|a|single) (byte|bit) (flipped|changed)|flipped (byte|bit)",
     lambda raw: raw[:len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1:]),
    (r"trailing newline|newline (added|appended)", lambda raw: raw + b"\n"),
    (r"leading newline|newline before", lambda raw: b"\n" + raw),
    (r"crlf", lambda raw: raw.replace(b"\r\n", b"\n") if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")),
    (r"\bbom\b", lambda raw: b"\xef\xbb\xbf" + raw),
    (r"(trailing|appended) (space|blank)", lambda raw: raw + b" "),
    (r"(trailing|appended) (nul|\\0)|nul (added|appended)", lambda raw: raw + b"\0"),
    (r"truncated|one byte short|last byte (missing|cut)", lambda raw: raw[:-1]),
    (r"empty body|body (removed|missing)", lambda raw: b""),
    (r"body twice|doubled", lambda raw: raw + raw),
    (r"upper ?case", lambda raw: raw.upper()),
]


def signed_and_sent(generator, name, body):
    """`(signed, sent)` for a case that signs one body and sends another; `None` if it is not such a case."""
    match = re.search(r"\bsign(?:s|ed)? (.+?),? (?:and |then |but )?sends? (.+)", generator, re.IGNORECASE)
    if not match:
        return None
    # With line ends inside, so that a change of them changes something.
    signed = body or (COMPACT if "crlf" not in name.lower() else json.dumps(SAMPLE, indent=1).encode())
    if name and (changed := change_named(name, signed)) is not None:
        return signed, changed
    words = name or match.group(2)
    for pattern, form in _FORMS:
        if re.search(pattern, words, re.IGNORECASE):
            return signed, form(json.loads(signed), signed)
    raise NotUnderstood(words)


def change_named(name, body):
    """The bytes as the name of a variant says that they were changed after signing; `None` if it says no such thing."""
    for pattern, change in _CHANGES:
        if re.search(pattern, name, re.IGNORECASE):
            return change(body)
    return None


def long_header(generator):
    """`header NAME: "A" + "B"+64 hex, repeated 2000`: the name, the beginning, and the repeated items."""
    match = re.search(r'header ([\w-]+): "([^"]*)"\s*\+\s*"([^"]*)"\s*\+?\s*(?:(\d+) hex)?,? repeated ([\d,]+)',
                      generator)
    if not match:
        return None
    name, start, item, digits, count = match.groups()
    return name, start, [f"{item}{at:0{int(digits or 0)}x}"[:len(item) + int(digits or 8)]
                         for at in range(1, number(count) + 1)]


def quoted_ids(text):
    """The ids that a sentence puts between double quotes, each once, in order."""
    found = []
    for match in re.findall(r'"([^"]+)"', text):
        if match not in found:
            found.append(match)
    return found


def changed_raw(raw, shot):
    """A raw request as a variant changes it: by `content_length`, `te`, or a change that its name describes; `None`
    if the name says nothing that is known here."""
    line, fields, body = _taken_apart(raw)
    if "raw_b64" in shot.changes:
        return raw
    for name, value in shot.headers_set.items():
        fields = _without(fields, name) if value is None else _with(fields, name, value)
    if shot.changes & {"path", "method"}:
        method, target, version = line.split(b" ")
        line = b" ".join([shot.method.encode() if "method" in shot.changes else method,
                          shot.path.encode() if "path" in shot.changes else target, version])
    if "content_length" in shot.overrides:
        fields = _with(fields, "Content-Length", shot.overrides["content_length"])
    elif "te" in shot.overrides:
        fields = _with(fields, "Transfer-Encoding", shot.overrides["te"])
    elif re.match(r"two hosts", shot.name, re.IGNORECASE):
        fields = [b"Host: gw", b"Host: evil.test", *_without(fields, "Host")]
    elif re.match(r"no host", shot.name, re.IGNORECASE):
        fields = _without(fields, "Host")
    elif re.match(r"absolute-form", shot.name, re.IGNORECASE):
        method, target, version = line.split(b" ")
        line = b" ".join([method, b"http://evil.test" + target, version])
        fields = _with(fields, "Host", "gw")
    elif match := re.fullmatch(r"([A-Za-z][A-Za-z0-9-]*): (.*)", shot.name, re.DOTALL):
        fields = _with(fields, match.group(1), match.group(2))
    elif shot.is_only_words:
        return None
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n" + body


def _taken_apart(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    return line, fields, body


def _without(fields, name):
    return [field for field in fields if field.partition(b":")[0].strip().lower() != name.lower().encode()]


def _with(fields, name, value):
    return [*_without(fields, name), f"{name}: {value}".encode("utf-8", "surrogateescape")]
