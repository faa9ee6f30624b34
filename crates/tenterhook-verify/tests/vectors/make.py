"""Writes the request vectors of the catalog's providers, one file each.

Signs with the standard library and the openssl command only, so that the vectors owe nothing to the crate that they test.
Every secret and key here is made for these files. Run it from this folder: python3 make.py
"""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import tempfile
from urllib.parse import parse_qsl

NOW = 1_790_000_000
JSON = b'{"id":"evt_1","type":"invoice.paid","data":{"name":"J\xc3\xbcrgen \\u001b"}}'
SECRET = "a-secret-for-these-vectors-0123456789"
OTHER = "another-secret-for-these-vectors-012345"
SPEC = "computed from the provider's documentation with Python's hmac and hashlib"


def mac(key, content, algorithm="sha256"):
    return hmac.new(key, content, algorithm).digest()


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


class File:
    def __init__(self, provider, url=None):
        self.provider, self.url, self.vectors = provider, url, []

    def add(self, name, headers, body=JSON, expect="valid", secret=SECRET, now=NOW, **more):
        self.vectors.append({
            "provider": self.provider, "name": name, "origin": "spec-derived", "source": SPEC, "method": "POST",
            "url": self.url, "headers": headers, "body_b64": base64.b64encode(body).decode(),
            **({"secrets": secret} if isinstance(secret, list) else {"secret": secret}),
            "now_unix": now, "expect": expect, **more,
        })

    def write(self):
        with open(f"{self.provider}.json", "w", encoding="utf-8") as file:
            json.dump(self.vectors, file, indent=1, ensure_ascii=False)
            file.write("\n")


def stripe():
    file = File("stripe")
    sign = lambda body=JSON, at=NOW, secret=SECRET: mac(secret.encode(), f"{at}.".encode() + body).hex()
    header = lambda value: {"Content-Type": "application/json", "Stripe-Signature": value}
    good = f"t={NOW},v1={sign()}"
    file.add("valid", header(good))
    file.add("at the edge of the tolerance", header(good), now=NOW + 300)
    file.add("a second beyond it", header(good), now=NOW + 301, expect="invalid:timestamp_too_old")
    file.add("a byte of the body changed", header(good), body=JSON + b" ", expect="invalid:signature_mismatch")
    file.add("another secret", header(good), secret=OTHER, expect="invalid:signature_mismatch")
    file.add("rotation: the second secret matches", header(good), secret=[OTHER, SECRET])
    file.add("rotation: the second signature matches", header(f"t={NOW},v1={'0' * 64},v1={sign()}"))
    file.add("only an unknown version", header(f"t={NOW},v0={sign()}"), expect="invalid:no_supported_scheme")
    file.add("signed with a time that is not canonical", header(f"t=+{NOW},v1={sign(at=f'+{NOW}')}"),
             expect="invalid:malformed_timestamp")
    file.add("no time", header(f"v1={sign()}"), expect="invalid:missing_timestamp")
    file.add("no header", {}, expect="invalid:missing_signature")
    file.add("signed with an empty key", header(f"t={NOW},v1={sign(secret='')}"), expect="invalid:signature_mismatch")
    file.write()


def github():
    file = File("github")
    header = lambda value: {"X-Hub-Signature-256": value, "X-GitHub-Event": "push", "X-GitHub-Delivery": "d-1"}
    good = "sha256=" + mac(SECRET.encode(), JSON).hex()
    file.add("valid", header(good), now=None)
    file.add("an empty body", header("sha256=" + mac(SECRET.encode(), b"").hex()), body=b"", now=None)
    file.add("upper case hex is no signature of GitHub's, but the same bytes", header(good[:7] + good[7:].upper()),
             now=None)
    file.add("the last digit cut off", header(good[:-1]), now=None, expect="invalid:malformed_signature")
    file.add("bytes behind it", header(good + "00"), now=None, expect="invalid:malformed_signature")
    file.add("without its prefix", header(good[7:]), now=None, expect="invalid:malformed_signature")
    file.add("the body written anew", header(good), body=JSON.replace(b":", b": "), now=None,
             expect="invalid:signature_mismatch")
    file.add("SHA-1 alone is not taken", {"X-Hub-Signature": "sha1=" + mac(SECRET.encode(), JSON, "sha1").hex()},
             now=None, expect="invalid:missing_signature")
    file.add("SHA-1 where it is chosen", {"X-Hub-Signature": "sha1=" + mac(SECRET.encode(), JSON, "sha1").hex()},
             now=None, scheme="github-sha1")
    file.add("rotation", header(good), secret=[OTHER, SECRET], now=None)
    file.write()


