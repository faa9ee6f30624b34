"""Vectors of the providers whose scheme is a header, an algorithm and a template: one line of facts each.

The table is a second telling of the catalog, from the providers' documentation and by other means, so that a slip in one of the two
shows as a vector that fails.
"""

import base64
import dataclasses
import hashlib
from datetime import datetime, timezone

from common import JSON, MISMATCH, NOW, OTHER, SECRET, SHAPELESS, File, b64, mac

ENCODERS = {
    "hex": bytes.hex,
    "base64": b64,
    "base64url": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
}


@dataclasses.dataclass
class Way:
    """How one provider signs. `content` and `wrap` get the time as it is written."""

    header: str
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    content: object = lambda time, body: body
    # What stands in the header around the encoded signature.
    wrap: object = lambda time, signature: signature
    # Where the time stands: a header's name, `list`, or a key of the JSON body.
    time: str | None = None
    unit: str = "s"
    tolerance: int = 300
    # utf8: the text is the key; base64: the key is what it decodes to, behind `key_prefix`.
    key: str = "utf8"
    key_prefix: str = ""
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes = JSON
    # Whether a request without a body is signed at all.
    empty_body: bool = True
    # Whether the signature may come without its prefix.
    prefix_optional: bool = False
    scheme: str | None = None
    # Headers that have to have one value.
    required: dict = dataclasses.field(default_factory=dict)
    # The header that names the key.
    key_id: str | None = None
    # Whether upper-case hex is refused.
    lower_only: bool = False

    def text(self, at):
        if self.unit == "ms":
            return str(at * 1000)
        if self.unit == "rfc3339":
            return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return str(at)

    def timed(self, at):
        """The body, with its time where that is in the body."""
        if self.time and self.time.startswith("/"):
            return b'{"%s":%s,"id":"evt_1","events":[{"name":"sample"}]}' % (self.time[1:].encode(), self.text(at).encode())
        return self.body

    def secret(self, seed):
        return seed if self.key == "utf8" else self.key_prefix + b64(hashlib.sha256(seed.encode()).digest())

    def key_bytes(self, seed):
        return seed.encode() if self.key == "utf8" else hashlib.sha256(seed.encode()).digest()

    def sign(self, body, time=None, key=None, algorithm=None, encoding=None):
        tag = mac(self.key_bytes(SECRET) if key is None else key, self.content(time, body), algorithm or self.algorithm)
        return self.prefix + ENCODERS[encoding or self.encoding](tag)

    def request(self, body, at=NOW, text=None, signature=None, sign_body=None, key=None):
        """The headers of a request, whose signature is of `sign_body` where that differs."""
        time = self.text(at) if text is None else text
        signature = self.sign(sign_body if sign_body is not None else body, time, key) if signature is None else signature
        in_header = self.time and self.time != "list" and not self.time.startswith("/")
        return {
            "Content-Type": "application/json", **self.headers, **self.required,
            **({self.time: time} if in_header else {}),
            **({self.key_id: "k1"} if self.key_id else {}),
            self.header: self.wrap(time, signature),
        }


