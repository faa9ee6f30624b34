"""Vectors of the providers that send JSON web tokens, and of those whose key has to be fetched.

Tokens are put together by hand, so that what no library would make is made too: `none`, a public key taken for a secret, heads that
name keys of their own.
"""

import base64
import hashlib
import json
import zlib
from urllib.parse import quote, urlencode

from common import JSON, MISMATCH, NOW, OTHER, SECRET, SHAPELESS, File, b64, mac
from keys import P256, Rsa

UNSUPPORTED, UNKNOWN_KEY, CLAIM = "invalid:unsupported_algorithm", "invalid:unknown_key", "invalid:claim_mismatch"
BODY, OLD, AHEAD = "invalid:body_hash_mismatch", "invalid:timestamp_too_old", "invalid:timestamp_in_future"
URL = "https://hooks.example.com/in?a=1&b=2"
SOURCE = "put together by RFC 7515 and the provider's documentation, with Python's hmac and hashlib"
BY_HAND = "RSA PKCS#1 v1.5 by RFC 8017 and ECDSA by RFC 6979 in Python's integers, by the provider's documentation"


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def token(claims, sign, alg="HS256", **head):
    """`sign` makes the bytes of the signature out of what is signed."""
    signed = b64url(compact({"alg": alg, "typ": "JWT", **head})) + "." + b64url(compact(claims))
    return signed + "." + b64url(sign(signed.encode()))


def hs(secret=SECRET, algorithm="sha256"):
    return lambda signed: mac(secret.encode(), signed, algorithm)


class Tokens:
    """The vectors of a provider whose token is a MAC. `claims` makes what the provider sends for a body."""

    def __init__(self, provider, header, prefix, claims, url=None, now=NOW, **more):
        self.file, self.header, self.prefix, self.claims = File(provider, url, now), header, prefix, claims
        self.more = {"source": SOURCE, **more}

    def add(self, kind, name, text, body=JSON, expect="valid", **more):
        headers = {"Content-Type": "application/json", self.header: self.prefix + text}
        self.file.add(kind, name, headers, body, expect, **{**self.more, **more})

    def common(self):
        claims, good = self.claims(JSON), token(self.claims(JSON), hs())
        head, payload, signature = good.split(".")
        self.add("valid", "a token as the provider makes it", good)
        self.add("valid", "a head with more in it, and a claim that nobody asks for",
                 token({**claims, "more": {"a": [1]}}, hs(), kid="any", typ="jwt"))
        self.add("tampered", "another claim under the signature",
                 f"{head}.{b64url(compact({**claims, 'more': 1}))}.{signature}", expect=MISMATCH)
        for name in "none", "None", "nOnE", "hs256", "HS1", "RS256", "ES256", "":
            self.add("tampered", f"`{name}` for an algorithm", token(claims, hs(), name), expect=UNSUPPORTED)
        self.add("tampered", "`none` without a signature", token(claims, lambda _: b"", "none"), expect=UNSUPPORTED)
        self.add("tampered", "no signature", f"{head}.{payload}.", expect=MISMATCH)
        self.add("tampered", "half a signature", f"{head}.{payload}.{signature[:20]}", expect=MISMATCH)
        own = {"kty": "oct", "k": b64url(OTHER.encode())}
        self.add("tampered", "a key that the token brings itself",
                 token(claims, hs(OTHER), jwk=own, jku="https://evil.example/jwks", x5u="https://evil.example/x", x5c=["AA=="]),
                 expect=MISMATCH)
        self.add("wrong secret", "somebody else's", token(claims, hs(OTHER)), expect=MISMATCH)
        self.add("wrong secret", "an empty key, and a path for its id", token(claims, hs(""), kid="../../dev/null"), expect=MISMATCH)
        self.add("malformed", "two parts", f"{head}.{payload}", expect=SHAPELESS)
        self.add("malformed", "four parts", f"{good}.{signature}", expect=SHAPELESS)
        self.add("malformed", "padding", f"{good}=", expect=SHAPELESS)
        self.add("malformed", "stray bits at the end", good[:-1] + chr(ord(good[-1]) + 1), expect=SHAPELESS)
        self.add("malformed", "a space in front", " " + good, expect=SHAPELESS)
        self.add("malformed", "an extension that has to be heeded", token(claims, hs(), crit=["b64"], b64=False), expect=SHAPELESS)
        self.add("malformed", "no claims", f"{head}.{b64url(b'[]')}.{signature}", expect=SHAPELESS)
        twice = b'{"iss":"a","iss":"b"}'
        self.add("malformed", "a claim that is there twice", f"{head}.{b64url(twice)}.{signature}", expect=SHAPELESS)
        self.add("malformed", "longer than any token", token({**claims, "more": "a" * 8192}, hs()), expect=SHAPELESS)
        self.file.add("malformed", "no header", {}, expect="invalid:missing_signature", **self.more)
        self.add("rotation", "the second secret matches", good, secret=[OTHER, SECRET])
        self.add("rotation", "neither secret matches", good, expect=MISMATCH, secret=[OTHER, OTHER + "2"])

    def ends(self, kind, at="exp", leeway=0):
        good = token(self.claims(JSON), hs())
        end = self.claims(JSON)[at]
        self.add("valid", "at the last moment", good, now_unix=end + leeway)
        self.add(kind, "a second too late", good, expect=OLD, now_unix=end + leeway + 1)
        without = {name: value for name, value in self.claims(JSON).items() if name != at}
        self.add("malformed", f"no `{at}`", token(without, hs()), expect="invalid:missing_timestamp")
        for value in "1790000060", -1, 1e300, None:
            if value is not None:
                self.add("malformed", f"`{at}` is {value!r}", token({**without, at: value}, hs()), expect=SHAPELESS)

    def write(self):
        self.file.write()