def shopify():
    file = File("shopify")
    good = base64.b64encode(mac(SECRET.encode(), JSON)).decode()
    headers = lambda value, prefix="X-Shopify-": {
        f"{prefix}Hmac-Sha256": value, f"{prefix}Topic": "orders/create", f"{prefix}Shop-Domain": "a.myshopify.com",
        f"{prefix}API-Version": "2026-01", f"{prefix}Webhook-Id": "w-1",
    }
    file.add("valid", headers(good), now=None)
    file.add("the family of names without X-", headers(good, "shopify-"), now=None)
    file.add("hex instead of base64", headers(mac(SECRET.encode(), JSON).hex()), now=None,
             expect="invalid:malformed_signature")
    file.add("a byte of the body changed", headers(good), body=JSON[:-1], now=None, expect="invalid:signature_mismatch")
    file.add("the secret before the rotation", headers(good), secret=[OTHER, SECRET], now=None)
    file.write()


def slack():
    file = File("slack")
    body = b"token=x&team_id=T1&command=%2Fweather&text=94070"
    sign = lambda at=NOW, content=body: "v0=" + mac(SECRET.encode(), f"v0:{at}:".encode() + content).hex()
    headers = lambda signature, at=NOW: {
        "Content-Type": "application/x-www-form-urlencoded", "X-Slack-Signature": signature,
        "X-Slack-Request-Timestamp": str(at),
    }
    file.add("valid form", headers(sign()), body=body)
    file.add("valid JSON", headers(sign(content=JSON)))
    file.add("too old", headers(sign()), body=body, now=NOW + 301, expect="invalid:timestamp_too_old")
    file.add("too far ahead", headers(sign()), body=body, now=NOW - 301, expect="invalid:timestamp_in_future")
    file.add("another time than the signed one", headers(sign(), NOW + 1), body=body,
             expect="invalid:signature_mismatch")
    file.add("no time", {"X-Slack-Signature": sign()}, body=body, expect="invalid:missing_timestamp")
    file.write()


def standard(provider, names):
    file = File(provider)
    raw = hashlib.sha256(provider.encode()).digest()
    secret = "whsec_" + base64.b64encode(raw).decode()
    id_name, time_name, signature_name = names
    content = lambda at, ident, body: f"{ident}.{at}.".encode() + body
    sign = lambda at=NOW, ident="msg_1", body=JSON: "v1," + base64.b64encode(mac(raw, content(at, ident, body))).decode()
    headers = lambda signature, at=NOW, ident="msg_1": {
        id_name: ident, time_name: str(at), signature_name: signature,
    }
    file.add("valid", headers(sign()), secret=secret)
    file.add("the secret without its prefix", headers(sign()), secret=secret[6:])
    file.add("several signatures, the last fits", headers(f"v1,{'A' * 43}= v2,xyz {sign()}"), secret=secret)
    file.add("another id than the signed one", headers(sign(), ident="msg_2"), secret=secret,
             expect="invalid:signature_mismatch")
    file.add("too old", headers(sign()), secret=secret, now=NOW + 301, expect="invalid:timestamp_too_old")
    file.add("too far ahead", headers(sign()), secret=secret, now=NOW - 301, expect="invalid:timestamp_in_future")
    file.add("a negative time that is signed", headers(sign(at=-1), at=-1), secret=secret, now=0,
             expect="invalid:malformed_timestamp")
    file.add("no id", {time_name: str(NOW), signature_name: sign()}, secret=secret, expect="invalid:missing_header")
    with tempfile.TemporaryDirectory() as folder:
        key, message = os.path.join(folder, "key"), os.path.join(folder, "message")
        openssl("genpkey", "-algorithm", "ed25519", "-out", key)
        public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-32:]
        with open(message, "wb") as file_:
            file_.write(content(NOW, "msg_1", JSON))
        signature = openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", message)
    whpk = "whpk_" + base64.b64encode(public).decode()
    v1a = "v1a," + base64.b64encode(signature).decode()
    more = {"secret": whpk, "scheme": f"{provider}-asymmetric",
            "source": "signed with openssl pkeyutl (Ed25519) by the specification"}
    for name, value, expect, body in [
        ("asymmetric: valid", v1a, "valid", JSON),
        ("asymmetric: a byte of the body changed", v1a, "invalid:signature_mismatch", JSON + b" "),
        ("asymmetric: a MAC keyed with the public key is not taken",
         "v1," + base64.b64encode(mac(public, content(NOW, "msg_1", JSON))).decode(), "invalid:no_supported_scheme", JSON),
    ]:
        file.add(name, headers(value), body=body, expect=expect)
        file.vectors[-1].update(more)
    file.write()