def cases(file, way):
    """Adds what every signed scheme has to take and to refuse."""
    more = {"scheme": way.scheme} if way.scheme else {}
    label = f"{way.scheme}, " if way.scheme else ""
    secret, other, third = way.secret(SECRET), way.secret(OTHER), way.secret(OTHER + "2")
    now = NOW if way.time else None
    body = way.timed(NOW)

    def add(kind, name, headers, body=body, expect="valid", secret=secret, **extra):
        if way.key_id:
            *others, last = secret if isinstance(secret, list) else [secret]
            ids = {"k1": last, **{f"k{index + 2}": text for index, text in enumerate(others)}}
            secret, extra = None, {"params": {"key_ids": ids}, **extra}
        file.add(kind, label + name, headers, body, expect, **{"secret": secret, "now_unix": now, **more, **extra})

    good = way.request(body)
    add("valid", "as documented", good)
    if not (way.time or "").startswith("/"):
        add("valid", "bytes of no text", way.request(bytes(range(256))), bytes(range(256)))
        if way.empty_body:
            add("valid", "an empty body", way.request(b""), b"")
        else:
            add("malformed", "an empty body, although it is signed", way.request(b""), b"", "invalid:malformed_content")
    add("tampered", "a byte added to the body", good, body + b" ", MISMATCH)
    add("tampered", "the body written anew", good, body.replace(b":", b": "), MISMATCH)
    add("wrong secret", "somebody else's", good, expect=MISMATCH, secret=other)
    add("wrong secret", "an empty key", way.request(body, key=b""), expect=MISMATCH)
    if way.key != "utf8":
        add("wrong secret", "its text taken for the key", way.request(body, key=secret.encode()), expect=MISMATCH)
    elif way.encoding == "base64":
        add("wrong secret", "its text decoded before it is used", way.request(body, key=base64.b64decode("QUJD")), expect=MISMATCH)
    add("malformed", "no signature", {name: value for name, value in good.items() if name != way.header},
        expect="invalid:missing_signature")
    half = way.request(body, signature=way.sign(body, way.text(NOW))[: -12 if way.encoding == "hex" else -8])
    add("malformed", "a part of a signature", half, expect=SHAPELESS)
    if way.prefix:
        bare = way.request(body, signature=way.sign(body, way.text(NOW))[len(way.prefix):])
        if way.prefix_optional:
            add("valid", "without its prefix", bare)
        else:
            add("malformed", "without its prefix", bare, expect=SHAPELESS)
    upper = way.request(body, signature=way.prefix + way.sign(body, way.text(NOW))[len(way.prefix):].upper())
    if way.lower_only:
        add("malformed", "upper-case hex", upper, expect=SHAPELESS)
    elif way.encoding == "hex":
        add("valid", "upper-case hex, which is the same bytes", upper)
    if way.key_id:
        add("wrong secret", "a key that is not configured", {**good, way.key_id: "k9"}, expect="invalid:no_live_secret")
        add("wrong secret", "the id of another key", {**good, way.key_id: "k2"}, expect=MISMATCH, secret=[other, secret])
        add("malformed", "no id of the key", {name: value for name, value in good.items() if name != way.key_id},
            expect="invalid:missing_header")
    turned = "base64" if way.encoding == "hex" else "hex"
    add("malformed", f"{turned} instead of {way.encoding}",
        way.request(body, signature=way.sign(body, way.text(NOW), encoding=turned) + "=!"), expect=SHAPELESS)
    weak = "sha1" if way.algorithm != "sha1" else "md5"
    add("malformed", f"a MAC with {weak}", way.request(body, signature=way.sign(body, way.text(NOW), algorithm=weak)), expect=SHAPELESS)
    add("rotation", "the second secret matches", good, secret=[other, secret])
    add("rotation", "neither secret matches", good, expect=MISMATCH, secret=[other, third])
    for name in way.required:
        add("tampered", f"another {name}", {**good, name: "other"}, expect="invalid:missing_header")
        add("malformed", f"no {name}", {key: value for key, value in good.items() if key != name}, expect="invalid:missing_header")
    if way.time:
        timed(add, way)


def timed(add, way):
    body, good = way.timed(NOW), way.request(way.timed(NOW))
    edge = way.tolerance
    add("valid", "at the edge of the tolerance", good, now_unix=NOW + edge)
    add("stale", "a second beyond the tolerance", good, now_unix=NOW + edge + 1, expect="invalid:timestamp_too_old")
    add("stale", "a second too far ahead", good, now_unix=NOW - edge - 1, expect="invalid:timestamp_in_future")
    odd = {"s": f"+{NOW}", "ms": f"0{NOW}000", "rfc3339": "2026-09-21 14:13:20Z"}[way.unit]
    if way.time.startswith("/"):
        add("malformed", "no time in the body", way.request(b'{"id":"evt_1"}'), b'{"id":"evt_1"}', "invalid:missing_timestamp")
        return
    later = way.text(NOW + 1)
    moved = way.request(body, text=later, signature=way.sign(body, way.text(NOW)))
    add("tampered", "another time than the signed one", moved, expect=MISMATCH)
    add("malformed", "a time that is not canonical, as it was signed", way.request(body, text=odd), expect="invalid:malformed_timestamp")
    if way.time != "list":
        timeless = {name: value for name, value in good.items() if name != way.time}
        add("malformed", "no time", timeless, expect="invalid:missing_timestamp")


def listed(separator, kv, signature, time=None):
    """A header that is a list of keys and values."""
    if time is None:
        return lambda at, value: f"{signature}{kv}{value}"
    return lambda at, value: f"{time}{kv}{at}{separator}{signature}{kv}{value}"


def dotted(at, body):
    return f"{at}.".encode() + body


def standard(names=("webhook-id", "webhook-timestamp", "webhook-signature"), **more):
    """Standard Webhooks and Svix: id, time and body with dots between them."""
    ident, time, signature = names
    return Way(signature, encoding="base64", content=lambda at, body: f"msg_1.{at}.".encode() + body, wrap=listed(" ", ",", "v1"),
               time=time, **{"key": "base64", "key_prefix": "whsec_", "headers": {ident: "msg_1"}, **more})


SVIX = ("svix-id", "svix-timestamp", "svix-signature")

