"""JSON web tokens as their issuers make them, and as attackers do. `{{jwt:…}}` says in words what is different about one; a
word that nobody here knows means that the case cannot be run, and never that a genuine token is sent in its place.

    valid                        what the source takes
    alg=none, alg=HS256 …        the head says so, and the token is signed so: with the source's public key as the secret
                                 unless `empty key` or `secret=…` says otherwise; `r=s=0`: with zeros
    jku=URL, x5u=URL, jwk, x5c, crit, kid=…    in the head, signed by a key of the attacker's
    aud=…, iss=…, exp=-60, no exp, …           claims; times are seconds from now
    body_hash_of=other body, url_hash_of=…     a claim that covers something else
    signed by the attacker, two segments only, empty signature, four segments, padding, …
"""

import base64
import dataclasses
import hashlib
import hmac
import json
import re

import curves
import keys
import signer

TIMES = ("exp", "nbf", "iat")


class NotUnderstood(Exception):
    """Words that say something that is not known here."""


@dataclasses.dataclass
class Making:
    """A token in the making."""
    scheme: object
    signing: object
    key: object
    now: int
    head: dict
    claims: dict
    alg: str  # how it is really signed
    secret: bytes | None = None  # for a MAC, if not the scheme's own
    is_attackers: bool = False
    signature: object = None  # bytes, in place of a signature
    finish: object = None  # changes the finished segments


class Jwt(signer.Scheme):
    """A scheme whose header is a token. `claims`: `(signing, now, id) -> dict`."""

    is_token = True

    def __init__(self, header, prefix, alg, claims, sign=None, hash_claim=None, public_pem="", public_jwk=None, attacker=None,
                 kid="key-1"):
        self.header, self.prefix, self.alg, self.claims_of = header, prefix, alg, claims
        self.sign, self.hash_claim, self.kid = sign, hash_claim, kid
        self.public_pem, self.public_jwk, self.attacker = public_pem, public_jwk, attacker

    def signature(self, signing, key):
        return self.token("valid", signing, key)

    def wrap(self, signing, signature):
        return self.prefix + signature

    def token(self, words, signing, key, now=None):
        """A token as the words want it."""
        now = int(signing.ts) if now is None else now
        making = Making(self, signing, key, now, {"alg": self.alg, "typ": "JWT", "kid": self.kid},
                        self.claims_of(signing, now), self.alg)
        if signing.secret is not None:
            making.secret = signer.as_bytes(signing.secret)
        for word in _split(words):
            _apply(making, word)
        return _finished(making)


def _split(words):
    return [word.strip() for word in re.split(r"\s*[,;]\s+|;|(?<=[^=])\|(?=\w)|,(?=\w+=)|\s\+\s", words) if word.strip()]


