"""Vectors of what is one provider's own: several keys, keys of the public sort, tokens in a batch or a URL, nothing at all."""

import hashlib

import declared
import tokens
from common import JSON, MISMATCH, NOW, OTHER, SECRET, SHAPELESS, File, b64, ed25519, mac
from declared import WAYS

TOKEN_MISMATCH, MISSING = "invalid:token_mismatch", "invalid:missing_signature"


def klarna():
    file = File("klarna", "https://shop.example.com/klarna/push?order=1&token=" + SECRET, now=None)
    file.add("valid", "the token of the registered URL", {"Content-Type": "application/json"})
    file.add("wrong secret", "somebody else's", {}, expect="invalid:token_mismatch", secret=OTHER)
    file.add("malformed", "no token", {}, expect="invalid:missing_signature", url="https://shop.example.com/klarna/push?order=1")
    file.add("malformed", "the token in a header", {"Authorization": "Bearer " + SECRET}, expect="invalid:missing_signature",
             url="https://shop.example.com/klarna/push")
    file.add("rotation", "the second secret matches", {}, secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", {}, expect="invalid:token_mismatch", secret=[OTHER, OTHER + "2"])
    file.write()


def microsoft_graph():
    file = File("microsoft-graph", now=None)
    item = lambda state: '{"id":"n-1","changeType":"created"%s}' % ("" if state is None else f',"clientState":"{state}"')
    batch = lambda *states: ('{"value":[%s]}' % ",".join(map(item, states))).encode()
    headers = {"Content-Type": "application/json"}
    file.add("valid", "one notification", headers, batch(SECRET))
    file.add("valid", "several notifications", headers, batch(SECRET, SECRET, SECRET))
    file.add("wrong secret", "somebody else's", headers, batch(OTHER), TOKEN_MISMATCH)
    file.add("wrong secret", "somebody else's behind a good one", headers, batch(SECRET, OTHER), TOKEN_MISMATCH)
    outside = b'{"clientState":"%s","value":[%s]}' % (SECRET.encode(), item(OTHER).encode())
    file.add("wrong secret", "a good one outside the list", headers, outside, TOKEN_MISMATCH)
    twice = b'{"value":[%s],"value":[%s]}' % (item(SECRET).encode(), item(OTHER).encode())
    file.add("wrong secret", "two lists, of which the last counts", headers, twice, TOKEN_MISMATCH)
    file.add("malformed", "a notification without a state", headers, batch(SECRET, None), MISSING)
    file.add("malformed", "a state that is no text", headers, b'{"value":[{"clientState":["%s"]}]}' % SECRET.encode(), MISSING)
    file.add("malformed", "no notification", headers, batch(), MISSING)
    file.add("malformed", "no JSON", headers, batch(SECRET)[:-1], MISSING)
    file.add("malformed", "seventeen different states", headers, batch(*range(17)), "invalid:too_many_candidates")
    file.add("rotation", "either secret, item by item", headers, batch(SECRET, OTHER), secret=[OTHER, SECRET])
    file.add("rotation", "neither secret matches", headers, batch(SECRET), TOKEN_MISMATCH, [OTHER, OTHER + "2"])
    file.write()


def cloudevents(file):
    url = lambda token: f"https://hooks.example.com/events?access_token={token}&a=1"
    file.add("valid", "the token in the query", {}, url=url(SECRET))
    file.add("wrong secret", "somebody else's in the query", {}, expect=TOKEN_MISMATCH, url=url(OTHER))
    shown = {"Authorization": "Bearer " + OTHER}
    file.add("wrong secret", "a good one in the query behind another in the header", shown, expect=TOKEN_MISMATCH, url=url(SECRET))


def box(file):
    primary = WAYS["box"]
    good = primary.request(JSON)
    second = primary.sign(JSON, primary.text(NOW), key=OTHER.encode())
    both = {**good, "BOX-SIGNATURE-SECONDARY": second}
    crossed = {**good, primary.header: second, "BOX-SIGNATURE-SECONDARY": good[primary.header]}
    alone = {name: value for name, value in both.items() if name != primary.header}
    roles = {"params": {"secret_roles": ["primary", "secondary"]}}
    file.add("rotation", "both keys", both, secret=[SECRET, OTHER], **roles)
    file.add("rotation", "the primary key alone is right", both, secret=[SECRET, "a" * 32], **roles)
    file.add("rotation", "the secondary key alone is right", both, secret=["a" * 32, OTHER], **roles)
    file.add("rotation", "the secondary header alone", alone, secret=[SECRET, OTHER], **roles)
    file.add("rotation", "each key in the other's header", crossed, expect=MISMATCH, secret=[SECRET, OTHER], **roles)


def websub(file):
    way = WAYS["websub"]
    for algorithm in ("sha1", "sha384", "sha512"):
        tag = f"{algorithm}=" + mac(SECRET.encode(), JSON, algorithm).hex()
        file.add("valid", f"the hub chooses {algorithm}", {way.header: tag}, now_unix=None)
        file.add("tampered", f"a byte added to the body under {algorithm}", {way.header: tag}, JSON + b" ", MISMATCH, now_unix=None)
    md5 = "md5=" + mac(SECRET.encode(), JSON, "md5").hex()
    file.add("malformed", "the hub chooses md5", {way.header: md5}, expect=SHAPELESS, now_unix=None)
    other = "sha512=" + mac(SECRET.encode(), JSON, "sha1").hex()
    file.add("malformed", "a tag of sha1 that is called sha512", {way.header: other}, expect=SHAPELESS, now_unix=None)


def sentry(file):
    way = WAYS["sentry"]
    file.add("valid", "under the name of alert actions", {"Sentry-App-Signature": way.sign(JSON)}, now_unix=None)


def twitch(file):
    good = WAYS["twitch"].request(JSON)
    time = good["Twitch-Eventsub-Message-Timestamp"]
    moved = {**good, "Twitch-Eventsub-Message-Id": "m-1" + time[0], "Twitch-Eventsub-Message-Timestamp": time[1:]}
    file.add("malformed", "the border between id and time moved", moved, expect="invalid:malformed_timestamp")


def persona(file):
    way = WAYS["persona"]
    good, former = (way.request(JSON, at, key=key)[way.header] for at, key in ((NOW, None), (NOW - 1, b"former")))
    file.add("rotation", "the second group matches, with a time of its own", {way.header: f"{former} {good}"})
    crossed = good.split(",")[0] + "," + former.split(",")[1] + " " + former.split(",")[0] + "," + good.split(",")[1]
    file.add("tampered", "the signature of one group behind the time of the other", {way.header: crossed}, expect=MISMATCH)


def docusign(file):
    way = WAYS["docusign"]
    both = {way.header: way.sign(JSON, key=b"former"), "X-DocuSign-Signature-2": way.sign(JSON)}
    file.add("rotation", "a further numbered header matches", both, now_unix=None)


def sanity(file):
    way = WAYS["sanity"]
    good = way.request(JSON)[way.header]
    file.add("valid", "a blank behind the comma", {way.header: good.replace(",", ", ")})
    seconds = way.request(JSON, text=str(NOW))
    file.add("malformed", "the time in seconds, as it was signed", seconds, expect="invalid:timestamp_too_old")


def telnyx():
    file = File("telnyx")
    content = lambda at, body: f"{at}|".encode() + body
    public, signature = ed25519(hashlib.sha256(b"telnyx").digest(), content(NOW, JSON))
    stranger, _ = ed25519(hashlib.sha256(b"another telnyx").digest(), b"anything")
    headers = lambda value, at=NOW: {"telnyx-signature-ed25519": value, "telnyx-timestamp": str(at)}
    good, source = b64(signature), "signed with openssl pkeyutl (Ed25519) by the provider's documentation"
    add = lambda kind, name, headers, body=JSON, expect="valid", secret=b64(public), **more: file.add(
        kind, name, headers, body, expect, secret, source=source, **more)
    add("valid", "as documented", headers(good))
    add("valid", "at the edge of the tolerance", headers(good), now_unix=NOW + 300)
    add("tampered", "a byte added to the body", headers(good), JSON + b" ", MISMATCH)
    add("tampered", "another time than the signed one", headers(good, NOW + 1), expect=MISMATCH)
    add("tampered", "a MAC keyed with the public key", headers(b64(mac(public, content(NOW, JSON)))), expect=SHAPELESS)
    add("stale", "a second beyond the tolerance", headers(good), now_unix=NOW + 301, expect="invalid:timestamp_too_old")
    add("stale", "a second too far ahead", headers(good), now_unix=NOW - 301, expect="invalid:timestamp_in_future")
    add("wrong secret", "somebody else's key", headers(good), expect=MISMATCH, secret=b64(stranger))
    add("wrong secret", "a key that is none", headers(good), expect="invalid:unusable_secret", secret=b64(public[:31]))
    add("malformed", "no signature", {"telnyx-timestamp": str(NOW)}, expect=MISSING)
    add("malformed", "no time", {"telnyx-signature-ed25519": good}, expect="invalid:missing_timestamp")
    add("malformed", "hex instead of base64", headers(signature.hex()), expect=SHAPELESS)
    add("malformed", "half a signature", headers(good[:44]), expect=SHAPELESS)
    add("rotation", "the second key matches", headers(good), secret=[b64(stranger), b64(public)])
    add("rotation", "neither key matches", headers(good), expect=MISMATCH, secret=[b64(stranger)] * 2)
    file.write()


class P256:
    """ECDSA over NIST P-256 with the nonce of RFC 6979, by hand."""

    PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
    ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    BASE = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
            0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)

    def __init__(self, seed):
        self.private = int.from_bytes(hashlib.sha256(seed).digest(), "big") % self.ORDER

    def times(self, number, point):
        total = None
        while number:
            if number & 1:
                total = self.plus(total, point)
            point, number = self.plus(point, point), number >> 1
        return total

    def plus(self, one, other):
        if one is None or other is None:
            return one or other
        if one[0] == other[0]:
            if one[1] != other[1]:
                return None
            slope = (3 * one[0] ** 2 - 3) * pow(2 * one[1], -1, self.PRIME)
        else:
            slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, self.PRIME)
        x = (slope * slope - one[0] - other[0]) % self.PRIME
        return x, (slope * (one[0] - x) - one[1]) % self.PRIME

    def nonce(self, digest):
        """The first candidate of RFC 6979, 3.2, which is below the order for each message of this file."""
        seed = self.private.to_bytes(32, "big") + (int.from_bytes(digest, "big") % self.ORDER).to_bytes(32, "big")
        key, value = bytes(32), b"\x01" * 32
        for mark in (b"\x00", b"\x01"):
            key = mac(key, value + mark + seed)
            value = mac(key, value)
        return int.from_bytes(mac(key, value), "big")

    def sign(self, message):
        digest = hashlib.sha256(message).digest()
        nonce = self.nonce(digest)
        r = self.times(nonce, self.BASE)[0] % self.ORDER
        s = pow(nonce, -1, self.ORDER) * (int.from_bytes(digest, "big") + r * self.private) % self.ORDER
        integer = lambda number: (lambda data: bytes([2, len(data)]) + data)(number.to_bytes(number.bit_length() // 8 + 1, "big"))
        both = integer(r) + integer(s)
        return bytes([0x30, len(both)]) + both

    def public(self):
        """SubjectPublicKeyInfo, DER."""
        x, y = self.times(self.private, self.BASE)
        head = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
        return head + b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def sendgrid():
    file = File("sendgrid")
    body = b'[{"email":"a@example.com","event":"delivered","sg_event_id":"e-1"}]\r\n'
    ours, stranger = P256(b"sendgrid"), P256(b"another sendgrid")
    name = "X-Twilio-Email-Event-Webhook-"
    headers = lambda value, at=NOW: {f"{name}Signature": value, f"{name}Timestamp": str(at)}
    signed = ours.sign(str(NOW).encode() + body)
    good, public, day = b64(signed), b64(ours.public()), 86_400
    source = "ECDSA P-256 with the nonce of RFC 6979 in Python's integers, by the provider's documentation"
    add = lambda kind, name, headers, body=body, expect="valid", secret=public, **more: file.add(
        kind, name, headers, body, expect, secret, source=source, **more)
    lines = "\n".join(public[at:at + 64] for at in range(0, len(public), 64))
    add("valid", "the key as SendGrid shows it", headers(good))
    add("valid", "the key as PEM", headers(good), secret=f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n")
    add("valid", "at the edge of the tolerance", headers(good), now_unix=NOW + day)
    add("tampered", "without its last line break", headers(good), body[:-2], MISMATCH)
    add("tampered", "another time than the signed one", headers(good, NOW + 1), expect=MISMATCH)
    add("tampered", "a MAC keyed with the public key", headers(b64(mac(public.encode(), str(NOW).encode() + body))), expect=MISMATCH)
    add("stale", "a second beyond the tolerance", headers(good), now_unix=NOW + day + 1, expect="invalid:timestamp_too_old")
    add("stale", "a second too far ahead", headers(good), now_unix=NOW - day - 1, expect="invalid:timestamp_in_future")
    add("wrong secret", "somebody else's key", headers(good), expect=MISMATCH, secret=b64(stranger.public()))
    add("wrong secret", "a key that is none", headers(good), expect="invalid:unusable_secret", secret=b64(b"no key"))
    add("malformed", "no signature", {f"{name}Timestamp": str(NOW)}, expect=MISSING)
    add("malformed", "no time", {f"{name}Signature": good}, expect="invalid:missing_timestamp")
    add("malformed", "no number for a time", headers(good, "now"), expect="invalid:malformed_timestamp")
    add("malformed", "no base64", headers("!" + good), expect=SHAPELESS)
    add("rotation", "the second key matches", headers(good), secret=[b64(stranger.public()), public])
    add("rotation", "neither key matches", headers(good), expect=MISMATCH, secret=[b64(stranger.public())] * 2)
    file.write()


def nothing(provider):
    """A provider that signs nothing: whatever comes is taken, which is why a config has to ask for it twice."""
    file = File(provider, now=None)
    file.add("valid", "nothing is signed", {"Content-Type": "application/json"}, secret=None)
    file.add("valid", "whatever else it carries", {"X-Signature": "0" * 64}, secret=None)
    file.write()


OWN = {
    "box": box, "cloudevents": cloudevents, "docusign": docusign, "jira": tokens.jira, "persona": persona, "sanity": sanity, "sentry": sentry,
    "twitch": twitch, "websub": websub,
}


def write():
    for provider, file in declared.files().items():
        if provider in OWN:
            OWN[provider](file)
        file.write()
    for write_one in (klarna, microsoft_graph, sendgrid, telnyx):
        write_one()
    for provider in ("datadog", "docker-hub", "zapier"):
        nothing(provider)
