"""Makes the request of a shot: fills in placeholders, signs as the case asks for, applies what its words say. The result
is bytes and what is needed to judge the answer."""

import dataclasses
import random
import re
import time
import urllib.parse
import uuid

import http1
import mutations
import named
import placeholders
import signer
import sources
import tokens


class CannotRun(Exception):
    """The shot needs something that is not there, or is said in words that are not understood."""


@dataclasses.dataclass
class Request:
    """A request that can be sent."""
    method: str
    path: str
    headers: list
    body: bytes
    data: bytes  # all of it, as it goes over the wire
    source: str | None  # the source addressed, if it is one of the fixture's
    expected: str | None  # the genuine signature for it, which nothing may show
    admin: bool = False


@dataclasses.dataclass
class Context:
    """What a request is made with."""
    fixture: object
    canary_port: int
    canary_file: str
    random: random.Random
    event: str = ""
    now: int | None = None
    uuid: str | None = None


def new_uuid(rng):
    """A UUID from the run's seed."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def build(shot, context, body=None, headers=None, path=None, raw=None):
    """The request of a shot. Arguments replace what the shot says."""
    return Builder(shot, context).build(body, headers, path, raw)


class Builder:
    """Makes one request."""

    def __init__(self, shot, context):
        self.shot, self.context, self.fixture = shot, context, context.fixture
        self.now = context.now or _now(shot)
        self.uuid = context.uuid or new_uuid(context.random)
        self.signed_body, self.method, self.secret = b"", "POST", None
        self.headers, self.path, self.ts = [], "", None
        self.path = self._lenient(shot.path)
        if "ts" in shot.overrides:
            self.ts = self._plain(shot.overrides["ts"])

    def build(self, body, headers, path, raw):
        """See `build`."""
        shot = self.shot
        self.path = self._lenient(shot.path if path is None else path)
        self.method = shot.method or "POST"
        source = self.source()
        raw = shot.raw if raw is None else raw
        if raw is not None:
            return self._raw(raw, source)
        self.signed_body, sent = self._bodies(body)
        fields = list(shot.headers if headers is None else headers)
        if shot.is_only_words and sent == self.signed_body and body is None:
            change = named.change(shot, self.path, fields, sent, self._token)
            if change is None:
                raise CannotRun(f"the name of the variant says a change that is not known here: {shot.name!r}")
            fields, self.method = change.headers, change.method or self.method
            self.path = self._lenient(change.path)
            self.secret = change.secret
            if change.body is not None:
                self.signed_body = sent = change.body
            source = self.source()
        fields = self._with_timestamp(self._as_the_source_has_it(fields, source), source)
        self.headers = [(name, value if _is_signed(value) else self._plain(value)) for name, value in fields]
        self.headers = [(name, self._plain(value)) for name, value in self.headers]
        self.path = self._plain(self.path)
        if b"{{sig:" in sent:
            # A signature that stands inside what it signs.
            self.signed_body = sent = self._expanded(sent, self.values())
        data = http1.request_bytes(self.method, self.path, self.headers, sent, trailers=self._trailers())
        return Request(self.method, self.path, self.headers, sent, data, source, self._expected(source),
                       self._is_admin())

    def _as_the_source_has_it(self, fields, source):
        """A token goes where its source looks for it, in whichever header a case has it."""
        scheme = self.fixture.sources[source].scheme if source else None
        if scheme is None or not scheme.is_token:
            return fields
        return [(scheme.header, scheme.prefix + value[value.index("{{jwt:"):])
                if name.lower() == "authorization" and re.match(r"(Bearer |JWT )?\{\{jwt:", value)
                and scheme.header != "Authorization" else (name, value) for name, value in fields]

    def _raw(self, raw, source):
        shot = self.shot
        if shot.name and raw is shot.raw:
            raw = mutations.changed_raw(raw, shot)
            if raw is None:
                raise CannotRun(f"the name of the variant says a change that is not known here: {shot.name!r}")
        head, _, body = raw.partition(b"\r\n\r\n")
        self.signed_body = body
        line, *fields = head.split(b"\r\n")
        self.headers = [(k.decode("latin-1"), v.strip().decode("latin-1"))
                        for k, _, v in (field.partition(b":") for field in fields)]
        target = line.split(b" ")[1].decode("latin-1") if line.count(b" ") else ""
        self.path = self.path or target
        text = placeholders.expand(raw.decode("latin-1"), self.values(), strict=False)
        return Request(line.split(b" ")[0].decode("latin-1"), target, self.headers, body, text.encode("latin-1"),
                       sources.named_in(target) or source, None, self._is_admin())

    def source(self):
        """The source that the path addresses, if it is one of the fixture's."""
        name = sources.named_in(urllib.parse.unquote(self.path.partition("?")[0]))
        return name if name in self.fixture.sources else None

    def _is_admin(self):
        return "{{admin}}" in self.shot.path or self.shot.path.startswith("/api/v1/") and \
            self.shot.listener == "admin" and not speaks_of_ingress(self.shot)

    def _bodies(self, body):
        shot = self.shot
        own = body if body is not None else self._expanded_body()
        if body is not None:
            return own, own
        try:
            pair = mutations.signed_and_sent(shot.generator, shot.name, own)
        except mutations.NotUnderstood as words:
            raise CannotRun(f"a form of body that is not known here: {words}") from words
        if pair is None and shot.is_only_words and (changed := mutations.change_named(shot.name, own)) is not None:
            pair = own, changed
        return pair or (own, own)

    def _expanded_body(self):
        if self.shot.body is None:
            return b""
        # What is signed inside the body comes last, when the rest of it stands.
        values = self.values()
        values.signature = lambda sig: None
        return self._expanded(self.shot.body, values)

    def _expanded(self, body, values):
        # Byte for byte: latin-1 maps each byte to one character and back.
        return placeholders.expand(body.decode("latin-1"), values, strict=False).encode("latin-1")

    def _with_timestamp(self, fields, source):
        if self.ts is None or source is None:
            return fields
        name = self.fixture.sources[source].scheme.timestamp_header
        if not name:
            return fields
        present = any(key.lower() == name.lower() for key, _ in fields)
        out = [(key, self.ts if key.lower() == name.lower() else value) for key, value in fields]
        return out if present else [*out, (name, self.ts)]

    def _trailers(self):
        match = re.search(r'last chunk followed by "(.+)"', self.shot.generator)
        return [self._plain(match.group(1))] if match else []

    def _plain(self, text):
        try:
            return placeholders.expand(text, self.values())
        except placeholders.Unknown as unknown:
            raise CannotRun(f"placeholder {unknown} is not known here") from unknown

    def _lenient(self, text):
        values = self.values()
        values.signature = values.jwt = lambda _: None
        return placeholders.expand(text, values, strict=False)

    def values(self):
        """What placeholders stand for here."""
        secrets = {f"canary_secret_{number}": secret for number, secret in enumerate(self.fixture.secrets, 1)}
        plain = {"canary_port": str(self.context.canary_port), "canary_file": self.context.canary_file,
                 "admin": "/api/v1", "dest": "app", **secrets}
        if self.context.event:
            plain["event"] = self.context.event
        return placeholders.Values(self.now, self.uuid, plain, self._token, self._signature, self._hmac, self._rsa,
                                   self._jwt)

    def _token(self, name):
        if name in self.fixture.tokens:
            return self.fixture.tokens[name]
        source = self.fixture.sources.get(name)
        if source and source.more_environment:
            return next(iter(source.more_environment.values()))
        return source.secret_text if source else None

    def _signing(self, scheme, body, before, ts=None, **given):
        if ts is None:
            ts = self.ts
        if ts is None and scheme.timestamp_header:
            ts = next((v for k, v in self.headers if k.lower() == scheme.timestamp_header.lower()), None)
        if ts is None and (match := re.search(r"(?:^|,)t=([^,]*)", before)):
            ts = match.group(1)
        if ts is None:
            ts = str(self.now * 1000 if scheme.timestamp_header == "X-Time" else self.now)
        return signer.Signing(self.headers, body, self.path, ts, **given)

    def _signature(self, sig):
        fixture = self.fixture
        known = fixture.sources.get(sig.source)
        if known is None:
            raise CannotRun(f"there is no source `{sig.source}` here")
        secret, source = sig.secret, known
        if "secret" in self.shot.overrides or self.secret is not None:
            secret = self.shot.overrides.get("secret", self.secret)
        if not sig.own_form:
            secret = known.secret_text if secret is None else secret
            source = fixture.sources.get(self.source() or "", known)
        body = self.signed_body if sig.over is None else self._other_body(sig.over)
        signing = self._signing(source.scheme, body, sig.before, sig.ts, secret=secret, alg=sig.alg)
        signature = source.scheme.signature(signing, source.key)
        value = signature if sig.hexonly else source.scheme.value(signing, source.key, signature)
        return placeholders.truncated(value, signature, sig.first) if sig.first else value

    def _other_body(self, words):
        if "compact" in words.lower() or words.lower() in ("body", "the body"):
            return self.signed_body
        if "empty" in words.lower():
            return b""
        if "other" in words.lower() or "another" in words.lower():
            return self.signed_body + b" "
        if "{" in words:
            return words.encode()
        raise CannotRun(f"a body that is not known here: {words!r}")

    def _hmac(self, key, encoding):
        key = self.shot.overrides.get("key", key)
        source = self.fixture.sources.get(self.source() or "")
        match = re.fullmatch(r"public_key_of\((\w+)\)|public_key_text", key)
        if match:
            text = self.fixture.sources[match.group(1) or self.source() or "stda"].key
            key = text if match.group(1) is None else _decoded(text)
        scheme = source.scheme if source else signer.Hmac()
        content = scheme.content(self._signing(scheme, self.signed_body, ""))
        mac = signer.hmac.new(signer.as_bytes(key), content, "sha256").digest()
        return signer.encode(mac, encoding)

    def _rsa(self, whose):
        key = {"attacker": self.fixture.ring.attacker}.get(whose, self.fixture.ring.rsa if whose in
                                                           self.fixture.sources else None)
        source = self.fixture.sources.get(self.source() or "")
        content = source.scheme.content(self._signing(source.scheme, self.signed_body, "")) if source else self.signed_body
        return signer.encode(key.sign(content), "base64") if key else None

    def _jwt(self, words):
        source = self.fixture.sources.get(self.source() or "")
        if source is None or not source.scheme.is_token:
            raise CannotRun(f"a token for {self.path}, whose source takes none")
        signing = self._signing(source.scheme, self.signed_body, "", secret=self.shot.overrides.get("secret", self.secret))
        try:
            return source.scheme.token(words, signing, source.key, self.now)
        except tokens.NotUnderstood as unknown:
            raise CannotRun(f"a token that is not known here: {unknown}") from unknown

    def _expected(self, source):
        if source is None:
            return None
        scheme = self.fixture.sources[source].scheme
        before = " ".join(v for k, v in self.headers if k.lower() == scheme.header.lower())
        if isinstance(scheme, signer.Hmac):
            return scheme.signature(self._signing(scheme, self.signed_body, before), self.fixture.sources[source].key)
        return None


def _decoded(text):
    """The raw key of a `whpk_…` text."""
    return signer.base64.b64decode(text.removeprefix("whpk_"))


def _is_signed(value):
    return any(start in value for start in ("{{sig:", "{{hmac_", "{{rsa_sig", "{{jwt:"))


def _now(shot):
    """The second in which the shot goes out. A timestamp ahead of the clock is judged when it arrives: near the end of
    a second it could be a second less ahead by then."""
    texts = [shot.path, *(value for _, value in shot.headers), str(shot.overrides.get("ts", ""))]
    if any("{{ts+" in text for text in texts):
        fraction = time.time() % 1
        if fraction > 0.3:
            time.sleep(1 - fraction)
    return int(time.time())


def speaks_of_ingress(shot):
    """Whether an `admin` case is about the ingress listener: that nothing of the admin API is to be found there."""
    return bool(re.search(r"ingress listener", shot.note + shot.generator, re.IGNORECASE))