def _segment(document):
    raw = document if isinstance(document, bytes) else json.dumps(document, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _finished(making):
    segments = [_segment(making.head), _segment(making.claims)]
    signed = ".".join(segments).encode()
    segments.append(_segment(_signature(making, signed)))
    return making.finish(segments) if making.finish else ".".join(segments)


def _signature(making, signed):
    scheme, alg = making.scheme, making.alg.upper()
    if making.signature is not None:
        return making.signature
    if alg.startswith("HS"):
        if making.secret is not None:
            secret = making.secret
        elif scheme.alg.startswith("HS") and not making.is_attackers:
            secret = signer.as_bytes(making.key)
        else:
            secret = scheme.public_pem.encode() or b"guessed"
        return hmac.new(secret, signed, {"256": "sha256", "384": "sha384", "512": "sha512"}[alg[2:]]).digest()
    if making.is_attackers or scheme.sign is None or alg != scheme.alg:
        return scheme.attacker[alg](signed)
    return scheme.sign(signed)


# What a word does.

def _apply(making, word):
    for pattern, change in _WORDS:
        if match := re.fullmatch(pattern, word, re.IGNORECASE | re.DOTALL):
            change(making, match)
            return
    raise NotUnderstood(word)


def _alg(making, match):
    name = match.group(1)
    making.head["alg"] = name
    if name.lower() == "none" or not name:
        making.signature = b""
    elif name.upper() in _SIGNED:
        making.alg = name.upper()
    else:
        making.signature = b"\0" * 64


_SIGNED = ("HS256", "HS384", "HS512", "RS256", "ES256")


def _mac_with(making, match):
    _alg(making, match)
    words = match.group(2).lower()
    if "empty" in words:
        making.secret = b""
    elif "public" in words:
        pem = making.scheme.public_pem.encode() or b"guessed"
        making.secret = curves_der(pem) if "der" in words else pem
    elif made := re.search(r"(?:key|secret) [\"'`]?([^\"'`]+)[\"'`]?$", match.group(2)):
        making.secret = made.group(1).encode()
    else:
        raise NotUnderstood(match.group(0))


def curves_der(pem):
    """The DER in a PEM block."""
    return base64.b64decode(b"".join(pem.strip().split(b"\n")[1:-1]))


def _zeros(making, match):
    making.head["alg"] = match.group(1) or making.head["alg"]
    making.signature = bytes(64)


def _own_key(making, name, value):
    making.head[name] = value
    making.is_attackers = True
    if making.alg.startswith("HS"):
        making.alg = making.head["alg"] = "RS256"


def _url_member(making, match):
    _own_key(making, match.group(1).lower(), match.group(2))


def _key_member(making, match):
    name = match.group(1).lower()
    _own_key(making, name, making.scheme.public_jwk if name == "jwk" else [base64.b64encode(b"\x30\x03\x02\x01\x01").decode()])


def _kid(making, match):
    kid = match.group(1)
    if long := re.fullmatch(r"(.)\*([\d,]+)", kid):
        kid = long.group(1) * int(long.group(2).replace(",", ""))
    making.head["kid"] = kid
    making.is_attackers = True


def _claim(making, match):
    name, value = match.group(1), match.group(2).strip()
    if name in TIMES and re.fullmatch(r"[+-]?\d+", value):
        making.claims[name] = making.now + int(value)
    elif name in TIMES or re.fullmatch(r"true|false|null|-?[\d.]+(e\d+)?", value):
        making.claims[name] = json.loads(value) if re.fullmatch(r"true|false|null|-?[\d.]+(e\d+)?", value) else value
    else:
        making.claims[name] = value


def _no_claim(making, match):
    name = match.group(1)
    if name not in making.claims:
        raise NotUnderstood(f"{match.group(0)}: the source's tokens have no such claim")
    del making.claims[name]


def _hash_of(making, match):
    name = making.scheme.hash_claim
    if name is None:
        # A token that covers no body is bound to its receiver instead.
        making.claims["aud"] = "https://another.example.test/webhooks"
        return
    body = b"" if "empty" in match.group(1) else making.signing.body + b" "
    making.claims[name] = hashlib.sha256(body).hexdigest()


def _ended(making, match):
    for name in TIMES:
        if name in making.claims:
            making.claims[name] -= 86400


def _ahead(making, match):
    making.claims["iat"] = making.claims["nbf"] = making.now + 86400


def _of_another(making, match):
    for name, value in (("aud", "https://another.example.test/webhooks"), ("iss", "https://issuer.evil.test")):
        if name in match.group(1).lower():
            making.claims[name] = value


def _finish(function):
    def change(making, match):
        making.finish = function
    return change


def _attackers(making, match):
    making.is_attackers = True


def _critical(making, match):
    making.head["crit"], making.head["exp"] = ["exp"], 1


def _doubled(making, match):
    making.finish = lambda s: ".".join([_segment(base64.urlsafe_b64decode(s[0] + "==")[:-1] + b',"alg":"none"}'), s[1], ""])


_WORDS = [
    (r"valid|genuine", lambda making, match: None),
    (r"(none)", _alg),
    (r"(?:alg=)?(ES\d+|RS\d+)? ?(?:with )?r=s=0", _zeros),
    (r"alg=(\S+) r=s=0", _zeros),
    (r"(?:alg=)?(HS\d+) (?:keyed |signed )?(?:with )?(?:an |the )?(.+)", _mac_with),
    (r"alg=(\S*)", _alg),
    (r"(jku|x5u)=(\S+)", _url_member),
    (r"(jwk|x5c)(?:=.*)?", _key_member),
    (r"kid=(.*)", _kid),
    (r"(exp|nbf|iat|aud|iss|sub|jti|email|email_verified|azp|appid)=(.*)", _claim),
    (r"no (\w+)", _no_claim),
    (r"body_hash_of=(.+)", _hash_of),
    (r"expired|ended|too old", _ended),
    (r"not yet valid|from the future", _ahead),
    (r"(?:wrong|another|other) (aud(?:ience)?|iss(?:uer)?)", _of_another),
    (r"crit(?:=.*)?", _critical),
    (r"(?:signed by|key of|of) (?:the |an )?(?:attacker|another key|another issuer)", _attackers),
    (r"two segments(?: only)?|missing signature segment", _finish(lambda s: ".".join(s[:2]))),
    (r"one segment(?: only)?", _finish(lambda s: s[0])),
    (r"four segments|five segments", _finish(lambda s: ".".join([*s, s[2]]))),
    (r"empty signature(?: segment)?", _finish(lambda s: f"{s[0]}.{s[1]}.")),
    (r"truncated(?: signature)?", _finish(lambda s: ".".join([s[0], s[1], s[2][:-4]]))),
    (r"padding|padded", _finish(lambda s: ".".join([s[0], s[1], s[2] + "="]))),
    (r"twice|two tokens(?: comma-joined)?", _finish(lambda s: ".".join(s) + ", " + ".".join(s))),
    (r"two algs|alg twice", _doubled),
    (r"(?:a )?million dots|only dots", _finish(lambda s: "." * 7000)),
    (r"not base64", _finish(lambda s: f"{s[0]}.{s[1]}.%%%%")),
    (r"head of a list|array head", _finish(lambda s: ".".join([_segment(b'["none",null]'), s[1], s[2]]))),
]


def p256_fixed(secret):
    """Signs as tokens do it: r and s of 32 bytes each."""
    def sign(message):
        der = curves.p256_sign(secret, message)
        at = 4 + der[3]
        r, s = int.from_bytes(der[4:at], "big"), int.from_bytes(der[at + 2:], "big")
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return sign


def p256_pem(secret):
    """The public key."""
    return keys.pem("PUBLIC KEY", curves.p256_spki(secret))


def attackers_keys(ring):
    """What an attacker signs with, by algorithm; and his public key as a JWK."""
    stolen = hashlib.sha256(b"of the attacker" + ring.p256).digest()
    point = curves.p256_public(stolen)
    jwk = {"kty": "EC", "crv": "P-256", "x": _segment(point[1:33]), "y": _segment(point[33:]), "use": "sig"}
    return {"ES256": p256_fixed(stolen), "RS256": ring.attacker.sign}, jwk
