"""Signs requests the way the senders do, from their documentation, and shares no code with the product: if both sides
were wrong in the same way, nothing else here would notice."""

import base64
import dataclasses
import hashlib
import hmac
import re
import urllib.parse

import curves


@dataclasses.dataclass
class Signing:
    """What one signature is made over, and with what."""
    headers: list  # [(name, value text)], as they will be sent
    body: bytes
    url: str  # path and query as sent
    ts: str  # the timestamp's text
    secret: str | bytes | None = None  # instead of the source's own
    alg: str | None = None  # instead of the scheme's own hash

    def header(self, name):
        """The first value under that name, or an empty text."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


def as_bytes(text):
    """Text as it goes over the wire."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


class Scheme:
    """How one source's sender signs. `signature` gives the bare encoded signature, `value` the whole header value."""

    header = "X-Sig"
    timestamp_header = None
    id_header = None
    is_token = False  # whether the header is a token with claims
    seals_body = False  # whether the signature stands inside the body

    def content(self, signing):
        """The signed bytes."""
        return signing.body

    def stamp(self, ts):
        """A time as the sender writes it."""
        return str(ts)

    def signature(self, signing, key):
        """The signature in its encoding, without what stands around it."""
        raise NotImplementedError

    def value(self, signing, key, signature=None):
        """The whole header value."""
        return self.wrap(signing, self.signature(signing, key) if signature is None else signature)

    def wrap(self, signing, signature):
        """The signature with what stands around it."""
        return signature


class Hmac(Scheme):
    """An HMAC of the body, or of what `content` makes of the request."""

    def __init__(self, header="X-Sig", alg="sha256", encoding="hex", prefix="", content=None, wrap=None,
                 timestamp_header=None, id_header=None, key="utf8"):
        self.header, self.alg, self.encoding, self.prefix = header, alg, encoding, prefix
        self.timestamp_header, self.id_header, self.key_rule = timestamp_header, id_header, key
        self._content, self._wrap = content, wrap

    def content(self, signing):
        return self._content(signing) if self._content else signing.body

    def key(self, secret):
        """The key of a configured secret."""
        secret = as_bytes(secret)
        if self.key_rule == "whsec" and secret.startswith(b"whsec_"):
            return base64.b64decode(secret[6:])
        if self.key_rule == "hex":
            return bytes.fromhex(secret.decode())
        return secret

    def mac(self, signing, key):
        """The MAC itself."""
        alg = re.sub(r"[^a-z0-9]", "", (signing.alg or self.alg).lower().replace("hmac", ""))
        return hmac.new(key, self.content(signing), alg).digest()

    def signature(self, signing, key):
        secret = key if signing.secret is None else signing.secret
        return encode(self.mac(signing, self.key(secret)), self.encoding)

    def wrap(self, signing, signature):
        return self._wrap(signing, signature) if self._wrap else self.prefix + signature


class Asymmetric(Scheme):
    """A signature made by a function of the signed bytes."""

    def __init__(self, sign, header="X-Sig", encoding="base64", prefix="", content=None, timestamp_header=None,
                 id_header=None):
        self.sign, self.header, self.encoding, self.prefix = sign, header, encoding, prefix
        self.timestamp_header, self.id_header, self._content = timestamp_header, id_header, content

    def content(self, signing):
        return self._content(signing) if self._content else signing.body

    def signature(self, signing, key):
        return encode(self.sign(self.content(signing)), self.encoding)

    def wrap(self, signing, signature):
        return self.prefix + signature


class Token(Scheme):
    """Nothing is signed: the secret itself travels."""

    def __init__(self, header, prefix=""):
        self.header, self.prefix = header, prefix

    def signature(self, signing, key):
        secret = key if signing.secret is None else signing.secret
        return as_bytes(secret).decode()

    def wrap(self, signing, signature):
        return self.prefix + signature


class Basic(Token):
    """`user:password` in base64."""

    def __init__(self):
        super().__init__("Authorization", "Basic ")

    def signature(self, signing, key):
        return base64.b64encode(super().signature(signing, key).encode()).decode()


def encode(raw, encoding):
    """Bytes as text."""
    if encoding == "hex":
        return raw.hex()
    if encoding == "base64url":
        return base64.urlsafe_b64encode(raw).decode()
    return base64.b64encode(raw).decode()


def stripe_content(signing):
    """`{t}.{body}`"""
    return as_bytes(signing.ts) + b"." + signing.body


def stripe_wrap(signing, signature):
    """`t=…,v1=…`"""
    return f"t={signing.ts},v1={signature}"


def standard_content(prefix):
    """`{id}.{t}.{body}` of Standard Webhooks and of Svix, which differ in the header's prefix."""
    return lambda signing: b".".join([as_bytes(signing.header(prefix + "id")), as_bytes(signing.ts), signing.body])


def slack_content(signing):
    """`v0:{t}:{body}`"""
    return b"v0:" + as_bytes(signing.ts) + b":" + signing.body


def twilio_content(public_url):
    """The public URL and the form's parameters, sorted by name, each name followed by its value."""
    def content(signing):
        query = signing.url.partition("?")[2]
        url = public_url + ("?" + query if query else "")
        if "bodySHA256=" in query or not signing.header("content-type").startswith("application/x-www-form"):
            return url.encode()
        pairs = urllib.parse.parse_qsl(signing.body.decode("utf-8", "replace"), keep_blank_values=True)
        values = {}
        for name, value in pairs:
            values.setdefault(name, set()).add(value)
        return (url + "".join(n + v for n in sorted(values) for v in sorted(values[n]))).encode()
    return content


def body_sha256(body):
    """What `bodySHA256` in a Twilio URL has to be."""
    return hashlib.sha256(body).hexdigest()


def ed25519(seed):
    """Signs with that seed."""
    return lambda message: curves.ed25519_sign(seed, message)


def p256(secret):
    """Signs with that secret."""
    return lambda message: curves.p256_sign(secret, message)