def vonage():
    claims = lambda body, at=NOW: {"iat": at, "exp": at + 300, "jti": "j-1", "iss": "Vonage", "payload_hash": sha256(body), "api_key": "a1"}
    tokens = Tokens("vonage", "Authorization", "Bearer ", claims)
    tokens.common()
    tokens.ends("stale")
    good, bare = token(claims(JSON), hs()), token({"iat": NOW, "exp": NOW + 300}, hs())
    tokens.add("valid", "no body and no hash", bare, b"")
    tokens.add("valid", "made a little ahead of the clock", good, now_unix=NOW - 30)
    tokens.add("stale", "made further ahead of the clock", good, now_unix=NOW - 31, expect=AHEAD)
    tokens.add("tampered", "a byte added to the body", good, JSON + b" ", BODY)
    tokens.add("tampered", "a body that no hash covers", bare, expect=BODY)
    tokens.add("tampered", "a body for an empty hash", token({**claims(JSON), "payload_hash": ""}, hs()), expect=BODY)
    tokens.write()


def messagebird():
    claims = lambda body, at=NOW, url=URL: {
        "iss": "MessageBird", "nbf": at, "exp": at + 60, "jti": "j-1", "url_hash": sha256(url.encode()),
        **({"payload_hash": sha256(body)} if body else {}),
    }
    tokens = Tokens("messagebird", "MessageBird-Signature-JWT", "", claims, URL)
    tokens.common()
    tokens.ends("stale", leeway=5)
    good = token(claims(JSON), hs())
    for size in 384, 512:
        tokens.add("valid", f"HS{size}", token(claims(JSON), hs(algorithm=f"sha{size}"), f"HS{size}"))
    tokens.add("tampered", "a MAC of another size than it says", token(claims(JSON), hs(), "HS512"), expect=MISMATCH)
    tokens.add("valid", "no body", token(claims(b""), hs()), b"")
    tokens.add("valid", "ahead of the clock within the leeway", good, now_unix=NOW - 5)
    tokens.add("stale", "further ahead of the clock", good, now_unix=NOW - 6, expect=AHEAD)
    tokens.add("tampered", "a byte added to the body", good, JSON + b" ", BODY)
    tokens.add("tampered", "the body taken away", good, b"", BODY)
    tokens.add("tampered", "a body where there was none", token(claims(b""), hs()), expect=BODY)
    tokens.add("tampered", "the parameters of the URL in another order", good, url="https://hooks.example.com/in?b=2&a=1", expect=CLAIM)
    tokens.add("malformed", "no URL is configured", good, url=None, expect="invalid:missing_url")
    tokens.add("tampered", "another issuer", token({**claims(JSON), "iss": "Message"}, hs()), expect=CLAIM)
    tokens.add("tampered", "no id", token({name: value for name, value in claims(JSON).items() if name != "jti"}, hs()), expect=CLAIM)
    tokens.write()


