"""Public keys by hand: RSA and P-256 in Python's integers, out of fixed seeds, so that each run makes the same signatures."""

import base64
import functools
import hashlib
import hmac
import math

from common import b64


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


# Most numbers fall to a small prime, which is quicker to try than a power.
SMALL = math.prod(number for number in range(3, 2000, 2) if all(number % low for low in range(3, int(number**0.5) + 1, 2)))


@functools.cache
def prime(seed):
    """A prime of 1024 bits, always the same for a seed, that suits an exponent of 65537."""
    block = b"".join(hashlib.sha512(f"{seed} {part}".encode()).digest() for part in range(2))
    number = int.from_bytes(block, "big") | 3 << 1022 | 1
    while math.gcd(number, SMALL) > 1 or number % 65537 == 1 or any(pow(base, number - 1, number) != 1 for base in (2, 3, 5, 7, 11)):
        number += 2
    return number


def der(tag, content):
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


class Rsa:
    """RSA with PKCS#1 v1.5 signatures (RFC 8017)."""

    PREFIXES = {"sha256": "3031300d060960864801650304020105000420", "sha1": "3021300906052b0e03021a05000414"}

    def __init__(self, seed):
        one, other = prime(f"{seed} p"), prime(f"{seed} q")
        self.modulus, self.private = one * other, pow(65537, -1, (one - 1) * (other - 1))

    def sign(self, message, algorithm="sha256", prefixed=True):
        digest = hashlib.new(algorithm, message).digest()
        info = (bytes.fromhex(self.PREFIXES[algorithm]) if prefixed else b"") + digest
        padded = b"\x00\x01" + b"\xff" * (253 - len(info)) + b"\x00" + info
        return pow(int.from_bytes(padded, "big"), self.private, self.modulus).to_bytes(256, "big")

    def pem(self):
        numbers = der(2, b"\x00" + self.modulus.to_bytes(256, "big")) + der(2, b"\x01\x00\x01")
        kind = bytes.fromhex("300d06092a864886f70d0101010500")
        text = b64(der(0x30, kind + der(3, b"\x00" + der(0x30, numbers))))
        lines = "\n".join(text[at:at + 64] for at in range(0, len(text), 64))
        return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"


class P256:
    """ECDSA on P-256 with SHA-256, its random number by RFC 6979."""

    P = 2**256 - 2**224 + 2**192 + 2**96 - 1
    N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
         0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)

    def __init__(self, seed):
        self.private = int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big") % self.N
        self.public = self.times(self.private, self.G)

    def plus(self, one, other):
        if one is None or other is None:
            return one or other
        (x1, y1), (x2, y2) = one, other
        if x1 == x2 and (y1 + y2) % self.P == 0:
            return None
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, self.P) if one == other else (y2 - y1) * pow(x2 - x1, -1, self.P)
        x = (slope * slope - x1 - x2) % self.P
        return x, (slope * (x1 - x) - y1) % self.P

    def times(self, number, point):
        total = None
        while number:
            if number & 1:
                total = self.plus(total, point)
            point, number = self.plus(point, point), number >> 1
        return total

    def numbers(self, message):
        digest = hashlib.sha256(message).digest()
        key, value = bytes(32), b"\x01" * 32
        seed = self.private.to_bytes(32, "big") + (int.from_bytes(digest, "big") % self.N).to_bytes(32, "big")
        for step in b"\x00", b"\x01":
            key = hmac.new(key, value + step + seed, "sha256").digest()
            value = hmac.new(key, value, "sha256").digest()
        value = hmac.new(key, value, "sha256").digest()
        k = int.from_bytes(value, "big")
        r = self.times(k, self.G)[0] % self.N
        return r, pow(k, -1, self.N) * (int.from_bytes(digest, "big") + r * self.private) % self.N

    def sign(self, message):
        return b"".join(number.to_bytes(32, "big") for number in self.numbers(message))

    def der(self, message):
        whole = lambda number: der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))
        return der(0x30, b"".join(whole(number) for number in self.numbers(message)))

    def jwk(self, kid):
        x, y = (b64url(number.to_bytes(32, "big")) for number in self.public)
        return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y}
