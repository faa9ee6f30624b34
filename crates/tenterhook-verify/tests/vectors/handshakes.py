"""Vectors of handshakes: what is asked, what is answered, and what a stranger asks in vain."""

import hashlib
import json

from common import NOW, SECRET, b64, ed25519, mac

MALFORMED, REPEATED = "invalid:malformed_challenge", "invalid:repeated_parameter"
MARKUP = "%3Cscript%3Ealert(1)%3C/script%3E"
URL = "https://hooks.example.com/in"
SOURCE = "by the provider's documentation, with Python's hmac and hashlib"


def add(provider, file):
    """Adds the handshakes of a provider to its file, if it has some."""
    if provider not in MAKERS:
        return

    def ask(name, expect, query="", method="GET", body=b"", **more):
        headers = {name.replace("_", "-"): value for name, value in more.pop("headers", {}).items()}
        file.add("handshake", name, headers, body, expect, **{
            "method": method, "url": URL + (f"?{query}" if query else ""), "source": SOURCE, **more})

    MAKERS[provider](ask)


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def hub(token):
    def make(ask):
        good = f"hub.mode=subscribe&hub.verify_token={token}&hub.challenge="
        params = {"params": {"verify_token": token}}
        ask("the challenge is echoed", "challenge:1158201444", good + "1158201444", expect_response_status=200, **params)
        ask("another verify token", "invalid:token_mismatch", "hub.mode=subscribe&hub.verify_token=other&hub.challenge=1", **params)
        ask("no verify token", "invalid:token_mismatch", "hub.mode=subscribe&hub.challenge=1", **params)
        ask("no verify token, and none is configured", "invalid:token_mismatch", "hub.mode=subscribe&hub.verify_token=&hub.challenge=1")
        ask("markup", MALFORMED, good + MARKUP, **params)
        ask("two challenges", REPEATED, good + "1&hub.challenge=2", **params)
    return make


def websub(ask):
    topic = "https%3A%2F%2Fexample.com%2Ffeed"
    params = {"params": {"pending_topics": ["https://example.com/feed"]}}
    for mode in "subscribe", "unsubscribe":
        query = f"hub.mode={mode}&hub.topic={topic}&hub.challenge=4875632145698745632&hub.lease_seconds=432000"
        ask(f"{mode}, a topic that is pending", "challenge:4875632145698745632", query, **params)
        ask(f"{mode}, another topic", "invalid:unknown_topic", query, params={"pending_topics": ["https://example.com/other"]})
        ask(f"{mode}, where none is pending", "invalid:unknown_topic", query)
    ask("markup", MALFORMED, f"hub.mode=subscribe&hub.topic={topic}&hub.challenge={MARKUP}", **params)


def echoed(ask):
    ask("the challenge is echoed", "challenge:abc123", "challenge=abc123")
    ask("markup", MALFORMED, "challenge=" + MARKUP)
    ask("two challenges", REPEATED, "challenge=a&challenge=b")
    ask("no challenge is an event that is not signed", "invalid:missing_signature", "other=1")


def graph(ask):
    token = "Validation: Testing client application reachability for subscription Request-Id: 1"
    ask("the token is echoed", "challenge:" + token, "validationToken=" + token.replace(" ", "+"), "POST", secret=None)
    ask("markup", MALFORMED, "validationToken=" + MARKUP, "POST")


def x(ask):
    tag = lambda text: b64(mac(SECRET.encode(), text.encode()))
    answer = lambda text: compact({"response_token": "sha256=" + tag(text)})
    signed = {"x_twitter_webhooks_signature": "sha256=" + tag("crc_token=abc&nonce=1")}
    ask("a token is answered with its MAC", "challenge:" + answer("challenge-token-123"), "crc_token=challenge-token-123&nonce=abc")
    ask("a token, the query signed", "challenge:" + answer("abc"), "crc_token=abc&nonce=1", headers=signed)
    ask("a token, another query signed", "invalid:signature_mismatch", "crc_token=abd&nonce=1", headers=signed)
    for event in '{"a":1}', "[1]", "a b", "a=b", "a" * 129:
        ask(f"an event `{event[:8]}` for a token", MALFORMED, "crc_token=" + "".join(f"%{byte:02x}" for byte in event.encode()))
    post = {"x_twitter_webhooks_signature": "sha256=" + tag("challenge-token-123")}
    ask("the MAC of a token for an event", "invalid:content_is_challenge", "", "POST", b"challenge-token-123", headers=post)