def monday():
    body = b'{"event":{"type":"create_pulse","triggerUuid":"t-1","boardId":1}}'
    claims = lambda _, at=NOW: {"accountId": 1, "userId": 2, "aud": URL, "iat": at, "exp": at + 300}
    tokens = Tokens("monday", "Authorization", "", claims, URL)
    tokens.common()
    # A token covers no body and can come with many, so that its end is no end of a transmission.
    tokens.ends("tampered")
    good = token(claims(body), hs())
    tokens.add("valid", "an audience that is configured", token({**claims(body), "aud": ["x", "app-1"]}, hs()), body,
               params={"expected_audience": "app-1"})
    tokens.add("tampered", "for another endpoint", token({**claims(body), "aud": "https://evil.example/"}, hs()), body, CLAIM)
    tokens.add("tampered", "for no endpoint", token({name: value for name, value in claims(body).items() if name != "aud"}, hs()), body, CLAIM)
    tokens.add("tampered", "received elsewhere", good, body, CLAIM, url="https://hooks.example.com/in?a=1")
    tokens.add("malformed", "a scheme's name in front of it", "Bearer " + good, body, SHAPELESS)
    ask = lambda kind, name, body, expect, **headers: tokens.file.add(
        kind, name, {"Content-Type": "application/json", **headers}, body, expect, source=SOURCE)
    challenge = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
    echo = compact({"challenge": challenge})
    ask("handshake", "a challenge is echoed", echo, "challenge:" + echo.decode())
    ask("handshake", "a challenge with markup", compact({"challenge": "<script>"}), "invalid:malformed_challenge")
    ask("handshake", "a challenge without end", compact({"challenge": "a" * 300}), "invalid:malformed_challenge")
    ask("handshake", "an event with a challenge in it is no handshake", compact({"challenge": "a", "event": {"type": "x"}}),
        "invalid:missing_signature")
    tokens.write()


def netlify():
    claims = lambda body: {"iss": "netlify", "sha256": sha256(body)}
    tokens = Tokens("netlify", "X-Webhook-Signature", "", claims, now=None)
    tokens.common()
    good = token(claims(JSON), hs())
    tokens.add("valid", "no body", token(claims(b""), hs()), b"")
    tokens.add("valid", "the hash in upper case", token({**claims(JSON), "sha256": sha256(JSON).upper()}, hs()))
    tokens.add("tampered", "a byte added to the body", good, JSON + b" ", BODY)
    tokens.add("tampered", "no hash", token({"iss": "netlify"}, hs()), expect=BODY)
    tokens.add("tampered", "another issuer", token({**claims(JSON), "iss": "evil"}, hs()), expect=CLAIM)
    tokens.add("tampered", "a token that has ended, though none need to", token({**claims(JSON), "exp": 1}, hs()), now_unix=NOW, expect=OLD)
    tokens.write()


def jira(file):
    """The alternative of Connect apps, beside the scheme of ordinary webhooks."""
    url = "https://app.example.com/base/hook?b=2&a=1%20x"
    qsh = sha256(b"POST&/base/hook&a=1%20x&b=2")
    claims = {"iss": "client-1", "iat": NOW, "exp": NOW + 180, "qsh": qsh}
    more = {"scheme": "jira-connect", "source": SOURCE, "now_unix": NOW, "url": url}

    def add(kind, name, text, expect="valid", prefix="JWT ", **other):
        headers = {"Content-Type": "application/json", "Authorization": prefix + text}
        file.add(kind, f"Connect, {name}", headers, JSON, expect, **{**more, **other})

    good = token(claims, hs())
    add("valid", "a token as the provider makes it", good)
    add("valid", "a client key that is configured", good, params={"client_key": "client-1"})
    add("valid", "below a base path", token({**claims, "qsh": sha256(b"POST&/hook&a=1%20x&b=2")}, hs()), params={"base_path": "/base"})
    add("valid", "the query in another order", good, url="https://app.example.com/base/hook?a=1+x&b=2")
    add("tampered", "another query", good, CLAIM, url=url + "&c=3")
    add("tampered", "a query of no request", token({**claims, "qsh": "context-qsh"}, hs()), CLAIM)
    add("tampered", "of another site", good, CLAIM, params={"client_key": "client-2"})
    add("tampered", "`none`", token(claims, lambda _: b"", "none"), UNSUPPORTED)
    add("tampered", "a second too late", good, OLD, now_unix=NOW + 181)
    add("wrong secret", "somebody else's", token(claims, hs(OTHER)), MISMATCH)
    add("malformed", "another scheme's name", good, SHAPELESS, prefix="Bearer ")


