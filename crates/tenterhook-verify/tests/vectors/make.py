"""Writes the request vectors of the catalog's providers, one file each.

Signs with Python's standard library and, for Ed25519, the openssl command; RSA is done by hand. So the vectors owe nothing to the
crate that they test. Every secret and key here is made for these files, out of fixed seeds: each run writes the same files. Where a
provider's documentation prints a signed request, that is here too, as `official`, and its signature is not computed but copied.

A vector's name begins with what it is a case of; the suite asks for each of them: `valid`, `tampered`, `stale` (where there is a
time), `wrong secret`, `malformed`, `rotation`. Run it from this folder: python3 make.py
"""

import hashlib
from urllib.parse import parse_qsl

import coded
import singular
import tokens
from common import JSON, MISMATCH, NOW, OTHER, SECRET, SHAPELESS, File, b64, ed25519, mac
from keys import Rsa


def stripe():
    file = File("stripe")
    sign = lambda body=JSON, at=NOW, secret=SECRET: mac(secret.encode(), f"{at}.".encode() + body).hex()
    header = lambda value: {"Content-Type": "application/json", "Stripe-Signature": value}
    good = f"t={NOW},v1={sign()}"
    file.add("valid", "one signature", header(good))
    file.add("valid", "at the edge of the tolerance", header(good), now_unix=NOW + 300)
    file.add("valid", "an older version beside it", header(f"t={NOW},v1={sign()},v0={'6' * 64}"))
    file.add("valid", "the time behind the signature", header(f"v1={sign()},t={NOW}"))
    file.add("valid", "a tolerance of its own", header(good), now_unix=NOW + 600, tolerance_secs=600)
    file.add("valid", "bytes of no text", header(f"t={NOW},v1={sign(bytes(range(256)))}"), body=bytes(range(256)))
    file.add("tampered", "a byte added to the body", header(good), body=JSON + b" ", expect=MISMATCH)
    file.add("tampered", "another time than the signed one", header(f"t={NOW + 1},v1={sign()}"), expect=MISMATCH)
    file.add("tampered", "a version that is not taken", header(f"t={NOW},v0={sign()}"), expect="invalid:no_supported_scheme")
    file.add("stale", "a second beyond the tolerance", header(good), now_unix=NOW + 301, expect="invalid:timestamp_too_old")
    file.add("stale", "a second too far ahead", header(good), now_unix=NOW - 301, expect="invalid:timestamp_in_future")
    file.add("wrong secret", "somebody else's", header(good), secret=OTHER, expect=MISMATCH)
    file.add("wrong secret", "the prefix taken off", header(f"t={NOW},v1={sign(secret='whsec_' + SECRET)}"), expect=MISMATCH)
    file.add("wrong secret", "an empty key", header(f"t={NOW},v1={sign(secret='')}"), expect=MISMATCH)
    file.add("malformed", "a time that is not canonical, as it was signed",
             header(f"t=+{NOW},v1={sign(at=f'+{NOW}')}"), expect="invalid:malformed_timestamp")
    file.add("malformed", "two times", header(f"t={NOW},t={NOW + 1},v1={sign()}"), expect="invalid:malformed_timestamp")
    file.add("malformed", "no time", header(f"v1={sign()}"), expect="invalid:missing_timestamp")
    file.add("malformed", "no header", {}, expect="invalid:missing_signature")
    file.add("malformed", "no list", header(sign()), expect=SHAPELESS)
    file.add("malformed", "half a signature", header(good[:-32]), expect=SHAPELESS)
    file.add("malformed", "seventeen signatures", header(f"t={NOW}" + f",v1={sign()}" * 17), expect="invalid:too_many_candidates")
    file.add("rotation", "the second secret matches", header(good), secret=[OTHER, SECRET])
    file.add("rotation", "the second signature matches", header(f"t={NOW},v1={'0' * 64},v1={sign()}"))
    file.add("rotation", "neither secret matches", header(good), secret=[OTHER, OTHER + "2"], expect=MISMATCH)
    file.write()


