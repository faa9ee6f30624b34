"""Tests of what the rest relies on: signatures against published vectors, placeholders, HPACK, raw requests."""

import base64
import hashlib
import hmac
import json
import unittest

import cases
import curves
import hpack
import http1
import mutations
import named
import notices
import placeholders
import plays
import signer
import tokens


class Signatures(unittest.TestCase):
    """Vectors of the standards, and examples of the providers' documentation."""

    def test_ed25519(self):
        # RFC 8032, section 7.1, test 2.
        seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
        self.assertEqual(curves.ed25519_public(seed).hex(),
                         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        self.assertEqual(curves.ed25519_sign(seed, b"\x72").hex(),
                         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                         "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")

    def test_p256(self):
        # RFC 6979, appendix A.2.5, SHA-256 of "sample".
        secret = bytes.fromhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
        self.assertEqual(curves.p256_public(secret)[1:33].hex(),
                         "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6")
        signature = curves.p256_sign(secret, b"sample").hex()
        self.assertIn("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716", signature)
        self.assertIn("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8", signature)

    def test_standard_webhooks(self):
        # The example of the specification.
        scheme = signer.Hmac("webhook-signature", encoding="base64", prefix="v1,", key="whsec",
                             content=signer.standard_content("webhook-"))
        signing = signer.Signing([("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")], b'{"test": 2432232314}', "",
                                 "1614265330")
        self.assertEqual(scheme.value(signing, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
                         "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")

    def test_slack(self):
        # The example of its documentation.
        scheme = signer.Hmac(prefix="v0=", content=signer.slack_content)
        body = (b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
                b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
                b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmib"
                b"IGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c")
        self.assertEqual(scheme.value(signer.Signing([], body, "", "1531420618"), "8f742231b10e8888abcd99yyyzzz85a5"),
                         "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")

    def test_twilio(self):
        # The example of its documentation.
        content = signer.twilio_content("https://mycompany.com/myapp.php")
        body = (b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212")
        signing = signer.Signing([("Content-Type", "application/x-www-form-urlencoded")], body, "/x?foo=1&bar=2", "")
        scheme = signer.Hmac(alg="sha1", encoding="base64", content=content)
        self.assertEqual(scheme.value(signing, "12345"), "RSOYDt4T1cUTdK1PDd93/VVr8B8=")


class Tokens(unittest.TestCase):
    """What a token is in the end, when words say what is different about it."""

    def setUp(self):
        self.scheme = tokens.Jwt("Authorization", "Bearer ", "HS256", lambda s, now: {
            "exp": now + 60, "hash": hashlib.sha256(s.body).hexdigest()}, None, "hash", "PEM", {"kty": "EC"},
            {"ES256": lambda m: b"stolen", "RS256": lambda m: b"stolen"})
        self.signing = signer.Signing([], b"body", "/", "1700000000")

    def _token(self, words):
        return self.scheme.token(words, self.signing, "secret").split(".")

    def _read(self, segment):
        return json.loads(base64.urlsafe_b64decode(segment + "=="))

    def test_genuine(self):
        # RFC 7515, appendix A.1: the MAC over the two segments as they are written.
        head, claims, signature = self._token("valid")
        mac = hmac.new(b"secret", f"{head}.{claims}".encode(), "sha256").digest()
        self.assertEqual(base64.urlsafe_b64decode(signature + "=="), mac)
        self.assertEqual(self._read(claims), {"exp": 1700000060, "hash": hashlib.sha256(b"body").hexdigest()})

    def test_changed(self):
        head, _, signature = self._token("alg=nOnE")
        self.assertEqual((self._read(head)["alg"], signature), ("nOnE", ""))
        self.assertEqual(len(self._token("alg=none; two segments only")), 2)
        head, claims, signature = self._token("alg=HS256 keyed with the RSA public PEM")
        mac = hmac.new(b"PEM", f"{head}.{claims}".encode(), "sha256").digest()
        self.assertEqual(base64.urlsafe_b64decode(signature + "=="), mac)
        self.assertEqual(base64.urlsafe_b64decode(self._token("alg=ES256 r=s=0")[2] + "=="), bytes(64))
        head, _, signature = self._token("jku=http://127.0.0.1:9/a,b")
        self.assertEqual(self._read(head)["jku"], "http://127.0.0.1:9/a,b")
        self.assertEqual(base64.urlsafe_b64decode(signature), b"stolen")
        self.assertEqual(self._read(self._token("kid=../../dev/null + HS256 empty key")[0])["kid"], "../../dev/null")
        self.assertEqual(self._read(self._token("kid=|touch x")[0])["kid"], "|touch x")
        self.assertNotEqual(self._read(self._token("valid, body_hash_of=other body")[1])["hash"],
                            self._read(self._token("valid")[1])["hash"])
        self.assertEqual(self._read(self._token("exp=-60; aud=x")[1])["exp"], 1699999940)
        self.assertNotIn("exp", self._read(self._token("no exp")[1]))

    def test_unknown_words_are_no_genuine_token(self):
        for words in ("something else", "valid, but strange", "no jti"):
            with self.assertRaises(tokens.NotUnderstood):
                self._token(words)

    def test_fixed_length_ecdsa(self):
        # RFC 6979, appendix A.2.5, as RFC 7518, section 3.4 writes it.
        secret = bytes.fromhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
        self.assertEqual(tokens.p256_fixed(secret)(b"sample").hex(),
                         "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
                         "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")


class Notices(unittest.TestCase):
    """Messages as words describe them."""

    def test_described(self):
        document, whose = notices.described("sign with allowed cert but TopicArn arn:aws:sns:x:9:evil; by the attacker",
                                            "now", "id")
        self.assertEqual((document["TopicArn"], document["Type"], whose), ("arn:aws:sns:x:9:evil", "Notification", "attacker"))
        document, _ = notices.described("sign; SubscribeURL=http://127.0.0.1:9/", "now", "id")
        self.assertEqual((document["SubscribeURL"], document["Type"]), ("http://127.0.0.1:9/", "SubscriptionConfirmation"))
        document, _ = notices.described("sign; https://sns.evil.test/x.pem", "now", "id")
        self.assertEqual(document["SigningCertURL"], "https://sns.evil.test/x.pem")

    def test_what_is_signed(self):
        # The order of the documentation, with a subject and without.
        sns = notices.Sns(None, None)
        body = json.dumps({"Type": "Notification", "MessageId": "i", "TopicArn": "t", "Subject": "s", "Message": "m",
                           "Timestamp": "n", "Signature": "x"}).encode()
        self.assertEqual(sns.content(signer.Signing([], body, "", "")),
                         b"Message\nm\nMessageId\ni\nSubject\ns\nTimestamp\nn\nTopicArn\nt\nType\nNotification\n")
        paypal = notices.PayPal(None, None)
        headers = [("PAYPAL-TRANSMISSION-ID", "i"), ("PAYPAL-TRANSMISSION-TIME", "t")]
        self.assertEqual(paypal.content(signer.Signing(headers, b"123456789", "", "")),
                         f"i|t|{notices.WEBHOOK_ID}|3421780262".encode())


class Named(unittest.TestCase):
    """Variants that are nothing but a name."""

    def _change(self, name, path="/webhooks/gh", headers=(), body=b"{}"):
        shot = cases.shots({"id": "X", "variants": [{"name": name}]})[1]
        return named.change(shot, path, list(headers), body, lambda source: "right")

    def test_known(self):
        self.assertEqual(self._change("Content-Type: text/html").headers, [("Content-Type", "text/html")])
        self.assertEqual(self._change("PUT").method, "PUT")
        self.assertEqual(self._change("/x/../y").path, "/x/../y")
        path = "/webhooks/meta?hub.verify_token=wrong&hub.challenge=1"
        self.assertIn("verify_token=right&hub.challenge=%3Cscript", self._change("right token + <script>", path).path)
        self.assertTrue(self._change("empty verify_token while unset in config", path).path.startswith("/webhooks/metaunset?"))
        self.assertEqual(self._change("nOnE", headers=[("A", "Bearer {{jwt:alg=none}}")]).headers, [("A", "Bearer {{jwt:nOnE}}")])

    def test_unknown(self):
        self.assertIsNone(self._change("something that nobody knows"))


class Placeholders(unittest.TestCase):
    """The grammar."""

    def setUp(self):
        self.asked = []
        self.values = placeholders.Values(1700000000, "u-1", {"canary_port": "99"}, lambda name: f"token-of-{name}",
                                          self._sign, lambda key, encoding: f"{encoding}({key})")

    def _sign(self, sig):
        self.asked.append(sig)
        return "SIGNED"

    def test_plain(self):
        for text, expected in [("{{ts}}", "1700000000"), ("{{ts-301}}", "1699999699"), ("a{{uuid}}b", "au-1b"),
                               ("{{token:admin|first=5}}", "token"), ("{{rfc3339}}", "2023-11-14T22:13:20Z"),
                               ("{{tsms+5}}", "1700000000005"), ("{{hmac_b64:key=k}}", "base64(k)"), ("{{", "{{"),
                               ("{a}", "{a}")]:
            self.assertEqual(placeholders.expand(text, self.values), expected)

    def test_signatures(self):
        placeholders.expand("t={{ts}},v1={{sig:stripe|hexonly|secret=${X}}}", self.values)
        self.assertEqual((self.asked[0].source, self.asked[0].hexonly, self.asked[0].secret), ("stripe", True, "${X}"))
        self.assertEqual(self.asked[0].before, "t=1700000000,v1=")
        placeholders.expand("{{sig:stripe_secret_over_body}}{{sig:gh over compact JSON}}", self.values)
        self.assertEqual((self.asked[1].source, self.asked[1].own_form), ("stripe", False))
        self.assertEqual((self.asked[2].source, self.asked[2].over), ("gh", "compact JSON"))

    def test_nested_and_unknown(self):
        self.values.plain["x:http://h:99/"] = "found"
        self.assertEqual(placeholders.expand("{{x:http://h:{{canary_port}}/}}", self.values), "found")
        with self.assertRaises(placeholders.Unknown):
            placeholders.expand("{{payload}}", self.values)
        self.assertEqual(placeholders.expand("{{payload}}", self.values, strict=False), "{{payload}}")

    def test_truncated(self):
        self.assertEqual(placeholders.truncated("sha256=abcdef", "abcdef", "2hex"), "sha256=ab")
        self.assertEqual(placeholders.truncated("sha256=abcdef", "abcdef", "2"), "sh")


class Words(unittest.TestCase):
    """What is described instead of written out."""

    def test_numbers(self):
        self.assertEqual(mutations.count_before("connections", "256 connections, each"), 256)
        self.assertEqual(mutations.count_before("params", "form, 1,000,000 params"), 1_000_000)
        self.assertEqual(mutations.size_in("bodies of 20 MiB"), 20 << 20)
        self.assertEqual(len(mutations.repeated_json('{"id":"a"*1,000}')), len('{"id":""}') + 1000)

    def test_bodies(self):
        signed, sent = mutations.signed_and_sent("sign compact JSON, send pretty-printed JSON", "", b"")
        self.assertNotEqual(signed, sent)
        self.assertEqual(len(mutations.json_examples('x {"a":[null]}, {"b":{}}')), 2)
        self.assertEqual(mutations.bombs('200 "[" then 200 "]"'), [b"[" * 200 + b"]" * 200])

    def test_raw(self):
        raw = b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"
        shot = cases.shots({"id": "X", "variants": [{"name": "", "content_length": "+4"}, {"name": "two Hosts"},
                                                     {"name": "no idea"}]})
        self.assertEqual(mutations.changed_raw(raw, shot[1]).count(b"Content-Length: +4\r\n"), 1)
        self.assertEqual(mutations.changed_raw(raw, shot[2]).count(b"Host: "), 2)
        self.assertIsNone(mutations.changed_raw(raw, shot[3]))

    def test_retry_afters(self):
        self.assertEqual(plays.retry_afters('Handler Retry-After: 99, -5, "Fri, 01 Jan 1900", 2 headers: clamped'),
                         ["99", "-5", "Fri, 01 Jan 1900", "7\n3600"])


class Wire(unittest.TestCase):
    """What comes back."""

    def test_hpack(self):
        # RFC 7541, appendix C.6.1: Huffman-coded, with the dynamic table.
        decoder = hpack.Decoder()
        first = bytes.fromhex("488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c7"
                              "8f0b97c8e9ae82ae43d3")
        self.assertEqual(decoder.decode(first)[0], (":status", "302"))
        self.assertEqual(decoder.decode(bytes.fromhex("4883640effc1c0bf"))[0], (":status", "307"))

    def test_responses(self):
        reader = http1.Reader(False)
        reader.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 400 No\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHTTP/1.1 500 x\r\n\r\nrest")
        reader.end(True)
        self.assertEqual([(r.status, r.body) for r in reader.responses], [(200, b"ok"), (400, b"a"), (500, b"rest")])
        self.assertEqual(reader.interim, [100])

    def test_requests(self):
        self.assertEqual(http1.request_bytes("POST", "/x", [("A", "\u00e9")], b"hi"),
                         b"POST /x HTTP/1.1\r\nHost: gw\r\nA: \xc3\xa9\r\nContent-Length: 2\r\n\r\nhi")
        self.assertTrue(http1.request_bytes("POST", "/x", [("Transfer-Encoding", "chunked")], b"hi")
                        .endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))


class Format(unittest.TestCase):
    """Cases and variants."""

    def test_variants(self):
        case = {"id": "X-1", "headers": [["A", "1"], ["B", "2"], ["a", "3"]], "body_b64": base64.b64encode(b"x").decode(),
                "variants": [{"name": "v", "headers_set": {"A": "9", "C": None}, "headers_add": [["D", "4"]],
                              "expect_status": [400]}]}
        base, variant = cases.shots(case)
        self.assertEqual(base.headers, [("A", "1"), ("B", "2"), ("a", "3")])
        self.assertEqual(variant.headers, [("A", "9"), ("B", "2"), ("D", "4")])
        self.assertEqual((variant.expect_status, variant.body, variant.label), ([400], b"x", "X-1/v"))


    def test_what_is_written_otherwise(self):
        shot = cases.shots({"id": "X", "headers": {"A": "1", "B": ["2", "3"]}, "expect_status": [401, "2xx"], "body": {"a": 1},
                            "also": "process alive", "variants": ["HEAD"], "transport": "concurrent:50", "severity": "high"})
        self.assertEqual(shot[0].headers, [("A", "1"), ("B", "2"), ("B", "3")])
        self.assertEqual((len(shot[0].expect_status), shot[0].body, shot[0].also), (101, b'{"a": 1}', ["process alive"]))
        self.assertEqual((shot[0].transport, shot[1].said, shot[0].unknown), ("concurrent", "HEAD", frozenset()))
        shot = cases.shots({"id": "X", "expect_status": 401, "variants": [{"name": "v", "cipher": "NULL"}]})
        self.assertEqual((shot[0].expect_status, shot[1].unknown), ([401], {"cipher"}))
        for wrong in ({"headers": [["A"]]}, {"headers": [["A", 1]]}, {"expect_status": ["many"]}, {"body_b64": "%"},
                      {"variants": [7]}):
            with self.assertRaises(cases.BadCase):
                cases.shots({"id": "X", **wrong})


if __name__ == "__main__":
    unittest.main()