def token(provider, header, prefix="", scheme=None, basic=False):
    """A shared token, or credentials, in a header."""
    file = FILES.setdefault(provider, File(provider, now=None))
    more = {"scheme": scheme} if scheme else {}
    label = f"{scheme}, " if scheme else ""
    text = lambda seed: f"sender:{seed}" if basic else seed
    shown = lambda value: prefix + ("Basic " + b64(value.encode()) if basic else value)
    good = {"Content-Type": "application/json", header: shown(text(SECRET))}
    secret, other = text(SECRET), text(OTHER)
    wrong = "invalid:token_mismatch"
    missing = "invalid:missing_signature"

    def add(kind, name, headers, expect="valid", secret=secret):
        file.add(kind, label + name, headers, JSON, expect, secret, **{"now_unix": None, **more})

    add("valid", "as configured", good)
    add("wrong secret", "somebody else's", good, wrong, other)
    add("wrong secret", "a byte more", {**good, header: shown(secret + "0")}, wrong)
    add("wrong secret", "in other letters", {**good, header: shown(secret.upper())}, wrong)
    add("malformed", "no token", {"Content-Type": "application/json"}, missing)
    add("malformed", "an empty token", {**good, header: ""}, missing)
    if basic:
        add("malformed", "no base64", {**good, header: "Basic !!"}, SHAPELESS)
    if basic or prefix:
        add("malformed", "another way of showing it", {**good, header: "Digest " + secret}, SHAPELESS)
    add("rotation", "the second secret matches", good, secret=[other, secret])
    add("rotation", "neither secret matches", good, wrong, [other, text(OTHER + "2")])


FILES = {}

