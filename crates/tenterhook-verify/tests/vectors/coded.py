"""Vectors of the providers whose schemes are code: signatures in the body, over sorted parameters, over named headers.

Each is computed from the provider's documentation, with the standard library; nothing here shares a line with the crate.
"""

import hashlib
import json
from urllib.parse import parse_qsl, quote, urlencode

import declared
from common import JSON, MISMATCH, NOW, OTHER, SECRET, SHAPELESS, File, b64, ed25519, mac

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
AS_JSON = {"Content-Type": "application/json"}
URL = "https://hooks.example.com/in?b=2&a=1"
MISSING, CONTENT, HEADER = "invalid:missing_signature", "invalid:malformed_content", "invalid:missing_header"
OLD, FUTURE, NO_URL = "invalid:timestamp_too_old", "invalid:timestamp_in_future", "invalid:missing_url"


def form(*pairs):
    return urlencode(pairs).encode()


def pairs(body):
    return parse_qsl(body.decode(), keep_blank_values=True)


def payload(provider, header):
    """Gitea and Forgejo: the JSON is signed, wherever it stands."""
    file = File(provider, now=None)
    sign = lambda body=JSON, key=SECRET: mac(key.encode(), body).hex()
    headers = lambda value, kind=AS_JSON: {**kind, header: value, f"X-{provider.title()}-Event": "push"}
    as_form = form(("payload", JSON.decode()))
    file.add("valid", "a JSON body", headers(sign()))
    file.add("valid", "an empty body", headers(sign(b"")), b"")
    file.add("valid", "a form", headers(sign(), FORM), as_form)
    file.add("valid", "a form that is encoded in another way", headers(sign(), FORM), as_form.replace(b"evt", b"%65vt"))
    file.add("valid", "a query", headers(sign(), {}), b"", method="GET", url=f"https://hooks.example.com/in?{as_form.decode()}")
    file.add("tampered", "a byte added to the body", headers(sign()), JSON + b" ", MISMATCH)
    file.add("tampered", "the form itself signed", headers(sign(as_form), FORM), as_form, MISMATCH)
    file.add("tampered", "a field beside the payload", headers(sign(), FORM), as_form + b"&ref=refs%2Fheads%2Fevil", CONTENT)
    file.add("tampered", "two payloads", headers(sign(), FORM), as_form + b"&payload=%7B%7D", CONTENT)
    file.add("tampered", "a body beside the query", headers(sign(), {}), b"{}", CONTENT, method="GET",
             url=f"https://hooks.example.com/in?{as_form.decode()}")
    github = lambda value: {**AS_JSON, "X-Hub-Signature-256": value}
    file.add("tampered", "GitHub's name alone", github("sha256=" + sign()), expect=MISSING)
    file.add("tampered", "GitHub's name beside an empty signature", {**headers(""), **github("sha256=" + sign())}, expect=MISSING)
    if provider == "gitea":
        as_github = {"scheme": "github"}
        file.add("valid", "GitHub's name where it is chosen", github("sha256=" + sign()), **as_github)
        file.add("valid", "GitHub's name over a form", {**FORM, **github("sha256=" + sign()), **FORM}, as_form, **as_github)
        file.add("tampered", "GitHub's name, a byte added to the body", github("sha256=" + sign()), JSON + b" ", MISMATCH, **as_github)
        file.add("malformed", "GitHub's name without the prefix", github(sign()), expect=SHAPELESS, **as_github)
    file.add("wrong secret", "somebody else's", headers(sign()), expect=MISMATCH, secret=OTHER)
    file.add("malformed", "no signature", AS_JSON, expect=MISSING)
    file.add("malformed", "the last digit cut off", headers(sign()[:-1]), expect=SHAPELESS)
    file.add("malformed", "GitHub's prefix under its own name", headers("sha256=" + sign()), expect=SHAPELESS)
    file.add("rotation", "the second secret matches", headers(sign()), secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", headers(sign()), expect=MISMATCH, secret=[OTHER, OTHER + "2"])
    file.write()


def discord():
    file = File("discord", now=None)
    body = b'{"version":1,"application_id":"1","type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}'
    seed, foreign = hashlib.sha256(b"discord").digest(), hashlib.sha256(b"discord, another").digest()
    public, signature = ed25519(seed, str(NOW).encode() + body)
    stranger, theirs = ed25519(foreign, str(NOW).encode() + body)
    headers = lambda value=signature.hex(), time=str(NOW): {**AS_JSON, "X-Signature-Ed25519": value, "X-Signature-Timestamp": time}
    more = {"secret": public.hex(), "source": "signed with openssl pkeyutl (Ed25519) by the provider's documentation"}
    add = lambda *args, **also: file.add(*args, **{**more, **also})
    add("valid", "an event", headers(), body)
    add("valid", "any time later: there is no tolerance", headers(), body, now_unix=NOW + 86_400)
    add("stale", "beyond a tolerance that is set", headers(), body, OLD, now_unix=NOW + 301, tolerance_secs=300)
    add("tampered", "a byte added to the body", headers(), body + b" ", MISMATCH)
    add("tampered", "another time than the signed one", headers(time=str(NOW + 1)), body, MISMATCH)
    add("tampered", "a digit moved from the time to the body", headers(time=str(NOW)[:-1]), b"0" + body, "invalid:malformed_timestamp")
    add("tampered", "a MAC keyed with the public key", headers(mac(public, str(NOW).encode() + body, "sha512").hex()), body, MISMATCH)
    add("wrong secret", "signed by another application", headers(theirs.hex()), body, MISMATCH)
    add("wrong secret", "a key that is too short", headers(), body, "invalid:unusable_secret", secret=public.hex()[:-2])
    add("malformed", "no signature", AS_JSON, body, MISSING)
    add("malformed", "no time", {**AS_JSON, "X-Signature-Ed25519": signature.hex()}, body, "invalid:missing_timestamp")
    add("malformed", "a time with a sign", headers(time=f"+{NOW}"), body, "invalid:malformed_timestamp")
    add("malformed", "half a signature", headers(signature.hex()[:64]), body, SHAPELESS)
    add("rotation", "the second key matches", headers(), body, secret=[stranger.hex(), public.hex()])
    add("rotation", "neither key matches", headers(), body, MISMATCH, secret=[stranger.hex(), ed25519(b"3" * 32, b"-")[0].hex()])
    file.write()


def mailgun():
    file = File("mailgun", now=None)
    token = hashlib.sha256(b"mailgun").hexdigest()[:50]
    sign = lambda time=NOW, token=token, key=SECRET: mac(key.encode(), f"{time}{token}".encode()).hex()
    event = {"event": "delivered", "id": "ev-1", "recipient": "a@example.com"}

    def body(time=str(NOW), token=token, signature=None, **more):
        signature = sign(time, token) if signature is None else signature
        fields = {"timestamp": time, "token": token, "signature": signature}
        return json.dumps({"signature": fields, "event-data": event, **more}).encode()

    add = lambda kind, name, raw, expect="valid", **more: file.add(kind, name, AS_JSON, raw, expect, **more)
    add("valid", "an event", body())
    add("valid", "the time as a number", body(NOW))
    add("valid", "another event with the same token: the event is not signed", body(**{"event-data": {"event": "opened"}}))
    add("valid", "at the edge of a tolerance that is set", body(), now_unix=NOW + 300, tolerance_secs=300)
    add("tampered", "another token", body(token=token[:-1] + "!", signature=sign()), MISMATCH)
    add("tampered", "another time", body(str(NOW + 1), signature=sign()), MISMATCH)
    add("tampered", "a digit moved from the time to the token", body(str(NOW)[:-1], "0" + token, sign()), CONTENT)
    add("tampered", "a character moved from the token to the time", body(f"{NOW}{token[0]}", token[1:], sign()), CONTENT)
    add("tampered", "two signatures", body().replace(b'"event-data"', b'"signature": {}, "event-data"'), CONTENT)
    add("stale", "beyond a tolerance that is set", body(), OLD, now_unix=NOW + 301, tolerance_secs=300)
    add("stale", "too far ahead of the clock", body(), FUTURE, now_unix=NOW - 301, tolerance_secs=300)
    add("wrong secret", "somebody else's", body(signature=sign(key=OTHER)), MISMATCH)
    add("malformed", "no signature object", json.dumps({"event-data": event}).encode(), MISSING)
    add("malformed", "an empty signature", body(signature=""), MISSING)
    add("malformed", "no hex", body(signature="x" * 64), SHAPELESS)
    add("malformed", "a token that is too short", body(token="short", signature=sign(NOW, "short")), CONTENT)
    add("malformed", "no JSON", b"timestamp=1", CONTENT)
    add("rotation", "the second secret matches", body(), secret=[OTHER, SECRET])
    add("rotation", "neither secret matches", body(), MISMATCH, secret=[OTHER, OTHER + "2"])

    legacy = {"scheme": "mailgun-legacy"}
    fields = lambda signature=sign(): [("timestamp", str(NOW)), ("token", token), ("signature", signature)]
    raw = form(("event", "delivered"), *fields(), ("recipient", "a@example.com"))
    parts = "".join(f'--b-1\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields())
    parts += '--b-1\r\nContent-Disposition: form-data; name="attachment-1"; filename="a.bin"\r\n\r\n\x00\x01\r\n--b-1--\r\n'
    multipart = {"Content-Type": "multipart/form-data; boundary=b-1"}
    file.add("valid", "legacy, a form", FORM, raw, **legacy)
    file.add("valid", "legacy, multipart with a file", multipart, parts.encode(), **legacy)
    file.add("tampered", "legacy, another token", FORM, raw.replace(token.encode(), token[::-1].encode()), MISMATCH, **legacy)
    file.add("tampered", "legacy, a second token", FORM, raw + b"&token=x", CONTENT, **legacy)
    file.add("tampered", "a form where JSON is asked for", FORM, raw, CONTENT)
    file.add("malformed", "legacy, no signature", FORM, form(*fields()[:2]), MISSING, **legacy)
    file.add("malformed", "legacy, multipart that does not end", multipart, parts.encode()[:-20], CONTENT, **legacy)
    alerts = {"scheme": "mailgun-optimize-alerts"}
    whole = lambda body=JSON: {**AS_JSON, "X-Sign": mac(SECRET.encode(), body).hex()}
    file.add("valid", "alerts", whole(), **alerts)
    file.add("tampered", "alerts, a byte added to the body", whole(), JSON + b" ", MISMATCH, **alerts)
    file.write()


def mandrill():
    url = "https://hooks.example.com/mandrill?source=a"
    file = File("mandrill", url, now=None)
    body = form(("mandrill_events", '[{"event":"send","_id":"1","msg":{"subject":"Gr\u00fc\u00dfe & mehr"}}]'))
    sign = lambda raw=body, key=SECRET, url=url: b64(
        mac(key.encode(), (url + "".join(name + value for name, value in sorted(pairs(raw)))).encode(), "sha1"))
    headers = lambda value: {**FORM, "X-Mandrill-Signature": value}
    several = form(("b", "2"), ("mandrill_events", "[]"), ("a", "1"))
    file.add("valid", "a batch", headers(sign()), body)
    file.add("valid", "several fields, which are sorted", headers(sign(several)), several)
    file.add("valid", "an empty batch with the key for trials", headers(sign(form(("mandrill_events", "[]")), "test-webhook")),
             form(("mandrill_events", "[]")), secret="test-webhook")
    file.add("tampered", "a value changed", headers(sign()), body.replace(b"send", b"open"), MISMATCH)
    file.add("tampered", "a field added", headers(sign()), body + b"&a=1", MISMATCH)
    file.add("tampered", "signed for another URL", headers(sign(url=url + "b")), body, MISMATCH)
    file.add("wrong secret", "somebody else's", headers(sign()), body, MISMATCH, OTHER)
    file.add("wrong secret", "the key for trials", headers(sign(key="test-webhook")), body, MISMATCH)
    file.add("malformed", "no signature", FORM, body, MISSING)
    file.add("malformed", "hex", headers("0" * 40), body, SHAPELESS)
    file.add("malformed", "no URL is configured", headers(sign()), body, NO_URL, url=None)
    file.add("malformed", "fields without end", headers(sign()), b"a=1&" * 1001, CONTENT)
    file.add("rotation", "the second key matches", headers(sign()), body, secret=[OTHER, SECRET])
    file.add("rotation", "neither key matches", headers(sign()), body, MISMATCH, [OTHER, OTHER + "2"])
    file.write()


def adyen():
    file = File("adyen", now=None)
    ours, other, third = (hashlib.sha256(text.encode()).hexdigest().upper() for text in (SECRET, OTHER, OTHER + "2"))
    plain = {
        "pspReference": "7914073381342284", "merchantAccountCode": "SampleMerchant", "merchantReference": "order-1",
        "amount": {"currency": "EUR", "value": 1130}, "eventCode": "AUTHORISATION", "success": "true",
        "eventDate": "2026-01-01T12:34:56+01:00",
    }

    def signed(item, key=ours):
        amount = item.get("amount", {})
        fields = [item.get(name, "") for name in ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")]
        fields += [amount.get("value", ""), amount.get("currency", ""), item.get("eventCode", ""), item.get("success", "")]
        text = ":".join(str(field) for field in fields)
        return {**item, "additionalData": {"a": "b", "hmacSignature": b64(mac(bytes.fromhex(key), text.encode()))}}

    wrap = lambda *items: json.dumps({"live": "false", "notificationItems": [{"NotificationRequestItem": item} for item in items]}).encode()
    add = lambda kind, name, body, expect="valid", secret=ours, **more: file.add(kind, name, AS_JSON, body, expect, secret, **more)
    one, two = signed(plain), signed({**plain, "eventCode": "CAPTURE", "originalReference": "8535296650153317"})
    colon = {**plain, "merchantReference": "a:b\\c \u00fc"}
    add("valid", "one item", wrap(one))
    add("valid", "two items", wrap(one, two))
    add("valid", "a colon in the merchant's own reference", wrap(signed(colon)))
    add("valid", "another reason: it is not signed", wrap({**one, "reason": "changed"}))
    add("valid", "success as a boolean", wrap({**one, "success": True}))
    for name, item in [("success", {"success": "false"}), ("amount", {"amount": {"currency": "EUR", "value": 1}}),
                       ("event code", {"eventCode": "REFUND"}), ("currency", {"amount": {"currency": "JPY", "value": 1130}})]:
        add("tampered", f"another {name}", wrap({**one, **item}), MISMATCH)
    add("tampered", "the second of two items", wrap(one, {**two, "success": "false"}), MISMATCH)
    add("tampered", "the second of two items without a signature", wrap(one, plain), MISSING)
    moved = {**one, "merchantAccountCode": "SampleMerchant:order-1", "merchantReference": ""}
    add("tampered", "a colon moved between fields", wrap(moved), CONTENT)
    add("tampered", "a field twice", wrap(one).replace(b'"success": "true"', b'"success": "false", "success": "true"'), CONTENT)
    add("wrong secret", "somebody else's", wrap(one), MISMATCH, other)
    add("wrong secret", "no hex", wrap(one), "invalid:unusable_secret", "no hex")
    add("malformed", "no signature", wrap(plain), MISSING)
    add("malformed", "no items", wrap(), MISSING)
    add("malformed", "a signature that is too short", wrap({**one, "additionalData": {"hmacSignature": "AAAA"}}), SHAPELESS)
    add("malformed", "items without end", wrap(*[one] * 65), CONTENT)
    add("malformed", "no JSON", b"pspReference=1", CONTENT)
    add("malformed", "an amount that is a fraction", wrap({**one, "amount": {"currency": "EUR", "value": 1130.5}}), CONTENT)
    add("rotation", "the second key matches", wrap(one), secret=[other, ours])
    add("rotation", "neither key matches", wrap(one), MISMATCH, [other, third])
    headers = lambda body=JSON: {**AS_JSON, "HmacSignature": b64(mac(bytes.fromhex(ours), body))}
    file.add("valid", "platform", headers(), secret=ours, scheme="adyen-platform")
    file.add("tampered", "platform, a byte added to the body", headers(), JSON + b" ", MISMATCH, ours, scheme="adyen-platform")
    file.write()


def braintree():
    file = File("braintree", now=None)
    xml = b"<notification><timestamp>2026-01-01T12:34:56Z</timestamp><kind>check</kind></notification>"
    text = b64(xml)
    lines = "\n".join(text[at:at + 60] for at in range(0, len(text), 60)) + "\n"
    sign = lambda payload=lines, key=SECRET: mac(hashlib.sha1(key.encode()).digest(), payload.encode(), "sha1").hex()
    body = lambda signature=None, payload=lines: form(("bt_signature", signature or f"our_key|{sign()}"), ("bt_payload", payload))
    params = {"params": {"public_key": "our_key"}}
    add = lambda kind, name, raw, expect="valid", secret=SECRET, **more: file.add(
        kind, name, FORM, raw, expect, secret, **{**params, **more})
    add("valid", "one pair", body())
    add("valid", "ours behind another", body(f"their_key|{'0' * 40}&our_key|{sign()}"))
    add("valid", "the last line break lost on the way", body(payload=lines[:-1]))
    add("tampered", "another payload", body(payload=b64(xml.replace(b"check", b"other")) + "\n"), MISMATCH)
    add("tampered", "a line break too many", body(payload=lines + "\n"), MISMATCH)
    add("tampered", "a right signature behind another key", body(f"their_key|{sign()}"), "invalid:no_supported_scheme")
    add("tampered", "the key itself instead of its hash", body(f"our_key|{mac(SECRET.encode(), lines.encode(), 'sha1').hex()}"), MISMATCH)
    add("tampered", "two payloads", body() + b"&bt_payload=AAAA", CONTENT)
    add("wrong secret", "somebody else's", body(), MISMATCH, OTHER)
    add("malformed", "no signature", form(("bt_payload", lines)), MISSING)
    add("malformed", "no payload", form(("bt_signature", f"our_key|{sign()}")), CONTENT)
    add("malformed", "no pair", body("nonsense"), "invalid:no_supported_scheme")
    add("malformed", "no hex", body("our_key|" + "x" * 40), SHAPELESS)
    add("malformed", "a payload that is not base64", body(payload="<xml/>"), CONTENT)
    add("malformed", "pairs without end", body("&".join([f"our_key|{sign()}"] * 17)), "invalid:too_many_candidates")
    add("malformed", "no public key is configured", body(), "invalid:unusable_settings", params={})
    add("rotation", "the second secret matches", body(), secret=[OTHER, SECRET])
    add("rotation", "neither secret matches", body(), MISMATCH, [OTHER, OTHER + "2"])
    file.write()


def paddle_classic(file, ours, stranger):
    """Adds the former scheme to Paddle's file."""
    fields = [("alert_name", "payment_succeeded"), ("alert_id", "1"), ("customer_name", "Zo\u00eb \u201cZ\u201d"), ("empty", ""), ("10", "a;b")]

    def serialised(fields):
        text = "".join(f's:{len(part.encode())}:"{part}";' for pair in sorted(fields) for part in pair)
        return f"a:{len(fields)}:{{{text}}}".encode()

    body = lambda fields=fields, key=ours, algorithm="sha1": form(*fields, ("p_signature", b64(key.sign(serialised(fields), algorithm))))
    add = lambda kind, name, raw, expect="valid", **more: file.add(
        kind, f"classic, {name}", FORM, raw, expect, now_unix=None, scheme="paddle-classic",
        **{"secret": None, "public_key_pem": ours.pem(), "source": "RSA PKCS#1 v1.5 by RFC 8017 in Python's integers, over PHP's "
           "serialisation, by the provider's documentation", **more})
    add("valid", "a form", body())
    add("valid", "its fields in another order", body(list(reversed(fields))))
    add("valid", "the second key matches", body(), secret=[stranger.pem(), ours.pem()], public_key_pem=None)
    add("tampered", "a value changed", body().replace(b"succeeded", b"abandoned"), MISMATCH)
    add("tampered", "a field added", body() + b"&extra=1", MISMATCH)
    add("tampered", "a field twice", body() + b"&alert_id=2", CONTENT)
    add("tampered", "SHA-256", body(algorithm="sha256"), MISMATCH)
    add("wrong secret", "another key", body(key=stranger), MISMATCH)
    add("malformed", "no signature", form(*fields), MISSING)
    add("malformed", "no base64", form(*fields, ("p_signature", "!")), SHAPELESS)


def coinbase_cdp():
    file = File("coinbase-cdp")
    extra = {**AS_JSON, "X-Event-Id": "evt-1", "X-Event-Type": "onchain.activity.detected"}
    names = "x-event-id x-event-type"

    def v1(body=JSON, at=NOW, names=names, key=SECRET):
        values = ".".join({name.lower(): value for name, value in extra.items()}[name] for name in names.split(" "))
        return mac(key.encode(), f"{at}.{names}.{values}.".encode() + body).hex()

    v0 = lambda body=JSON, at=NOW, key=SECRET: mac(key.encode(), f"{at}.".encode() + body).hex()
    headers = lambda value, **more: {**extra, "X-Hook0-Signature": value, **more}
    good = f"t={NOW},h={names},v1={v1()}"
    file.add("valid", "signed headers", headers(good))
    file.add("valid", "the body alone", headers(f"t={NOW},v0={v0()}"))
    file.add("valid", "both, of which the first counts", headers(f"{good},v0={'0' * 64}"))
    file.add("valid", "at the edge of the tolerance", headers(good), now_unix=NOW + 300)
    file.add("tampered", "a byte added to the body", headers(good), JSON + b" ", MISMATCH)
    file.add("tampered", "a signed header changed", headers(good, **{"X-Event-Id": "evt-2"}), expect=MISMATCH)
    file.add("tampered", "the names in another order", headers(good.replace(names, "x-event-type x-event-id")), expect=MISMATCH)
    file.add("tampered", "a wrong signature beside a right one of the body alone",
             headers(f"t={NOW},h={names},v1={'0' * 64},v0={v0()}"), expect=MISMATCH)
    file.add("tampered", "another time", headers(good.replace(str(NOW), str(NOW + 1))), expect=MISMATCH)
    file.add("tampered", "the body's beginning moved into a header",
             headers(good, **{"X-Event-Type": 'onchain.activity.detected.{"a"'}), JSON[4:], CONTENT)
    file.add("stale", "a second beyond the tolerance", headers(good), expect=OLD, now_unix=NOW + 301)
    file.add("stale", "a second too far ahead", headers(good), expect=FUTURE, now_unix=NOW - 301)
    file.add("wrong secret", "somebody else's", headers(good), expect=MISMATCH, secret=OTHER)
    file.add("malformed", "no header", AS_JSON, expect=MISSING)
    file.add("malformed", "no time", headers(f"v0={v0()}"), expect="invalid:missing_timestamp")
    file.add("malformed", "a signed header that is not there", {**AS_JSON, "X-Hook0-Signature": good}, expect=HEADER)
    file.add("malformed", "no names", headers(f"t={NOW},v1={v1()}"), expect=SHAPELESS)
    file.add("malformed", "names twice", headers(good + f",h={names}"), expect=SHAPELESS)
    file.add("malformed", "neither version", headers(f"t={NOW},v2={v0()}"), expect="invalid:no_supported_scheme")
    file.add("malformed", "no hex", headers(f"t={NOW},v0={'x' * 64}"), expect=SHAPELESS)
    file.add("malformed", "signatures without end", headers(f"t={NOW}" + f",v0={v0()}" * 17), expect="invalid:too_many_candidates")
    file.add("rotation", "the second secret matches", headers(good), secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", headers(good), expect=MISMATCH, secret=[OTHER, OTHER + "2"])
    file.write()


def hubspot():
    file = File("hubspot", URL)
    body = b'[{"eventId":1,"subscriptionType":"contact.creation"}]'
    time = str(NOW * 1000)
    v3 = lambda body=body, at=time, url=URL, method="POST", key=SECRET: b64(mac(key.encode(), f"{method}{url}".encode() + body + at.encode()))
    headers = lambda value, at=time: {**AS_JSON, "X-HubSpot-Signature-v3": value, "X-HubSpot-Request-Timestamp": at}
    spelled = "https://hooks.example.com/in?u=https%3A%2F%2Fa.example%2Fx&n=%20"
    file.add("valid", "a batch", headers(v3()), body)
    file.add("valid", "the URL decoded before it was signed", headers(v3(url=spelled.replace("%3A", ":").replace("%2F", "/"))), body, url=spelled)
    file.add("valid", "the URL signed as it is", headers(v3(url=spelled)), body, url=spelled)
    file.add("valid", "at the edge of the tolerance", headers(v3()), body, now_unix=NOW + 300)
    file.add("tampered", "a byte added to the body", headers(v3()), body + b" ", MISMATCH)
    file.add("tampered", "another URL", headers(v3(url=URL + "1")), body, MISMATCH)
    file.add("tampered", "another method", headers(v3(method="GET")), body, MISMATCH)
    file.add("tampered", "another time", headers(v3(), str(NOW * 1000 + 1)), body, MISMATCH)
    file.add("tampered", "the body's beginning moved into the query", headers(v3(url=f"{URL}[{{\"a\":", body=b"1}]")), b"1}]",
             CONTENT, url=f'{URL}[{{"a":')
    file.add("stale", "a second beyond the tolerance", headers(v3()), body, OLD, now_unix=NOW + 301)
    file.add("stale", "a second too far ahead", headers(v3()), body, FUTURE, now_unix=NOW - 301)
    file.add("wrong secret", "somebody else's", headers(v3()), body, MISMATCH, OTHER)
    file.add("malformed", "no signature", AS_JSON, body, MISSING)
    file.add("malformed", "no time", {**AS_JSON, "X-HubSpot-Signature-v3": v3()}, body, "invalid:missing_timestamp")
    file.add("malformed", "hex", headers("0" * 64), body, SHAPELESS)
    file.add("malformed", "no URL is configured", headers(v3()), body, NO_URL, url=None)
    file.add("rotation", "the second secret matches", headers(v3()), body, secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", headers(v3()), body, MISMATCH, [OTHER, OTHER + "2"])
    plain = lambda prefix, body=body, key=SECRET: hashlib.sha256(key.encode() + prefix.encode() + body).hexdigest()
    for version, prefix in [("v1", ""), ("v2", f"POST{URL}")]:
        more = {"scheme": version}
        old = lambda value, version=version: {**AS_JSON, "X-HubSpot-Signature": value, "X-HubSpot-Signature-Version": version}
        file.add("valid", f"{version} where it is chosen", old(plain(prefix)), body, **more)
        file.add("tampered", f"{version}, a byte added to the body", old(plain(prefix)), body + b" ", MISMATCH, **more)
        file.add("tampered", f"{version} where it is not chosen", old(plain(prefix)), body, MISSING)
        file.add("tampered", f"{version} under another version", old(plain(prefix), "v3"), body, "invalid:no_supported_scheme", **more)
        file.add("wrong secret", f"{version}, somebody else's", old(plain(prefix)), body, MISMATCH, OTHER, **more)
    file.add("valid", "v1 without a version", {"X-HubSpot-Signature": plain("")}, body, scheme="v1")
    file.add("tampered", "v2 without a version", {"X-HubSpot-Signature": plain(f"POST{URL}")}, body, "invalid:no_supported_scheme", scheme="v2")
    file.add("tampered", "v2, signed for another URL", {"X-HubSpot-Signature": plain(f"POST{URL}1"), "X-HubSpot-Signature-Version": "v2"},
             body, MISMATCH, scheme="v2")
    file.write()


def plivo():
    file = File("plivo", URL, now=None)
    bare, nonce = URL.split("?")[0], "05429567804466091622"
    body = form(("To", "14155550101"), ("From", "14155550100"), ("Digits", "1 2"), ("To", "14155550099"))
    joined = lambda raw: "".join(name + value for name, value in sorted(pairs(raw)))
    v3 = lambda text, nonce=nonce, key=SECRET: b64(mac(key.encode(), f"{text}.{nonce}".encode()))
    headers = lambda value, nonce=nonce, kind=FORM: {**kind, "X-Plivo-Signature-V3": value, "X-Plivo-Signature-V3-Nonce": nonce}
    signed = f"{bare}?a=1&b=2.{joined(body)}"
    good = v3(signed)
    file.add("valid", "a form and a query", headers(good), body)
    file.add("valid", "a form without a query", headers(v3(f"{bare}?{joined(body)}")), body, url=bare)
    file.add("valid", "a query without a form", headers(v3(f"{bare}?a=1&b=2"), kind={}), b"", method="GET")
    file.add("valid", "neither", headers(v3(bare), kind={}), b"", url=bare)
    file.add("valid", "several signatures, of which one is none", headers(f"AAAA,{good}"), body)
    file.add("tampered", "a field added", headers(good), body + b"&Extra=1", MISMATCH)
    file.add("tampered", "a value changed", headers(good), body.replace(b"0101", b"0102"), MISMATCH)
    file.add("tampered", "another query", headers(good), body, MISMATCH, url=URL + "1")
    file.add("tampered", "another nonce", headers(good, "1" + nonce[1:]), body, MISMATCH)
    file.add("tampered", "a dot in the nonce", headers(v3(f"{bare}?a=1&b=2", f"{joined(body)}.{nonce}"), f"{joined(body)}.{nonce}"), b"", HEADER)
    file.add("tampered", "a body that is not a form", headers(v3(f"{bare}?a=1&b=2"), kind=AS_JSON), JSON, "invalid:body_hash_mismatch")
    file.add("wrong secret", "somebody else's", headers(good), body, MISMATCH, OTHER)
    file.add("malformed", "no signature", FORM, body, MISSING)
    file.add("malformed", "no nonce", {**FORM, "X-Plivo-Signature-V3": good}, body, HEADER)
    file.add("malformed", "hex", headers("0" * 64), body, SHAPELESS)
    file.add("malformed", "signatures without end", headers(",".join([good] * 17)), body, "invalid:too_many_candidates")
    file.add("malformed", "no URL is configured", headers(good), body, NO_URL, url=None)
    file.add("rotation", "the second token matches", headers(good), body, secret=[OTHER, SECRET])
    file.add("rotation", "the second signature matches", headers(f"{v3(signed, key=OTHER)},{good}"), body)
    file.add("rotation", "neither token matches", headers(good), body, MISMATCH, [OTHER, OTHER + "2"])
    file.add("valid", "v3 by its name", headers(good), body, scheme="v3")
    v2 = {"X-Plivo-Signature-V2": b64(mac(SECRET.encode(), (bare + nonce).encode())), "X-Plivo-Signature-V2-Nonce": nonce}
    file.add("valid", "v2 where it is chosen, with any body", {**FORM, **v2}, body, scheme="v2")
    file.add("tampered", "v2, another nonce", {**FORM, **v2, "X-Plivo-Signature-V2-Nonce": "1"}, body, MISMATCH, scheme="v2")
    file.add("tampered", "v2 where it is not chosen", {**FORM, **v2}, body, MISSING)
    v1 = {"X-Plivo-Signature": b64(mac(SECRET.encode(), (URL + joined(body)).encode(), "sha1"))}
    file.add("valid", "v1 where it is chosen", {**FORM, **v1}, body, scheme="v1")
    file.add("tampered", "v1, a field added", {**FORM, **v1}, body + b"&Extra=1", MISMATCH, scheme="v1")
    file.write()


def vonage_legacy_sms():
    base = "https://hooks.example.com/sms"
    file = File("vonage-legacy-sms")
    fields = {"msisdn": "447700900001", "text": "a=1&b=2 \u00fc", "type": "text", "timestamp": str(NOW), "empty": "", "messageId": "m-1"}
    joined = lambda fields: "".join(f"&{name}={value.replace('&', '_').replace('=', '_')}" for name, value in sorted(fields.items()))
    sign = lambda fields=fields, key=SECRET, algorithm="sha256": mac(key.encode(), joined(fields).encode(), algorithm).hex()
    query = lambda signature, fields=fields: f"{base}?{urlencode({**fields, 'sig': signature})}"
    get = lambda kind, name, signature, expect="valid", secret=SECRET, fields=fields, **more: file.add(
        kind, name, {}, b"", expect, secret, **{"method": "GET", "url": query(signature, fields), **more})
    good = sign()
    get("valid", "a query", good)
    get("valid", "upper case", good.upper())
    file.add("valid", "a form", FORM, form(*fields.items(), ("sig", good)), url=base)
    file.add("valid", "JSON", AS_JSON, json.dumps({**fields, "sig": good}).encode(), url=base)
    get("valid", "a day later: there is no tolerance", good, now_unix=NOW + 86_400)
    get("valid", "at the edge of a tolerance that is set", good, now_unix=NOW + 300, tolerance_secs=300)
    get("tampered", "a value changed", good, MISMATCH, fields={**fields, "text": "changed"})
    get("tampered", "a parameter added", good, MISMATCH, fields={**fields, "extra": "1"})
    get("tampered", "a value that was two parameters", sign({**fields, "text": "a", "z": "1"}), MISMATCH, fields={**fields, "text": "a&z=1"})
    get("tampered", "a name that was two parameters", good, CONTENT, fields={**fields, "msisdn=447700900001&text": "1"})
    get("tampered", "a parameter twice", good, CONTENT, url=query(good) + "&text=b")
    get("tampered", "two signatures", good, CONTENT, url=query(good) + "&sig=" + good)
    file.add("tampered", "a body beside the query", AS_JSON, JSON, CONTENT, method="GET", url=query(good))
    get("stale", "beyond a tolerance that is set", good, OLD, now_unix=NOW + 301, tolerance_secs=300)
    get("wrong secret", "somebody else's", good, MISMATCH, OTHER)
    get("malformed", "no hex", "x" * 64, SHAPELESS)
    get("malformed", "no signature", "", MISSING)
    untimed = {name: value for name, value in fields.items() if name != "timestamp"}
    get("malformed", "no time", sign(untimed), "invalid:missing_timestamp", fields=untimed)
    file.add("malformed", "JSON that is not flat", AS_JSON, json.dumps({**fields, "sig": good, "more": []}).encode(), CONTENT, url=base)
    get("rotation", "the second secret matches", good, secret=[OTHER, SECRET])
    get("rotation", "neither secret matches", good, MISMATCH, [OTHER, OTHER + "2"])
    md5hash = hashlib.md5(joined(fields).encode() + SECRET.encode()).hexdigest()
    for scheme, signature in [("hmac-md5", sign(algorithm="md5")), ("hmac-sha1", sign(algorithm="sha1")), ("hmac-sha256", good),
                              ("hmac-sha512", sign(algorithm="sha512")), ("md5hash", md5hash)]:
        get("valid", f"{scheme} where it is chosen", signature, scheme=scheme)
        get("tampered", f"{scheme}, a value changed", signature, MISMATCH, fields={**fields, "text": "changed"}, scheme=scheme)
        get("wrong secret", f"{scheme}, somebody else's", signature, MISMATCH, OTHER, scheme=scheme)
        if scheme != "hmac-sha256":
            get("tampered", f"{scheme} where it is not chosen", signature, SHAPELESS)
    file.write()


def dropbox_sign():
    file = File("dropbox-sign", now=None)
    sign = lambda time=str(NOW), kind="signature_request_signed", key=SECRET: mac(key.encode(), f"{time}{kind}".encode()).hex()

    def callback(time=str(NOW), kind="signature_request_signed", signature=None, **more):
        event = {"event_time": time, "event_type": kind, "event_hash": sign(time, kind) if signature is None else signature}
        return json.dumps({"event": event, "signature_request": {"title": "\u00fc"}, **more})

    headers = {"Content-Type": 'multipart/form-data; boundary="----b1"'}
    part = lambda text, name="json": f'------b1\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
    body = lambda text: (part("x", "other") + part(text) + "------b1--\r\n").encode()
    add = lambda kind, name, raw, expect="valid", headers=headers, **more: file.add(kind, name, headers, raw, expect, **more)
    add("valid", "a callback", body(callback()))
    add("valid", "a form of one part", form(("json", callback())), headers=FORM)
    add("valid", "another object: it is not signed", body(callback(signature_request={"title": "changed"})))
    add("valid", "a day later: there is no tolerance", body(callback()), now_unix=NOW + 86_400)
    add("tampered", "another type", body(callback(kind="signature_request_canceled", signature=sign())), MISMATCH)
    add("tampered", "another time", body(callback(time=str(NOW + 1), signature=sign())), MISMATCH)
    add("tampered", "a digit moved from the time to the type",
        body(callback(str(NOW)[:-1], "0signature_request_signed", sign())), "invalid:malformed_timestamp")
    add("tampered", "two fields", (part(callback()) + part(callback()) + "------b1--\r\n").encode(), CONTENT)
    add("tampered", "two events", body(callback().replace('"signature_request"', '"event": {}, "signature_request"', 1)), CONTENT)
    add("wrong secret", "somebody else's", body(callback(signature=sign(key=OTHER))), MISMATCH)
    add("malformed", "no field", (part("x", "other") + "------b1--\r\n").encode(), MISSING)
    add("malformed", "no signature", body(callback(signature="")), MISSING)
    add("malformed", "no hex", body(callback(signature="x" * 64)), SHAPELESS)
    add("malformed", "no JSON", body("{"), CONTENT)
    add("malformed", "a form that does not end", body(callback())[:-10], CONTENT)
    add("malformed", "no boundary", body(callback()), CONTENT, headers={"Content-Type": "multipart/form-data"})
    add("rotation", "the second key matches", body(callback()), secret=[OTHER, SECRET])
    add("rotation", "neither key matches", body(callback()), MISMATCH, secret=[OTHER, OTHER + "2"])
    file.write()


def contentful():
    url = "https://hooks.example.com/content?b=2&a=1%20x"
    file = File("contentful", url)
    names = "content-type,x-contentful-signed-headers,x-contentful-timestamp,x-contentful-topic"
    time = str(NOW * 1000)
    signed = {"content-type": "application/json", "x-contentful-signed-headers": names, "x-contentful-timestamp": time,
              "x-contentful-topic": "ContentManagement.Entry.publish"}
    twice = lambda target: quote(target.split("?")[0] + ("?" + quote(target.split("?")[1], safe="-_.!~*'()") if "?" in target else ""),
                                 safe="-_.!~*'();/?:@&=+$,#")

    def sign(target="/content?b=2&a=1%20x", body=JSON, headers=signed, key=SECRET, method="POST", encode=twice):
        listed = sorted(headers["x-contentful-signed-headers"].split(","))
        lines = ";".join(f"{name}:{headers[name]}" for name in listed)
        return mac(key.encode(), f"{method}\n{encode(target)}\n{lines}\n".encode() + body).hex()

    headers = lambda value=None, **more: {**signed, **{name.replace("_", "-"): text for name, text in more.items()},
                                          "x-contentful-signature": sign() if value is None else value}
    file.add("valid", "the query encoded twice", headers())
    file.add("valid", "the target as it is", headers(sign(encode=lambda target: target)))
    file.add("valid", "no query", headers(sign("/content")), url="https://hooks.example.com/content")
    file.add("valid", "a header that is not signed", headers(x_other="1"))
    file.add("valid", "almost 30 s old", headers(), params={"now_unix_ms": NOW * 1000 + 29_999})
    file.add("tampered", "a byte added to the body", headers(), JSON + b" ", MISMATCH)
    file.add("tampered", "a signed header changed", headers(x_contentful_topic="ContentManagement.Entry.delete"), expect=MISMATCH)
    file.add("tampered", "another query", headers(), expect=MISMATCH, url=url + "1")
    file.add("tampered", "another method", headers(), expect=MISMATCH, method="PUT")
    file.add("tampered", "a header less in the list",
             headers(x_contentful_signed_headers="content-type,x-contentful-signed-headers,x-contentful-timestamp"), expect=MISMATCH)
    only = {**signed, "x-contentful-signed-headers": "content-type,x-contentful-signed-headers"}
    file.add("tampered", "the time not signed", {**only, "x-contentful-signature": sign(headers=only)}, expect=HEADER)
    file.add("stale", "30 s old", headers(), expect=OLD, now_unix=NOW + 30)
    file.add("stale", "30 s ahead of the clock", headers(), expect=FUTURE, now_unix=NOW - 30)
    file.add("wrong secret", "somebody else's", headers(), expect=MISMATCH, secret=OTHER)
    file.add("malformed", "no signature", signed, expect=MISSING)
    file.add("malformed", "a signed header that is not there", {name: text for name, text in headers().items() if "topic" not in name}, expect=HEADER)
    file.add("malformed", "a header named twice", headers(x_contentful_signed_headers=names + ",content-type"), expect=HEADER)
    file.add("malformed", "no time", {name: text for name, text in headers().items() if "timestamp" not in name}, expect="invalid:missing_timestamp")
    file.add("malformed", "half a signature", headers(sign()[:32]), expect=SHAPELESS)
    file.add("malformed", "no URL is configured", headers(), expect=NO_URL, url=None)
    file.add("rotation", "the second secret matches", headers(), secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", headers(), expect=MISMATCH, secret=[OTHER, OTHER + "2"])
    file.write()


def signed_url(provider, header, algorithm, content, encode=b64, url=URL, scheme=None):
    """A MAC over the body and, for some, the URL."""
    file = File(provider, url, now=None)
    sign = lambda body=JSON, url=url, key=SECRET, algorithm=algorithm: encode(mac(key.encode(), content(url, body), algorithm))
    headers = lambda value: {**AS_JSON, header: value}
    file.add("valid", "a body", headers(sign()))
    file.add("valid", "bytes of no text", headers(sign(bytes(range(256)))), bytes(range(256)))
    file.add("valid", "an empty body", headers(sign(b"")), b"")
    file.add("tampered", "a byte added to the body", headers(sign()), JSON + b" ", MISMATCH)
    file.add("tampered", "another hash", headers(sign(algorithm="sha512")), expect=SHAPELESS)
    if url:
        file.add("tampered", "signed for another URL", headers(sign(url=url + "1")), expect=MISMATCH)
        file.add("tampered", "the URL not signed", headers(encode(mac(SECRET.encode(), JSON, algorithm))), expect=MISMATCH)
        file.add("malformed", "no URL is configured", headers(sign()), expect=NO_URL, url=None)
    file.add("wrong secret", "somebody else's", headers(sign()), expect=MISMATCH, secret=OTHER)
    file.add("malformed", "no signature", AS_JSON, expect=MISSING)
    file.add("malformed", "an empty signature", headers(""), expect=MISSING)
    file.add("malformed", "half a signature", headers(sign()[:20]), expect=SHAPELESS)
    file.add("rotation", "the second secret matches", headers(sign()), secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", headers(sign()), expect=MISMATCH, secret=[OTHER, OTHER + "2"])
    if scheme:
        other, name = scheme, "X-Square-Signature"
        old = {**AS_JSON, name: encode(mac(SECRET.encode(), content(url, JSON), "sha1"))}
        file.add("valid", "SHA-1 where it is chosen", old, scheme=other)
        file.add("tampered", "SHA-1, a byte added to the body", old, JSON + b" ", MISMATCH, scheme=other)
        file.add("tampered", "SHA-1 where it is not chosen", old, expect=MISSING)
    file.write()


def write(rsa):
    payload("gitea", "X-Gitea-Signature")
    payload("forgejo", "X-Forgejo-Signature")
    discord()
    mailgun()
    mandrill()
    paddle_classic(declared.FILES.setdefault("paddle", File("paddle")), rsa("paddle"), rsa("another"))
    adyen()
    braintree()
    coinbase_cdp()
    hubspot()
    plivo()
    vonage_legacy_sms()
    dropbox_sign()
    contentful()
    signed_url("square", "x-square-hmacsha256-signature", "sha256", lambda url, body: url.encode() + body, scheme="square-sha1")
    signed_url("trello", "X-Trello-Webhook", "sha1", lambda url, body: body + url.encode())
    signed_url("segment", "X-Signature", "sha1", lambda url, body: body, encode=bytes.hex, url=None)