def twilio():
    url = "https://hooks.example.com/twilio?foo=1&bar=2"
    file = File("twilio", url)
    body = b"MessageSid=SM1&To=%2B15558675310&Body=Hi+there%21&MessageStatus=sent&Empty="
    form = lambda raw: "".join(name + value for name, value in sorted(set(parse_qsl(raw.decode(), keep_blank_values=True))))
    sign = lambda target, raw: base64.b64encode(mac(SECRET.encode(), (target + form(raw)).encode(), "sha1")).decode()
    headers = lambda signature: {
        "Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature,
    }
    file.add("valid form", headers(sign(url, body)), body=body, now=None)
    file.add("signed with the default port", headers(sign(url.replace(".com/", ".com:443/"), body)), body=body, now=None)
    file.add("the same parameter twice", headers(sign(url, body + b"&To=%2B15558675310")),
             body=body + b"&To=%2B15558675310", now=None)
    file.add("a parameter added", headers(sign(url, body)), body=body + b"&Extra=1", now=None,
             expect="invalid:signature_mismatch")
    file.add("signed for another URL", headers(sign("https://evil.example.com/", body)), body=body, now=None,
             expect="invalid:signature_mismatch")
    digest = hashlib.sha256(JSON).hexdigest()
    file.url = f"{url}&bodySHA256={digest}"
    signature = base64.b64encode(mac(SECRET.encode(), file.url.encode(), "sha1")).decode()
    as_json = {"Content-Type": "application/json", "X-Twilio-Signature": signature}
    file.add("valid JSON", as_json, now=None)
    file.add("JSON with another body", as_json, body=JSON + b" ", now=None, expect="invalid:body_hash_mismatch")
    file.write()


def wise():
    file = File("wise")
    with tempfile.TemporaryDirectory() as folder:
        key = os.path.join(folder, "key")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
        public = openssl("pkey", "-in", key, "-pubout").decode()
        signature = base64.b64encode(openssl("dgst", "-sha256", "-sign", key, stdin=JSON)).decode()
        legacy = base64.b64encode(openssl("dgst", "-sha1", "-sign", key, stdin=JSON)).decode()
    headers = lambda value: {"Content-Type": "application/json", "X-Signature-SHA256": value, "X-Delivery-Id": "d-1"}
    more = {"secret": None, "public_key_pem": public, "now": None}
    file.add("valid", headers(signature), **more)
    file.add("a byte of the body changed", headers(signature), body=JSON + b" ", expect="invalid:signature_mismatch", **more)
    file.add("SHA-1 under the new name", headers(legacy), expect="invalid:signature_mismatch", **more)
    file.add("the old header alone", {"X-Signature": legacy}, expect="invalid:missing_signature", **more)
    for vector in file.vectors:
        vector["source"] = "signed with openssl dgst (RSA, PKCS#1 v1.5) by the documentation"
    file.write()


stripe()
github()
shopify()
slack()
standard("svix", ("svix-id", "svix-timestamp", "svix-signature"))
standard("standard-webhooks", ("webhook-id", "webhook-timestamp", "webhook-signature"))
twilio()
wise()