def github():
    file = File("github", now=None)
    header = lambda value: {"X-Hub-Signature-256": value, "X-GitHub-Event": "push", "X-GitHub-Delivery": "d-1"}
    sign = lambda body=JSON, secret=SECRET: "sha256=" + mac(secret.encode(), body).hex()
    good, sha1 = sign(), "sha1=" + mac(SECRET.encode(), JSON, "sha1").hex()
    docs = "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"
    file.published(docs, header("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), b"Hello, World!",
                   "It's a Secret to Everybody")
    file.add("valid", "a JSON body", header(good))
    file.add("valid", "an empty body", header(sign(b"")), body=b"")
    file.add("valid", "upper case hex is no signature of GitHub's, but the same bytes", header(good[:7] + good[7:].upper()))
    file.add("valid", "SHA-1 where it is chosen", {"X-Hub-Signature": sha1}, scheme="github-sha1")
    file.add("tampered", "the body written anew", header(good), body=JSON.replace(b":", b": "), expect=MISMATCH)
    file.add("tampered", "SHA-1 alone is not taken", {"X-Hub-Signature": sha1}, expect="invalid:missing_signature")
    file.add("tampered", "a body under SHA-1", {"X-Hub-Signature": sha1}, body=JSON + b" ", scheme="github-sha1", expect=MISMATCH)
    file.add("wrong secret", "somebody else's", header(good), secret=OTHER, expect=MISMATCH)
    file.add("wrong secret", "an empty key", header(sign(secret="")), expect=MISMATCH)
    file.add("malformed", "the last digit cut off", header(good[:-1]), expect=SHAPELESS)
    file.add("malformed", "bytes behind it", header(good + "00"), expect=SHAPELESS)
    file.add("malformed", "without its prefix", header(good[7:]), expect=SHAPELESS)
    file.add("malformed", "the tag of SHA-1 behind the prefix of SHA-256", header("sha256=" + sha1[5:]), expect=SHAPELESS)
    file.add("rotation", "the second secret matches", header(good), secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", header(good), secret=[OTHER, OTHER + "2"], expect=MISMATCH)
    file.write()


def shopify():
    file = File("shopify", now=None)
    sign = lambda body=JSON, secret=SECRET: b64(mac(secret.encode(), body))
    headers = lambda value, prefix="X-Shopify-": {
        f"{prefix}Hmac-Sha256": value, f"{prefix}Topic": "orders/create", f"{prefix}Shop-Domain": "a.myshopify.com",
        f"{prefix}API-Version": "2026-01", f"{prefix}Webhook-Id": "w-1",
    }
    file.add("valid", "the family of names with X-", headers(sign()))
    file.add("valid", "the family of names without X-", headers(sign(), "shopify-"))
    file.add("tampered", "a byte of the body cut off", headers(sign()), body=JSON[:-1], expect=MISMATCH)
    file.add("tampered", "the body written anew", headers(sign()), body=JSON.replace(b",", b", "), expect=MISMATCH)
    file.add("wrong secret", "somebody else's", headers(sign()), secret=OTHER, expect=MISMATCH)
    file.add("wrong secret", "an empty key", headers(sign(secret="")), expect=MISMATCH)
    file.add("malformed", "hex instead of base64", headers(mac(SECRET.encode(), JSON).hex()), expect=SHAPELESS)
    file.add("malformed", "without padding", headers(sign().rstrip("=")), expect=SHAPELESS)
    file.add("malformed", "an empty signature", headers(""), expect="invalid:missing_signature")
    file.add("rotation", "the secret before it, for up to an hour", headers(sign()), secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", headers(sign()), secret=[OTHER, OTHER + "2"], expect=MISMATCH)
    file.write()


def slack():
    file = File("slack")
    body = b"token=x&team_id=T1&command=%2Fweather&text=94070"
    sign = lambda at=NOW, content=body, secret=SECRET: "v0=" + mac(secret.encode(), f"v0:{at}:".encode() + content).hex()
    headers = lambda signature, at=NOW: {
        "Content-Type": "application/x-www-form-urlencoded", "X-Slack-Signature": signature,
        "X-Slack-Request-Timestamp": str(at),
    }
    docs = "https://docs.slack.dev/authentication/verifying-requests-from-slack"
    printed = (b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
               b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
               b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
               b"803a0bc887a14d10d2c447fce8b6703c")
    file.published(docs, headers("v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", 1531420618), printed,
                   "8f742231b10e8888abcd99yyyzzz85a5", now_unix=1531420618)
    file.add("valid", "a form", headers(sign()), body)
    file.add("valid", "JSON", headers(sign(content=JSON)))
    file.add("valid", "at the edge of the tolerance", headers(sign()), body, now_unix=NOW + 300)
    file.add("tampered", "a byte added to the body", headers(sign()), body + b"0", MISMATCH)
    file.add("tampered", "another time than the signed one", headers(sign(), NOW + 1), body, MISMATCH)
    file.add("stale", "a second beyond the tolerance", headers(sign()), body, "invalid:timestamp_too_old", now_unix=NOW + 301)
    file.add("stale", "a second too far ahead", headers(sign()), body, "invalid:timestamp_in_future", now_unix=NOW - 301)
    file.add("wrong secret", "somebody else's", headers(sign()), body, MISMATCH, OTHER)
    file.add("wrong secret", "an empty key", headers(sign(secret="")), body, MISMATCH)
    file.add("malformed", "no time", {"X-Slack-Signature": sign()}, body, "invalid:missing_timestamp")
    file.add("malformed", "a time with a fraction, as it was signed", headers(sign(f"{NOW}.0"), f"{NOW}.0"), body,
             "invalid:malformed_timestamp")
    file.add("malformed", "without its prefix", headers(sign()[3:]), body, SHAPELESS)
    file.add("malformed", "half a signature", headers(sign()[:35]), body, SHAPELESS)
    file.add("rotation", "the second secret matches", headers(sign()), body, secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", headers(sign()), body, MISMATCH, [OTHER, OTHER + "2"])
    file.write()


def standard(provider, names, published):
    file = File(provider)
    raw = hashlib.sha256(provider.encode()).digest()
    text = lambda key: "whsec_" + b64(key)
    secret, other = text(raw), text(hashlib.sha256(b"other").digest())
    content = lambda at, ident, body: f"{ident}.{at}.".encode() + body
    sign = lambda at=NOW, ident="msg_1", body=JSON, key=raw: "v1," + b64(mac(key, content(at, ident, body)))
    headers = lambda signature, at=NOW, ident="msg_1", names=names: dict(zip(names, (ident, str(at), signature)))
    for where, ident, at, key, body, signature in published:
        file.published(where, headers(signature, at, ident), body, key, now_unix=at)
    add = lambda kind, name, *arguments, **more: file.add(kind, name, *arguments, **{"secret": secret, **more})
    add("valid", "one signature", headers(sign()))
    add("valid", "the secret without its prefix", headers(sign()), secret=secret[6:])
    add("valid", "signatures of other keys and versions before it", headers(f"v1,{'A' * 43}= v2,xyz v1a,xyz {sign()}"))
    add("valid", "at the edge of the tolerance", headers(sign()), now_unix=NOW + 300)
    if provider == "svix":
        add("valid", "under the names of Standard Webhooks",
            headers(sign(), names=("webhook-id", "webhook-timestamp", "webhook-signature")))
    add("tampered", "a byte added to the body", headers(sign()), JSON + b" ", MISMATCH)
    add("tampered", "another id than the signed one", headers(sign(), ident="msg_2"), expect=MISMATCH)
    add("tampered", "another time than the signed one", headers(sign(), at=NOW + 1), expect=MISMATCH)
    add("tampered", "the dot between id and time moved", headers(sign(ident="msg_1.17", at=f"{NOW}"[2:]), at=f"{NOW}"),
        expect=MISMATCH)
    add("stale", "a second beyond the tolerance", headers(sign()), now_unix=NOW + 301, expect="invalid:timestamp_too_old")
    add("stale", "a second too far ahead", headers(sign()), now_unix=NOW - 301, expect="invalid:timestamp_in_future")
    add("wrong secret", "somebody else's", headers(sign()), secret=other, expect=MISMATCH)
    add("wrong secret", "its text taken for the key", headers(sign(key=secret.encode())), expect=MISMATCH)
    add("wrong secret", "an empty key", headers(sign(key=b"")), expect=MISMATCH)
    add("malformed", "a negative time that is signed", headers(sign(at=-1), at=-1), now_unix=0, expect="invalid:malformed_timestamp")
    add("malformed", "no id", dict(list(headers(sign()).items())[1:]), expect="invalid:missing_header")
    add("malformed", "no version", headers(sign()[3:]), expect=SHAPELESS)
    add("malformed", "half a signature", headers(sign()[:27]), expect=SHAPELESS)
    add("rotation", "the second secret matches", headers(sign()), secret=[other, secret])
    add("rotation", "the second signature matches", headers(f"{sign(key=b'former')} {sign()}"))
    add("rotation", "neither secret matches", headers(sign()), secret=[other, text(b"a third")], expect=MISMATCH)

    public, signature = ed25519(hashlib.sha256(b"ed25519").digest(), content(NOW, "msg_1", JSON))
    stranger, _ = ed25519(hashlib.sha256(b"another").digest(), b"anything")
    whpk, v1a = "whpk_" + b64(public), "v1a," + b64(signature)
    more = {"secret": whpk, "scheme": f"{provider}-asymmetric",
            "source": "signed with openssl pkeyutl (Ed25519) by the specification"}
    forged = b64(mac(public, content(NOW, "msg_1", JSON)))
    add("valid", "asymmetric", headers(v1a), **more)
    add("valid", "asymmetric, beside a MAC", headers(f"{sign()} {v1a}"), **more)
    add("tampered", "asymmetric, a byte added to the body", headers(v1a), JSON + b" ", MISMATCH, **more)
    add("tampered", "asymmetric, a MAC keyed with the public key", headers("v1," + forged),
        expect="invalid:no_supported_scheme", **more)
    add("tampered", "asymmetric, such a MAC under the other name", headers("v1a," + forged), expect=SHAPELESS, **more)
    add("tampered", "an asymmetric signature where a MAC is asked for", headers(v1a), expect="invalid:no_supported_scheme")
    add("stale", "asymmetric", headers(v1a), now_unix=NOW + 301, expect="invalid:timestamp_too_old", **more)
    add("wrong secret", "asymmetric, somebody else's key", headers(v1a), expect=MISMATCH,
        **{**more, "secret": "whpk_" + b64(stranger)})
    add("rotation", "asymmetric, the second key matches", headers(v1a), **{**more, "secret": ["whpk_" + b64(stranger), whpk]})
    file.write()


def twilio():
    url = "https://hooks.example.com/twilio?foo=1&bar=2"
    file = File("twilio", url, now=None)
    body = b"MessageSid=SM1&To=%2B15558675310&Body=Hi+there%21+%C3%BC%26&MessageStatus=sent&Empty="
    pairs = lambda raw: sorted(set(parse_qsl(raw.decode(), keep_blank_values=True)))
    form = lambda raw: "".join(name + value for name, value in pairs(raw))
    sign = lambda target, raw, key=SECRET: b64(mac(key.encode(), (target + form(raw)).encode(), "sha1"))
    headers = lambda signature: {
        "Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature,
    }
    file.published("https://www.twilio.com/docs/usage/security", headers("RSOYDt4T1cUTdK1PDd93/VVr8B8="),
                   b"Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE", "12345",
                   url="https://mycompany.com/myapp.php?foo=1&bar=2")
    ported = url.replace(".com/", ".com:443/")
    file.add("valid", "a form", headers(sign(url, body)), body)
    file.add("valid", "its parameters in another order", headers(sign(url, body)), b"&".join(reversed(body.split(b"&"))))
    file.add("valid", "signed with the default port", headers(sign(ported, body)), body)
    file.add("valid", "signed without the port that is configured", headers(sign(url, body)), body, url=ported)
    file.add("valid", "the same parameter twice", headers(sign(url, body + b"&To=%2B15558675310")), body + b"&To=%2B15558675310")
    several = b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234"
    file.add("valid", "several values of one parameter", headers(sign(url, several)), several)
    file.add("valid", "an empty form", headers(sign(url, b"")), b"")
    file.add("tampered", "a parameter added", headers(sign(url, body)), body + b"&Extra=1", MISMATCH)
    file.add("tampered", "a value changed", headers(sign(url, body)), body.replace(b"sent", b"read"), MISMATCH)
    file.add("tampered", "signed for another URL", headers(sign("https://evil.example.com/", body)), body, MISMATCH)
    file.add("tampered", "signed for another port", headers(sign(url.replace(".com/", ".com:8443/"), body)), body, MISMATCH)
    file.add("wrong secret", "another account's", headers(sign(url, body)), body, MISMATCH, OTHER)
    file.add("wrong secret", "an empty key", headers(sign(url, body, "")), body, MISMATCH)
    file.add("malformed", "hex instead of base64",
             headers(mac(SECRET.encode(), (url + form(body)).encode(), "sha1").hex() + "!"), body, SHAPELESS)
    file.add("malformed", "no signature", {"Content-Type": "application/x-www-form-urlencoded"}, body, "invalid:missing_signature")
    file.add("malformed", "no URL is configured", headers(sign(url, body)), body, "invalid:missing_url", url=None)
    file.add("malformed", "parameters without end", headers(sign(url, body)), b"a=1&" * 1001, "invalid:malformed_content")
    file.add("rotation", "the second token matches", headers(sign(url, body)), body, secret=[OTHER, SECRET])
    file.add("rotation", "neither token matches", headers(sign(url, body)), body, MISMATCH, [OTHER, OTHER + "2"])
    hashed = f"{url}&bodySHA256={hashlib.sha256(JSON).hexdigest()}"
    as_json = {"Content-Type": "application/json", "X-Twilio-Signature": b64(mac(SECRET.encode(), hashed.encode(), "sha1"))}
    as_form = {**as_json, "Content-Type": "application/x-www-form-urlencoded"}
    unhashed = {**as_json, "X-Twilio-Signature": sign(url, b"")}
    file.add("valid", "JSON, by its hash in the URL", as_json, url=hashed)
    file.add("tampered", "JSON with another body", as_json, JSON + b" ", "invalid:body_hash_mismatch", url=hashed)
    file.add("tampered", "JSON with another body, called a form", as_form, b"a=1", "invalid:body_hash_mismatch", url=hashed)
    file.add("tampered", "JSON that no hash covers", unhashed, expect="invalid:body_hash_mismatch")
    file.write()


def wise():
    file = File("wise", now=None)
    ours, stranger = Rsa("wise"), Rsa("another")
    headers = lambda value: {"Content-Type": "application/json", "X-Signature-SHA256": value, "X-Delivery-Id": "d-1"}
    good, legacy, public = b64(ours.sign(JSON)), b64(ours.sign(JSON, "sha1")), ours.pem()
    more = {"source": "RSA PKCS#1 v1.5 by RFC 8017 in Python's integers, by the provider's documentation"}

    def add(kind, name, headers, body=JSON, expect="valid", keys=public):
        key = {"secret": keys} if isinstance(keys, list) else {"secret": None, "public_key_pem": keys}
        file.add(kind, name, headers, body, expect, **key, **more)

    add("valid", "a signature of the key as PEM", headers(good))
    add("valid", "the key with its line breaks spelled out", headers(good), keys=public.replace("\n", "\\n"))
    add("valid", "the key as one line of base64", headers(good), keys="".join(public.split("-----")[2].split()))
    add("tampered", "a byte added to the body", headers(good), JSON + b" ", MISMATCH)
    add("tampered", "SHA-1 under the new name", headers(legacy), expect=MISMATCH)
    add("tampered", "the old header alone", {"X-Signature": legacy}, expect="invalid:missing_signature")
    add("tampered", "no name of the hash in the padding", headers(b64(ours.sign(JSON, prefixed=False))), expect=MISMATCH)
    add("tampered", "a MAC keyed with the public key", headers(b64(mac(public.encode(), JSON))), expect=MISMATCH)
    add("wrong secret", "signed with another key", headers(b64(stranger.sign(JSON))), expect=MISMATCH)
    add("wrong secret", "a key that is none", headers(good), expect="invalid:unusable_secret",
        keys="-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\n")
    add("malformed", "hex instead of base64", headers(ours.sign(JSON).hex() + "f"), expect=SHAPELESS)
    add("malformed", "half a signature", headers(b64(ours.sign(JSON)[:128])), expect=MISMATCH)
    add("malformed", "an empty signature", headers(""), expect="invalid:missing_signature")
    add("rotation", "the second key matches", headers(good), keys=[stranger.pem(), public])
    add("rotation", "neither key matches", headers(good), expect=MISMATCH, keys=[stranger.pem(), Rsa("third").pem()])
    file.write()


SVIX_DOCS = "https://docs.svix.com/receiving/verifying-payloads/how-manual"

stripe()
github()
shopify()
slack()
standard("svix", ("svix-id", "svix-timestamp", "svix-signature"), [
    (SVIX_DOCS, "msg_loFOjxBNrRLzqYUf", 1731705121, "whsec_plJ3nmyCDGBKInavdOK15jsl",
     b'{"event_type":"ping","data":{"success":true}}', "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="),
    (f"{SVIX_DOCS}, an earlier version", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
     b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
])
standard("standard-webhooks", ("webhook-id", "webhook-timestamp", "webhook-signature"), [])
twilio()
wise()
coded.write(Rsa)
singular.write()
tokens.write()
