"""Expands `{{…}}` in the headers, paths and bodies of cases. Knows the grammar; what the values are is asked of the
`World` that a run provides.

    {{sig:S}}               header value of source S: |secret=K |alg=A |hexonly |first=N |ts=T, {{sig:S over BODY}}
    {{sig:S_secret_over_body}}  in the form of the addressed source, with the secret of S
    {{hmac_b64:key=K}}      bare HMAC over what the addressed source signs; key=public_key_of(S), or a text
    {{ts}} {{ts+301}}       seconds; {{tsms}} milliseconds; {{rfc3339}}
    {{uuid}}                the same within one request
    {{token:R}} |first=N    of an admin role or a source
    {{jwt:WORDS}}           a token of the addressed source, as `tokens.py` understands the words
    {{rsa_sig:attacker}}    over what the addressed source signs, with a key that is none of its
    {{canary_port}} {{canary_file}} {{canary_secret_N}} {{event}} {{dest}} {{admin}}
"""

import dataclasses
import datetime
import re


class Unknown(Exception):
    """A placeholder that nobody here can fill in."""


@dataclasses.dataclass
class Values:
    """What placeholders stand for in one request. Callables are asked when they occur."""
    now: int
    uuid: str
    plain: dict  # name -> text
    token: object  # (role or source) -> text
    signature: object  # Sig -> text
    hmac: object  # (key text, encoding) -> text
    rsa: object = None  # (whose) -> text
    jwt: object = None  # (words) -> text


@dataclasses.dataclass
class Sig:
    """A `{{sig:…}}` as it is written."""
    source: str
    own_form: bool = True  # False: with the secret of `source`, in the form of the source addressed
    over: str | None = None  # the text after ` over `
    secret: str | None = None
    alg: str | None = None
    ts: str | None = None
    hexonly: bool = False
    first: str | None = None
    before: str = ""  # what stands before it in the same header


def expand(text, values, strict=True):
    """The text with every placeholder filled in. Unknown ones raise, or stay as they are when not `strict`."""
    out, at = [], 0
    while True:
        start = text.find("{{", at)
        if start < 0:
            return "".join(out) + text[at:]
        end = _end(text, start)
        if end is None:
            return "".join(out) + text[at:]
        out.append(text[at:start])
        inside = text[start + 2:end - 2]
        if "{{" in inside:
            inside = expand(inside, values, strict)
        value = _value(inside, values, "".join(out))
        if value is None:
            if strict:
                raise Unknown("{{" + inside + "}}")
            value = text[start:end]
        out.append(value)
        at = end


def _end(text, start):
    """Where the placeholder that begins at `start` ends. Of `}}}` the last two close it."""
    depth, at = 0, start
    while at < len(text):
        if text.startswith("{{", at):
            depth, at = depth + 1, at + 2
        elif text.startswith("}}", at):
            if depth == 1 and text.startswith("}}}", at):
                at += 1
                continue
            depth, at = depth - 1, at + 2
            if depth == 0:
                return at
        else:
            at += 1
    return None


def _value(inside, values, before):
    if match := re.fullmatch(r"ts(?:\s*([+-])\s*(\d+))?", inside):
        return str(values.now + _offset(match))
    if match := re.fullmatch(r"ts_?ms(?:\s*([+-])\s*(\d+))?", inside):
        return str(values.now * 1000 + _offset(match))
    if match := re.fullmatch(r"rfc3339(?:\s*([+-])\s*(\d+))?", inside):
        moment = datetime.datetime.fromtimestamp(values.now + _offset(match), datetime.timezone.utc)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if inside == "uuid":
        return values.uuid
    if inside in values.plain:
        return values.plain[inside]
    kind, _, rest = inside.partition(":")
    if kind == "sig":
        return values.signature(parse_sig(rest, before))
    if kind == "token":
        return _token(rest, values)
    if kind in ("hmac_b64", "hmac_hex") and rest.startswith("key="):
        return values.hmac(rest[4:], "base64" if kind == "hmac_b64" else "hex")
    if kind == "rsa_sig" and values.rsa:
        return values.rsa(rest)
    if kind == "jwt" and values.jwt:
        return values.jwt(rest)
    return None


def _offset(match):
    return int((match.group(1) or "+") + (match.group(2) or "0"))


def _token(rest, values):
    name, *options = rest.split("|")
    token = values.token(name)
    if token is None:
        return None
    for option in options:
        key, _, value = option.partition("=")
        if key != "first":
            return None
        token = token[:int(value)]
    return token


def parse_sig(rest, before=""):
    """`S|option|option…`, `S over X` or `S_secret_over_body`."""
    head, *options = rest.split("|")
    name, _, over = head.partition(" over ")
    sig = Sig(name.strip(), over=over.strip() or None, before=before)
    if match := re.fullmatch(r"(\w+?)_secret_over_body", sig.source):
        sig.source, sig.own_form = match.group(1), False
    for option in options:
        key, has_value, value = option.partition("=")
        if key == "hexonly" and not has_value:
            sig.hexonly = True
        elif key in ("secret", "alg", "first", "ts") and has_value:
            setattr(sig, key, value)
        else:
            raise Unknown("{{sig:" + rest + "}}")
    return sig


def truncated(value, signature, first):
    """`first=32hex`: so many digits of the bare signature, with what stands before it; `first=8`: of the whole."""
    count = int(re.match(r"\d+", first).group())
    if first.endswith(("hex", "b64")):
        start = value.index(signature)
        return value[:start] + signature[:count]
    return value[:count]
