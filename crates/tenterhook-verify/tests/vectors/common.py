"""What every maker of vectors needs: MACs, encodings, and the file of one provider."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import tempfile

NOW = 1_790_000_000
JSON = b'{"id":"evt_1","type":"invoice.paid","data":{"name":"J\xc3\xbcrgen \\u001b"}}'
SECRET = "a-secret-for-these-vectors-0123456789"
OTHER = "another-secret-for-these-vectors-012345"
SPEC = "computed from the provider's documentation with Python's hmac and hashlib"
MISMATCH, SHAPELESS = "invalid:signature_mismatch", "invalid:malformed_signature"


def mac(key, content, algorithm="sha256"):
    return hmac.new(key, content, algorithm).digest()


def b64(data):
    return base64.b64encode(data).decode()


def ed25519(seed, message):
    """The public key and the signature, of RFC 8032, by openssl."""
    run = lambda *arguments: subprocess.run(["openssl", *arguments], capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        key, text = os.path.join(folder, "key"), os.path.join(folder, "message")
        for path, data in ((key, bytes.fromhex("302e020100300506032b657004220420") + seed), (text, message)):
            with open(path, "wb") as file:
                file.write(data)
        public = run("pkey", "-inform", "DER", "-in", key, "-pubout", "-outform", "DER")[-32:]
        return public, run("pkeyutl", "-sign", "-keyform", "DER", "-inkey", key, "-rawin", "-in", text)


class File:
    def __init__(self, provider, url=None, now=NOW):
        self.provider, self.url, self.now, self.vectors = provider, url, now, []

    def add(self, kind, name, headers, body=JSON, expect="valid", secret=SECRET, **more):
        vector = {
            "provider": self.provider, "name": f"{kind}: {name}", "origin": "spec-derived", "source": SPEC, "method": "POST",
            "url": self.url, "headers": headers, "body_b64": b64(body),
            **({"secrets": secret} if isinstance(secret, list) else {"secret": secret}),
            "now_unix": self.now, "expect": expect,
        }
        self.vectors.append({**vector, **more})

    def published(self, where, headers, body, secret, **more):
        self.add("valid", f"as published ({where})", headers, body, secret=secret, origin="official", source=where, **more)
        body = bytes([body[0] ^ 1]) + body[1:]
        self.add("tampered", f"as published ({where}), but for one bit", headers, body, MISMATCH, secret, **more)

    def write(self):
        # Not above: what handshakes are made with stands in this file.
        import handshakes

        handshakes.add(self.provider, self)
        with open(f"{self.provider}.json", "w", encoding="utf-8") as file:
            json.dump(self.vectors, file, indent=1, ensure_ascii=False)
            file.write("\n")


