"""Sources of the fixture whose providers sign with tokens, certificates or keys of their own, or ask something before they
send. Their keys are pinned, so that nothing is fetched: whoever makes the gateway fetch has found something."""

import datetime
import hashlib
import uuid

import curves
import notices
import signer
import sources
import tokens

# What a case addresses as `jwt` is tried at each of these.
TOKEN_SOURCES = ("jwt", "jwtrsa", "jwtmac")

AUDIENCE = "https://hooks.example.test/webhooks/jwtrsa"
ACCOUNT = "push@project.iam.gserviceaccount.com"


def build(ring):
    """Every one of them."""
    yield from _tokens(ring)
    yield from _certificates(ring)
    yield from _asking(ring)


def _tokens(ring):
    attacker, jwk = tokens.attackers_keys(ring)
    shared = {"attacker": attacker, "public_jwk": jwk}
    ends = lambda now: {"iat": now, "exp": now + 60}
    body_hash = lambda s: hashlib.sha256(s.body).hexdigest()
    pem = tokens.p256_pem(ring.p256)
    yield sources.Source("jwt", f'provider = "plaid"\npublic_keys = ["""\n{pem}"""]', tokens.Jwt(
        "Plaid-Verification", "", "ES256", lambda s, now: {"iat": now, "request_body_sha256": body_hash(s)},
        tokens.p256_fixed(ring.p256), "request_body_sha256", pem, **shared), pem)
    rsa = ring.rsa.public_pem
    yield sources.Source(
        "jwtrsa", f'provider = "google-pubsub"\npublic_url = "{AUDIENCE}"\npublic_keys = ["""\n{rsa}"""]\n'
        f'settings = {{ expected_audience = "{AUDIENCE}", expected_email = "{ACCOUNT}" }}', tokens.Jwt(
            "Authorization", "Bearer ", "RS256", lambda s, now: {
                "aud": AUDIENCE, "iss": "https://accounts.google.com", "email": ACCOUNT, "email_verified": True, **ends(now)},
            ring.rsa.sign, None, rsa, **shared), rsa)
    secret = ring.text("jwtmac")
    yield sources.Source("jwtmac", 'provider = "vonage"', tokens.Jwt(
        "Authorization", "Bearer ", "HS256",
        lambda s, now: {"iss": "Vonage", "jti": s.header("X-Jti") or _name(s.body), "payload_hash": body_hash(s), **ends(now)},
        None, "payload_hash", **shared), secret, secret)


def _name(body):
    return str(uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(body).hexdigest()))


def _certificates(ring):
    certificate = ring.rsa.certificate
    yield sources.Source("sns", f'provider = "aws-sns"\npublic_keys = ["""\n{certificate}"""]\n'
                                f'settings = {{ topics = ["{notices.TOPIC}"] }}', notices.Sns(ring.rsa, ring.attacker))
    # Without a pinned key: what it would fetch, if it let itself be talked into that.
    yield sources.Source("snsfetch", f'provider = "aws-sns"\nsettings = {{ topics = ["{notices.TOPIC}"] }}',
                         notices.Sns(ring.rsa, ring.attacker))
    paypal = lambda id, ts: [("PAYPAL-TRANSMISSION-ID", id), ("PAYPAL-TRANSMISSION-TIME", rfc3339(ts)),
                             ("PAYPAL-AUTH-ALGO", "SHA256withRSA"), ("PAYPAL-CERT-URL", notices.PAYPAL_CERTIFICATE)]
    for name, pinned in (("paypal", f'public_keys = ["""\n{certificate}"""]\n'), ("paypalfetch", "")):
        yield sources.Source(name, f'provider = "paypal"\n{pinned}settings = {{ webhook_id = "{notices.WEBHOOK_ID}" }}',
                             notices.PayPal(ring.rsa, ring.attacker), headers=paypal)


def rfc3339(ts):
    """Seconds as text."""
    return datetime.datetime.fromtimestamp(int(ts), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _asking(ring):
    text = ring.text
    hub = lambda: signer.Hmac("X-Hub-Signature-256", prefix="sha256=")
    token = sources.variable("meta_verify")
    yield sources.Source("meta", f'provider = "meta"\nverify_token = "env:{token}"', hub(), text("meta"), text("meta"),
                         more_environment={token: text("meta_verify")})
    yield sources.Source("metaunset", 'provider = "meta"', hub(), text("metaunset"), text("metaunset"))
    stamped = dict(content=signer.slack_content, prefix="v0=")
    yield sources.Source("zoom", 'provider = "zoom"', signer.Hmac(
        "x-zm-signature", timestamp_header="x-zm-request-timestamp", **stamped), text("zoom"), text("zoom"))
    yield sources.Source("twitter", 'provider = "x"', signer.Hmac(
        "x-twitter-webhooks-signature", encoding="base64", prefix="sha256="), text("twitter"), text("twitter"))
    yield sources.Source("twitch", 'provider = "twitch"', Twitch(), text("twitch"), text("twitch"), lambda id, ts: [
        ("Twitch-Eventsub-Message-Id", id), ("Twitch-Eventsub-Message-Type", "notification"),
        ("Twitch-Eventsub-Subscription-Type", "channel.follow")])
    public = curves.ed25519_public(ring.ed25519).hex()
    yield sources.Source("discord", f'provider = "discord"\npublic_keys = ["{public}"]', signer.Asymmetric(
        signer.ed25519(ring.ed25519), "X-Signature-Ed25519", "hex", timestamp_header="X-Signature-Timestamp",
        content=lambda s: signer.as_bytes(s.ts) + s.body), public)
    yield sources.Source("dropbox", 'provider = "dropbox"', signer.Hmac("X-Dropbox-Signature"), text("dropbox"), text("dropbox"))
    yield sources.Source("asana", 'provider = "asana"', signer.Hmac("X-Hook-Signature"), text("asana"), text("asana"))
    yield sources.Source("notion", 'provider = "notion"', signer.Hmac("X-Notion-Signature", prefix="sha256="),
                         text("notion"), text("notion"))
    client = "client-state-" + text("graph")
    yield sources.Source("graph", 'provider = "microsoft-graph"', signer.Token("X-Nothing"), client, client)


class Twitch(signer.Hmac):
    """Its time is a date, and a header as well as a part of what is signed."""

    def __init__(self):
        super().__init__("Twitch-Eventsub-Message-Signature", prefix="sha256=", id_header="Twitch-Eventsub-Message-Id")
        self.timestamp_header = "Twitch-Eventsub-Message-Timestamp"

    def stamp(self, ts):
        return rfc3339(ts)

    def content(self, signing):
        ts = signing.header(self.timestamp_header) or rfc3339(signing.ts)
        return signer.as_bytes(signing.header(self.id_header)) + signer.as_bytes(ts) + signing.body