class Signed:
    """Keys of one provider: a good pair and a stranger's."""

    def __init__(self, name, make):
        self.ours, self.stranger = make(name), make(f"{name}, a stranger")


def plaid():
    file, keys = File("plaid"), Signed("plaid", P256)
    kid, other = "6c5516e1-92dc-479e-a8ff-5a51992e0001", "6c5516e1-92dc-479e-a8ff-5a51992e0002"
    jwks = {kid: keys.ours.jwk(kid)}
    claims = lambda body=JSON, at=NOW: {"iat": at, "request_body_sha256": sha256(body)}
    made = lambda claims=claims(), key=keys.ours, alg="ES256", kid=kid, **head: token(claims, key.sign, alg, kid=kid, **head)

    def add(kind, name, text, body=JSON, expect="valid", jwks=jwks, **more):
        headers = {"Content-Type": "application/json", "Plaid-Verification": text}
        file.add(kind, name, headers, body, expect, None, **{"source": BY_HAND, "params": {"jwks": jwks}, **more})

    good = made()
    head, payload, signature = good.split(".")
    add("valid", "a token as the provider makes it", good)
    add("valid", "at the edge of the tolerance", good, now_unix=NOW + 300)
    add("tampered", "the body written anew", good, JSON.replace(b":", b": "), BODY)
    add("tampered", "no hash of the body", made({"iat": NOW}), expect=BODY)
    confused = token(claims(), lambda signed: mac(compact(jwks[kid]), signed), "HS256", kid=kid)
    add("tampered", "a MAC keyed with the public key", confused, expect=UNSUPPORTED)
    add("tampered", "`none`", token(claims(), lambda _: b"", "none", kid=kid), expect=UNSUPPORTED)
    add("tampered", "a signature of zeros", f"{head}.{payload}.{b64url(bytes(64))}", expect=MISMATCH)
    add("tampered", "a signature as DER", token(claims(), lambda signed: keys.ours.der(signed), "ES256", kid=kid), expect=MISMATCH)
    add("tampered", "a key that the token brings itself", made(key=keys.stranger, jwk=keys.stranger.jwk(kid), jku="https://evil.example/"),
        expect=MISMATCH)
    add("wrong secret", "signed with another key", made(key=keys.stranger), expect=MISMATCH)
    add("wrong secret", "the id of another key", made(kid=other), expect=UNKNOWN_KEY)
    add("wrong secret", "no id", token(claims(), keys.ours.sign, "ES256"), expect=UNKNOWN_KEY)
    add("stale", "a second beyond the tolerance", good, now_unix=NOW + 301, expect=OLD)
    add("stale", "further ahead than the tolerance", good, now_unix=NOW - 301, expect=AHEAD)
    add("malformed", "no `iat`", made({"request_body_sha256": sha256(JSON)}), expect="invalid:missing_timestamp")
    add("malformed", "two parts", f"{head}.{payload}", expect=SHAPELESS)
    add("malformed", "an empty token", "", expect="invalid:missing_signature")
    both = {**jwks, other: keys.stranger.jwk(other)}
    add("rotation", "the key of its id matches", made(key=keys.stranger, kid=other), jwks=both)
    add("rotation", "the key of the other id made it", made(kid=other), expect=MISMATCH, jwks=both)
    file.write()