WAYS = {
    "ably": Way("X-Ably-Signature", encoding="base64", key_id="X-Ably-Key"),
    "airtable": Way("X-Airtable-Content-MAC", prefix="hmac-sha256=", key="base64"),
    "asana": Way("X-Hook-Signature"),
    "bigcommerce": standard(key="utf8", key_prefix=""),
    "bitbucket": Way("X-Hub-Signature", prefix="sha256=", headers={"X-Request-UUID": "r-1", "X-Event-Key": "repo:push"}),
    "box": Way("BOX-SIGNATURE-PRIMARY", encoding="base64", content=lambda at, body: body + at.encode(), time="BOX-DELIVERY-TIMESTAMP",
               unit="rfc3339", tolerance=600, headers={"BOX-DELIVERY-ID": "d-1"},
               required={"BOX-SIGNATURE-VERSION": "1", "BOX-SIGNATURE-ALGORITHM": "HmacSHA256"}),
    "buildkite": Way("X-Buildkite-Signature", content=dotted, wrap=listed(",", "=", "signature", "timestamp"), time="list"),
    "calendly": Way("Calendly-Webhook-Signature", content=dotted, wrap=listed(",", "=", "v1", "t"), time="list", tolerance=180),
    "checkout": Way("Cko-Signature"),
    "circleci": Way("circleci-signature", wrap=listed(",", "=", "v1")),
    "clerk": standard(SVIX),
    "clickup": Way("X-Signature"),
    "cloudflare-stream": Way("Webhook-Signature", content=dotted, wrap=listed(",", "=", "sig1", "time"), time="list"),
    "coinbase-commerce": Way("X-CC-Webhook-Signature"),
    "docusign": Way("X-DocuSign-Signature-1", encoding="base64"),
    "dropbox": Way("X-Dropbox-Signature"),
    "etsy": standard(),
    "flutterwave": Way("flutterwave-signature", encoding="base64"),
    "front": Way("X-Front-Signature", encoding="base64", content=lambda at, body: f"{at}:".encode() + body,
                 time="X-Front-Request-Timestamp", unit="ms"),
    "front-rule": Way("X-Front-Signature", "sha1", "base64"),
    "gitlab": standard(scheme="gitlab-signed"),
    "gocardless": Way("Webhook-Signature", lower_only=True),
    "heroku": Way("Heroku-Webhook-Hmac-SHA256", encoding="base64"),
    "intercom": Way("X-Hub-Signature", "sha1", prefix="sha1="),
    "intuit": Way("intuit-signature", encoding="base64"),
    "jira": Way("X-Hub-Signature", prefix="sha256=", headers={"X-Atlassian-Webhook-Identifier": "w-1"}),
    "lemonsqueezy": Way("X-Signature", headers={"X-Event-Name": "order_created"}),
    "line": Way("x-line-signature", encoding="base64"),
    "linear": Way("Linear-Signature", time="/webhookTimestamp", unit="ms", tolerance=60, headers={"Linear-Delivery": "d-1"}),
    "meta": [
        Way("X-Hub-Signature-256", prefix="sha256="),
        Way("X-Hub-Signature", "sha1", prefix="sha1=", scheme="meta-sha1"),
    ],
    "mollie": Way("X-Mollie-Signature", prefix="sha256=", prefix_optional=True),
    "notion": Way("X-Notion-Signature", prefix="sha256="),
    "npm": Way("x-npm-signature", prefix="sha256="),
    "nylas": Way("X-Nylas-Signature"),
    "onfido": Way("X-SHA2-Signature"),
    "openai": standard(),
    "paddle": Way("Paddle-Signature", content=lambda at, body: f"{at}:".encode() + body, wrap=listed(";", "=", "h1", "ts"),
                  time="list", tolerance=5),
    "pagerduty": Way("X-PagerDuty-Signature", wrap=listed(",", "=", "v1"), empty_body=False),
    "paystack": Way("x-paystack-signature", "sha512"),
    "persona": Way("Persona-Signature", content=dotted, wrap=listed(",", "=", "v1", "t"), time="list"),
    "pusher": Way("X-Pusher-Signature", time="/time_ms", unit="ms", key_id="X-Pusher-Key",
                  required={"Content-Type": "application/json"}),
    "razorpay": Way("X-Razorpay-Signature", headers={"x-razorpay-event-id": "e-1"}),
    "recurly": Way("recurly-signature", content=dotted, wrap=lambda at, value: f"{at},{value}", time="list", unit="ms"),
    "replicate": standard(),
    "resend": standard(SVIX),
    "revenuecat": Way("X-RevenueCat-Webhook-Signature", content=dotted, wrap=listed(",", "=", "v1", "t"), time="list",
                      scheme="revenuecat-signed"),
    "sanity": Way("sanity-webhook-signature", encoding="base64url", content=dotted, wrap=listed(",", "=", "v1", "t"), time="list",
                  unit="ms", tolerance=3600, empty_body=False),
    "sentry": Way("Sentry-Hook-Signature", headers={"Sentry-Hook-Resource": "issue", "Request-ID": "r-1"}),
    "supabase": standard(key_prefix="v1,whsec_"),
    "terraform-cloud": Way("X-TFE-Notification-Signature", "sha512"),
    "terraform-run-task": Way("X-TFC-Task-Signature", "sha512"),
    "twitch": Way("Twitch-Eventsub-Message-Signature", prefix="sha256=", content=lambda at, body: f"m-1{at}".encode() + body,
                  time="Twitch-Eventsub-Message-Timestamp", unit="rfc3339", tolerance=600,
                  headers={"Twitch-Eventsub-Message-Id": "m-1", "Twitch-Eventsub-Subscription-Type": "channel.follow"}),
    "typeform": Way("Typeform-Signature", encoding="base64", prefix="sha256="),
    "vercel": Way("x-vercel-signature", "sha1"),
    "viber": Way("X-Viber-Content-Signature"),
    "websub": Way("X-Hub-Signature", prefix="sha256="),
    "woocommerce": Way("X-WC-Webhook-Signature", encoding="base64", headers={"X-WC-Webhook-Topic": "order.created"}),
    "x": Way("x-twitter-webhooks-signature", encoding="base64", prefix="sha256="),
    "xero": Way("x-xero-signature", encoding="base64"),
    "zendesk": Way("X-Zendesk-Webhook-Signature", encoding="base64", content=lambda at, body: at.encode() + body,
                   time="X-Zendesk-Webhook-Signature-Timestamp", unit="rfc3339"),
    "zoom": Way("x-zm-signature", prefix="v0=", content=lambda at, body: f"v0:{at}:".encode() + body, time="x-zm-request-timestamp"),
}

TOKENS = [
    ("auth0", {"header": "Authorization"}),
    ("buildkite", {"header": "X-Buildkite-Token", "scheme": "token"}),
    ("chargebee", {"header": "Authorization", "basic": True}),
    ("cloudevents", {"header": "Authorization", "prefix": "Bearer "}),
    ("cloudflare-notifications", {"header": "cf-webhook-auth"}),
    ("fastly", {"header": "Authorization"}),
    ("flutterwave-v3", {"header": "verif-hash"}),
    ("gitlab", {"header": "X-Gitlab-Token"}),
    ("okta", {"header": "Authorization"}),
    ("postmark", {"header": "Authorization", "basic": True}),
    ("revenuecat", {"header": "Authorization"}),
    ("telegram", {"header": "X-Telegram-Bot-Api-Secret-Token"}),
]


def files():
    """The file of each provider of the two tables, with what every scheme has to show."""
    for provider, facts in TOKENS:
        token(provider, **facts)
    for provider, ways in WAYS.items():
        for way in ways if isinstance(ways, list) else [ways]:
            cases(FILES.setdefault(provider, File(provider)), way)
    return FILES