def zoom(ask):
    def asked(name, token, expect=None, body=None, secret=SECRET):
        body = body or json.dumps({"event": "endpoint.url_validation", "payload": {"plainToken": token}, "event_ts": NOW * 1000}).encode()
        signature = "v0=" + mac(secret.encode(), f"v0:{NOW}:".encode() + body).hex()
        answer = compact({"encryptedToken": mac(SECRET.encode(), token.encode()).hex(), "plainToken": token})
        ask(name, expect or "challenge:" + answer, "", "POST", body, headers={"x_zm_signature": signature, "x_zm_request_timestamp": str(NOW)})

    asked("a token is answered with its MAC", "qgg8vlvZRS6UYooatFL8Aw")
    asked("a signed content for a token", f"v0:{NOW}:{{}}", MALFORMED)
    asked("somebody else's signature", "qgg8vlvZRS6UYooatFL8Aw", "invalid:signature_mismatch", secret="other")


def okta(ask):
    good = {"x_okta_verification_challenge": "my-challenge-value", "Authorization": SECRET}
    ask("the challenge is echoed", 'challenge:{"verification":"my-challenge-value"}', headers=good)
    ask("without the token", "invalid:token_mismatch", headers={**good, "Authorization": "other"})
    ask("markup", MALFORMED, headers={**good, "x_okta_verification_challenge": "<script>"})


def cloudevents(ask):
    origin = {"WebHook_Request_Origin": "sender.example.com", "WebHook_Request_Rate": "120"}
    params = {"params": {"allowed_origins": ["sender.example.com"]}}
    ask("an origin that is allowed", "challenge:", method="OPTIONS", headers=origin, **params)
    ask("another origin", "invalid:unknown_origin", method="OPTIONS", headers={**origin, "WebHook_Request_Origin": "evil.example"}, **params)
    ask("where none is allowed", "invalid:unknown_origin", method="OPTIONS", headers=origin)


def twitch(ask):
    def asked(name, challenge, expect=None, secret=SECRET):
        at, body = "2026-09-21T14:13:20Z", json.dumps({"challenge": challenge}).encode()
        signature = "sha256=" + mac(secret.encode(), f"m-1{at}".encode() + body).hex()
        ask(name, expect or "challenge:" + challenge, "", "POST", body, headers={
            "Twitch_Eventsub_Message_Id": "m-1", "Twitch_Eventsub_Message_Timestamp": at, "Twitch_Eventsub_Message_Signature": signature,
            "Twitch_Eventsub_Message_Type": "webhook_callback_verification", "Twitch_Eventsub_Subscription_Type": "channel.follow"})

    asked("the challenge is echoed", "pogchamp-kappa-360noscope-vohiyo")
    asked("somebody else's signature", "pogchamp", "invalid:signature_mismatch", "other")
    asked("markup", "<script>", MALFORMED)


def front(ask):
    body = b'{"type":"sync","payload":{}}'
    signature = b64(mac(SECRET.encode(), f"{NOW * 1000}:".encode() + body))
    good = {"X_Front_Signature": signature, "X_Front_Request_Timestamp": str(NOW * 1000), "X_Front_Challenge": "abc-123"}
    ask("the challenge is echoed", 'challenge:{"challenge":"abc-123"}', "", "POST", body, headers=good)
    ask("not signed", "invalid:signature_mismatch", "", "POST", body + b" ", headers=good)
    ask("markup", MALFORMED, "", "POST", body, headers={**good, "X_Front_Challenge": "<script>"})


def head(ask):
    ask("the URL is there", "challenge:", method="HEAD", expect_response_status=200)


def woocommerce(ask):
    pending = {"params": {"handshake_pending": True}}
    ask("the ping, while a registration is pending", "challenge:", "", "POST", b"webhook_id=12", expect_response_status=200, **pending)
    ask("the ping, while none is pending", "invalid:missing_signature", "", "POST", b"webhook_id=12")
    ask("a ping with more than a number", MALFORMED, "", "POST", b"webhook_id=12<script>", **pending)
    topic = {"X_WC_Webhook_Topic": "order.created"}
    ask("an event that is not signed", "invalid:missing_signature", "", "POST", b"webhook_id=12", headers=topic, **pending)


def asana(ask):
    pending, key = {"params": {"handshake_pending": True}}, "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"
    secret = {"headers": {"X_Hook_Secret": key}}
    ask("a key, while a registration is pending", "challenge:", "", "POST", secret=None, **pending, **secret)
    ask("a key, while none is pending", "invalid:unexpected_handshake", "", "POST", **secret)
    ask("a key that is too short", "invalid:malformed_key", "", "POST", headers={"X_Hook_Secret": "short"}, **pending)
    signed = {"X_Hook_Secret": key, "X_Hook_Signature": mac(b"another key", b"").hex()}
    ask("a key that did not sign", "invalid:signature_mismatch", "", "POST", headers=signed, **pending)