def google_pubsub():
    body = b'{"message":{"data":"SGk=","messageId":"1","attributes":{"eventType":"OBJECT_FINALIZE"}},"subscription":"projects/p/subscriptions/s"}'
    file, keys = File("google-pubsub"), Signed("google-pubsub", Rsa)
    account = "push@project.iam.gserviceaccount.com"
    claims = {"iss": "https://accounts.google.com", "aud": "https://hooks.example.com/push", "azp": "1", "email": account,
              "email_verified": True, "sub": "1", "iat": NOW, "exp": NOW + 3600}
    made = lambda more={}, key=keys.ours, kid="k-1", alg="RS256": token({**claims, **more}, key.sign, alg, kid=kid)
    params = {"jwks_kids": ["k-1"], "expected_audience": claims["aud"], "expected_email": account}

    def add(kind, name, text, expect="valid", prefix="Bearer ", params=params, key=keys.ours.pem(), **more):
        headers = {"Content-Type": "application/json", "Authorization": prefix + text}
        secret = {"secret": key} if isinstance(key, list) else {"secret": None, "public_key_pem": key}
        file.add(kind, name, headers, body, expect, **{**secret, "params": params, "source": BY_HAND, **more})

    good = made()
    head, payload, signature = good.split(".")
    add("valid", "a token as the provider makes it", good)
    add("valid", "the issuer without a scheme", made({"iss": "accounts.google.com"}))
    add("valid", "the audience is the endpoint", good, params={"jwks_kids": ["k-1"], "expected_email": account}, url=claims["aud"])
    add("valid", "the name of the scheme in lower case", good, prefix="bearer ")
    add("valid", "at the last moment", good, now_unix=NOW + 3600)
    add("tampered", "a second too late", good, OLD, now_unix=NOW + 3601)
    add("tampered", "made a second ahead of the clock", good, AHEAD, now_unix=NOW - 1)
    add("tampered", "another issuer", made({"iss": "https://accounts.google.com.evil.example"}), CLAIM)
    add("tampered", "for another audience", made({"aud": "https://hooks.example.com/push2"}), CLAIM)
    add("tampered", "another service account", made({"email": "push@evil.iam.gserviceaccount.com"}), CLAIM)
    add("tampered", "an address that nobody verified", made({"email_verified": False}), CLAIM)
    add("tampered", "`none`", token(claims, lambda _: b"", "none", kid="k-1"), UNSUPPORTED)
    add("tampered", "a MAC keyed with the public key", token(claims, lambda signed: mac(keys.ours.pem().encode(), signed), kid="k-1"), UNSUPPORTED)
    add("tampered", "RSA with SHA-1", token(claims, lambda signed: keys.ours.sign(signed, "sha1"), "RS256", kid="k-1"), MISMATCH)
    add("wrong secret", "signed with another key", made(key=keys.stranger), MISMATCH)
    add("wrong secret", "the id of another key", made(kid="k-2"), UNKNOWN_KEY)
    add("malformed", "two parts", f"{head}.{payload}", SHAPELESS)
    add("malformed", "no name of a scheme", good, SHAPELESS, prefix="")
    add("rotation", "the second key matches", good, key=[keys.stranger.pem(), keys.ours.pem()], params={**params, "jwks_kids": ["k-1", "k-1"]})
    add("rotation", "neither key matches", good, MISMATCH, key=[keys.stranger.pem(), Rsa("third").pem()], params={**params, "jwks_kids": []})
    file.write()


def azure_event_grid():
    url = "https://hooks.example.com/eg?code="
    body = b'[{"id":"e-1","eventType":"Microsoft.Storage.BlobCreated","subject":"/b","data":{},"eventTime":"2026-09-21T14:13:20Z","dataVersion":"1"}]'
    file = File("azure-event-grid", now=None)

    def add(kind, name, code, expect="valid", body=body, event="Notification", secret=SECRET, **more):
        headers = {"Content-Type": "application/json", "aeg-event-type": event}
        file.add(kind, name, headers, body, expect, secret, **{"url": url + quote(code), "source": "the token compared by hand", **more})

    code = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"
    asked = lambda code: compact([{"id": "1", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": code}}])
    add("valid", "the token in the URL", SECRET)
    add("wrong secret", "somebody else's", OTHER, "invalid:token_mismatch")
    add("malformed", "no token", "", "invalid:missing_signature")
    add("rotation", "the second token matches", SECRET, secret=[OTHER, SECRET])
    add("rotation", "neither token matches", SECRET, "invalid:token_mismatch", secret=[OTHER, OTHER + "2"])
    add("handshake", "a code is given back", SECRET, 'challenge:{"validationResponse":"%s"}' % code, asked(code), "SubscriptionValidation",
        expect_response_status=200)
    add("handshake", "not without the token", OTHER, "invalid:token_mismatch", asked(code), "SubscriptionValidation")
    add("handshake", "a code that is none", SECRET, "invalid:malformed_challenge", asked('"}'), "SubscriptionValidation")
    entra(file, body)
    file.write()


def entra(file, body):
    keys, tenant, app = Signed("entra", Rsa), "11111111-2222-3333-4444-555555555555", "4962773b-9cdb-44cf-a8bf-237846a00ab7"
    claims = {"iss": f"https://sts.windows.net/{tenant}/", "aud": "api://hooks", "appid": app, "nbf": NOW, "iat": NOW, "exp": NOW + 3600}
    params = {"jwks_kids": ["k-1"], "expected_audience": "api://hooks", "tenant": tenant}
    made = lambda more={}, key=keys.ours, kid="k-1", alg="RS256": token({**claims, **more}, key.sign, alg, kid=kid)

    def add(kind, name, text, expect="valid", params=params, **more):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {text}"}
        file.add(kind, f"Entra, {name}", headers, body, expect, None, **{
            "scheme": "event-grid-entra", "public_key_pem": keys.ours.pem(), "params": params, "source": BY_HAND, "now_unix": NOW, **more})

    add("valid", "a token as the provider makes it", made())
    v2 = {"iss": f"https://login.microsoftonline.com/{tenant}/v2.0", "appid": app}
    add("valid", "of the second version", made(v2))
    add("tampered", "of another tenant", made({"iss": "https://sts.windows.net/99999999-2222-3333-4444-555555555555/"}), CLAIM)
    add("tampered", "for another audience", made({"aud": "api://other"}), CLAIM)
    add("tampered", "of another application of the tenant", made({"appid": "99999999-9cdb-44cf-a8bf-237846a00ab7"}), CLAIM)
    add("tampered", "`none`", token(claims, lambda _: b"", "none", kid="k-1"), UNSUPPORTED)
    add("tampered", "a second too late", made(), OLD, now_unix=NOW + 3601)
    add("wrong secret", "signed with another key", made(key=keys.stranger), MISMATCH)
    add("wrong secret", "the id of another key", made(kid="k-2"), UNKNOWN_KEY)


CERT = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem"
ARN = "arn:aws:sns:eu-west-1:123456789012:topic"


def aws_sns():
    file, keys = File("aws-sns"), Signed("aws-sns", Rsa)
    fields = ["Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type"]
    notification = {"Type": "Notification", "MessageId": "m-1", "TopicArn": ARN, "Message": "Zwölf\n\"boxers\"",
                    "Timestamp": "2026-09-21T14:13:20.000Z", "SignatureVersion": "2", "SigningCertURL": CERT,
                    "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe"}
    confirm = {**notification, "Type": "SubscriptionConfirmation", "Token": "t-1",
               "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t-1"}

    def signed(message, key=keys.ours, **more):
        text = "".join(f"{name}\n{message[name]}\n" for name in fields if message.get(name) is not None)
        algorithm = "sha1" if message["SignatureVersion"] == "1" else "sha256"
        return {**message, "Signature": b64(key.sign(text.encode(), algorithm)), **more}

    def add(kind, name, message, expect="valid", key=keys.ours.pem(), **more):
        secret = {"secret": key} if isinstance(key, list) else {"secret": None, "public_key_pem": key}
        body = message if isinstance(message, bytes) else json.dumps(message, ensure_ascii=False).encode()
        headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}
        file.add(kind, name, headers, body, expect, **{**secret, "source": BY_HAND, **more})

    good = signed(notification)
    add("valid", "a notification", good)
    add("valid", "version 1", signed({**notification, "SignatureVersion": "1"}))
    add("valid", "with a subject", signed({**notification, "Subject": "Hello"}))
    add("valid", "a subject that is null", {**good, "Subject": None})
    add("valid", "as Lambda spells it", {("SigningCertUrl" if name == "SigningCertURL" else name): value for name, value in good.items()})
    add("valid", "written in escapes", json.dumps(good).encode())
    add("valid", "of a topic that is configured", good, params={"topics": [ARN]})
    add("valid", "China", signed({**notification, "SigningCertURL": "https://sns.cn-north-1.amazonaws.com.cn/a.pem"}))
    add("valid", "a confirmation, where no topic is pinned", signed(confirm))
    add("valid", "the end of a subscription", signed({**confirm, "Type": "UnsubscribeConfirmation"}))
    add("handshake", "a confirmation of a pinned topic", signed(confirm), "challenge:", params={"topics": [ARN], "pending_topics": [ARN]})
    add("handshake", "a notification of another topic", good, "invalid:unknown_topic", params={"pending_topics": [ARN + "2"]})
    add("handshake", "a confirmation of another topic", signed(confirm), "invalid:unknown_topic", params={"pending_topics": [ARN + "2"]})
    inside = signed({**confirm, "SubscribeURL": "http://169.254.169.254/latest/meta-data/"})
    add("handshake", "a confirmation at another host", inside, "invalid:url_not_allowed", params={"pending_topics": [ARN]})
    add("tampered", "another message", {**good, "Message": "Elf"}, MISMATCH)
    add("tampered", "another topic", {**good, "TopicArn": ARN + "2"}, MISMATCH)
    add("tampered", "a subject added", {**good, "Subject": "Hello"}, MISMATCH)
    add("tampered", "the other version", {**good, "SignatureVersion": "1"}, MISMATCH)
    add("tampered", "a confirmation made of a notification", {**good, "Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": "u"}, MISMATCH)
    add("tampered", "genuine, but of a topic that is not configured", good, "invalid:unknown_topic", params={"topics": [ARN + "2"]})
    for url in (CERT.replace("https", "http"), CERT.replace(".com/", ".com.evil.example/"), CERT.replace(".pem", ".txt"),
                "https://localhost:56789/cert.pem", "https://evil.example/sns.eu-west-1.amazonaws.com/a.pem",
                "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem", "https://s3.eu-west-1.amazonaws.com/sns/a.pem",
                CERT + "?x=.pem", ""):
        add("tampered", f"a certificate at `{url}`", {**good, "SigningCertURL": url}, "invalid:key_url_not_allowed")
    both = json.dumps(good)[:-1].encode() + b',"SigningCertUrl":"https://evil.example/a.pem"}'
    add("malformed", "two spellings of one member", both, "invalid:malformed_content")
    add("malformed", "version 3", {**good, "SignatureVersion": "3"}, UNSUPPORTED)
    add("malformed", "no signature", {**good, "Signature": ""}, "invalid:missing_signature")
    add("malformed", "a signature that is not base64", {**good, "Signature": good["Signature"] + "!"}, SHAPELESS)
    add("malformed", "no message", {name: value for name, value in good.items() if name != "Message"}, "invalid:malformed_content")
    add("malformed", "a confirmation without a token", {**good, "Type": "SubscriptionConfirmation"}, "invalid:malformed_content")
    add("malformed", "no JSON", b"Message=1", "invalid:malformed_content")
    add("wrong secret", "signed with another key", signed(notification, keys.stranger), MISMATCH)
    add("rotation", "the second key matches", good, key=[keys.stranger.pem(), keys.ours.pem()])
    add("rotation", "neither key matches", good, MISMATCH, key=[keys.stranger.pem(), Rsa("third").pem()])
    file.write()


def paypal():
    file, keys = File("paypal", now=None), Signed("paypal", Rsa)
    url = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-a5cafa77"
    at = "2026-09-21T14:13:20Z"
    content = lambda body=JSON, webhook="WH-1", ident="t-1", at=at: f"{ident}|{at}|{webhook}|{zlib.crc32(body)}".encode()
    good = b64(keys.ours.sign(content()))

    def add(kind, name, signature=good, expect="valid", body=JSON, key=keys.ours.pem(), params={"webhook_id": "WH-1"}, source=BY_HAND, **headers):
        secret = {"secret": key} if isinstance(key, list) else {"secret": None, "public_key_pem": key}
        names = {"Transmission-Id": "t-1", "Transmission-Time": at, "Transmission-Sig": signature, "Auth-Algo": "SHA256withRSA", "Cert-Url": url}
        names.update({name.replace("_", "-"): value for name, value in headers.items()})
        sent = {"Content-Type": "application/json", **{f"PayPal-{name}": value for name, value in names.items() if value is not None}}
        file.add(kind, name, sent, body, expect, **secret, params=params, source=source)

    add("valid", "a delivery")
    add("valid", "an empty body", b64(keys.ours.sign(content(b""))), body=b"")
    add("valid", "the sandbox", Cert_Url=url.replace("api.", "api.sandbox."))
    add("tampered", "a byte added to the body", expect=MISMATCH, body=JSON + b" ")
    add("tampered", "for another webhook", expect=MISMATCH, params={"webhook_id": "WH-2"})
    add("tampered", "another id", expect=MISMATCH, Transmission_Id="t-2")
    add("tampered", "another time", expect=MISMATCH, Transmission_Time="2026-09-21T14:13:21Z")
    shifted = b64(keys.ours.sign(content(ident="t", webhook="WH-1", at=f"1|{at}")))
    add("tampered", "a separator in the id", shifted, "invalid:malformed_content", Transmission_Id="t|1")
    add("tampered", "RSA with SHA-1", b64(keys.ours.sign(content(), "sha1")), MISMATCH)
    for foreign in ("https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1", "https://evilpaypal.com/v1/notifications/certs/CERT-1",
                    "https://127.0.0.1:9/v1/notifications/certs/CERT-1", url.replace("https", "http"), "https://api.paypal.com/redirect?to=x",
                    "https://api.paypal.com/v1/notifications/certs/../../x", "https://www.paypal.com/v1/notifications/certs/CERT-1"):
        add("tampered", f"a certificate at `{foreign}`", expect="invalid:key_url_not_allowed", Cert_Url=foreign)
    add("malformed", "no algorithm", expect="invalid:missing_header", Auth_Algo=None)
    add("malformed", "another algorithm", expect=UNSUPPORTED, Auth_Algo="none")
    add("malformed", "no signature", expect="invalid:missing_signature", Transmission_Sig=None)
    add("malformed", "no certificate", expect="invalid:missing_header", Cert_Url=None)
    add("malformed", "a time that is none", expect="invalid:malformed_timestamp", Transmission_Time="yesterday")
    add("malformed", "hex", keys.ours.sign(content()).hex() + "f", SHAPELESS)
    add("malformed", "no webhook id is configured", expect="invalid:unusable_settings", params={})
    add("wrong secret", "signed with another key", b64(keys.stranger.sign(content())), MISMATCH)
    add("rotation", "the second key matches", key=[keys.stranger.pem(), keys.ours.pem()])
    add("rotation", "neither key matches", expect=MISMATCH, key=[keys.stranger.pem(), Rsa("third").pem()])
    file.write()


def travis_ci():
    file, keys = File("travis-ci", now=None), Signed("travis-ci", Rsa)
    payload = '{"id":1,"number":"1","state":"passed","repository":{"name":"Zwölf & mehr"}}'
    body = urlencode({"payload": payload}).encode()
    good = b64(keys.ours.sign(payload.encode(), "sha1"))

    def add(kind, name, signature=good, expect="valid", body=body, key=keys.ours.pem()):
        secret = {"secret": key} if isinstance(key, list) else {"secret": None, "public_key_pem": key}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Signature": signature, "Travis-Repo-Slug": "a/b"}
        file.add(kind, name, headers, body, expect, **secret, source=BY_HAND)

    add("valid", "a build")
    add("valid", "another field beside it", body=b"x=1&" + body)
    add("valid", "encoded in another way", body=b"payload=" + quote(payload, safe="").encode())
    add("tampered", "another payload", expect=MISMATCH, body=body.replace(b"passed", b"failed"))
    add("tampered", "a second payload", expect="invalid:malformed_content", body=body + b"&payload=%7B%7D")
    add("tampered", "SHA-256", b64(keys.ours.sign(payload.encode())), MISMATCH)
    add("tampered", "the body as it arrived", b64(keys.ours.sign(body, "sha1")), MISMATCH)
    add("malformed", "no payload", expect="invalid:malformed_content", body=b"x=1")
    add("malformed", "no signature", "", "invalid:missing_signature")
    add("malformed", "hex", keys.ours.sign(payload.encode(), "sha1").hex() + "f", SHAPELESS)
    add("wrong secret", "signed with another key", b64(keys.stranger.sign(payload.encode(), "sha1")), MISMATCH)
    add("rotation", "the second key matches", key=[keys.stranger.pem(), keys.ours.pem()])
    add("rotation", "neither key matches", expect=MISMATCH, key=[keys.stranger.pem(), Rsa("third").pem()])
    file.write()


def write():
    aws_sns()
    azure_event_grid()
    google_pubsub()
    messagebird()
    monday()
    netlify()
    paypal()
    plaid()
    travis_ci()
    vonage()