def notion(ask):
    key = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"
    body = json.dumps({"verification_token": key}).encode()
    signed = lambda secret: {"X_Notion_Signature": "sha256=" + mac(secret.encode(), body).hex()}
    ask("a key, while a registration is pending", "challenge:", "", "POST", body, secret=None, params={"handshake_pending": True}, headers=signed(key))
    ask("a key, while none is pending", "invalid:unexpected_handshake", "", "POST", body, headers=signed(key))
    ask("a key that did not sign", "invalid:signature_mismatch", "", "POST", body, params={"handshake_pending": True}, headers=signed("other"))
    ask("the key that is configured already", "challenge:", "", "POST", body, headers=signed(key), secret=key)


def fastly(ask):
    ids = ["6WlbRM7ZkWOKNUqy5cNPlj", "7xmcSN8alXPLOVrz6dOQmk"]
    lines = "\n".join(hashlib.sha256(ident.encode()).hexdigest() for ident in ids)
    url = "https://hooks.example.com/.well-known/fastly/logging/challenge"
    ask("a line for each service", "challenge:" + lines, params={"service_ids": ids}, url=url)
    ask("where no service is configured", "invalid:not_configured", url=url)
    ask("another path", "invalid:missing_signature", params={"service_ids": ids})


def braintree(ask):
    challenge = "20f9f8ed05f77439fe955c977e4c8a53"
    tag = mac(hashlib.sha1(SECRET.encode()).digest(), challenge.encode(), "sha1").hex()
    params = {"params": {"public_key": "key-1"}}
    ask("the challenge is signed", f"challenge:key-1|{tag}", "bt_challenge=" + challenge, **params)
    for wrong in "bad+challenge", challenge.upper(), challenge + "0", challenge[:19]:
        ask(f"`{wrong[:20]}` ({len(wrong)})", MALFORMED, "bt_challenge=" + wrong, **params)
    body = f"bt_signature=key-1%7C{tag}&bt_payload={challenge}".encode()
    ask("its signature for an event", "invalid:content_is_challenge", "", "POST", body, **params)


def slack(ask):
    def asked(name, challenge, expect=None, secret=SECRET):
        body = json.dumps({"token": "t", "challenge": challenge, "type": "url_verification"}).encode()
        signature = "v0=" + mac(secret.encode(), f"v0:{NOW}:".encode() + body).hex()
        ask(name, expect or "challenge:" + challenge, "", "POST", body,
            headers={"X_Slack_Signature": signature, "X_Slack_Request_Timestamp": str(NOW)})

    asked("the challenge is echoed", "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")
    asked("somebody else's signature", "3eZbrw1a", "invalid:signature_mismatch", "other")
    asked("markup", "<script>", MALFORMED)


def discord(ask):
    seed, foreign = hashlib.sha256(b"discord").digest(), hashlib.sha256(b"discord, another").digest()

    def asked(name, expect, body, seed=seed):
        public = ed25519(hashlib.sha256(b"discord").digest(), b"-")[0]
        signature = ed25519(seed, str(NOW).encode() + body)[1].hex()
        ask(name, expect, "", "POST", body, secret=public.hex(), headers={"X_Signature_Ed25519": signature, "X_Signature_Timestamp": str(NOW)})

    asked("a ping of interactions", 'challenge:{"type":1}', b'{"type":1,"id":"1"}')
    asked("a ping of webhook events", "challenge:", b'{"version":1,"application_id":"1","type":0}')
    asked("a wrong signature, as Discord tries on purpose", "invalid:signature_mismatch", b'{"type":1,"id":"1"}', foreign)


def mandrill(ask):
    head(ask)
    ask("the test of a new webhook, which another key signed", "challenge:", "", "POST", b"mandrill_events=%5B%5D",
        expect_response_status=200, params={"handshake_pending": True})


MAKERS = {
    "asana": asana, "braintree": braintree, "cloudevents": cloudevents, "discord": discord, "dropbox": echoed, "fastly": fastly, "front": front,
    "intercom": head, "mandrill": mandrill, "meta": hub("meatyhamhock"), "microsoft-graph": graph, "notion": notion, "nylas": echoed,
    "okta": okta, "slack": slack, "trello": head, "twitch": twitch, "websub": websub, "woocommerce": woocommerce, "x": x, "zoom": zoom,
}
