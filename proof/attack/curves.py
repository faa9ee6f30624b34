"""Ed25519 and ECDSA P-256 signatures in plain Python, for signing test requests independently of the product.

Slow and not constant-time: the keys are made for one run and are worth nothing."""

import hashlib
import hmac

# Ed25519 (RFC 8032).
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)


def _recover_x(y, sign):
    xx = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(xx, (_P + 3) // 8, _P)
    if (x * x - xx) % _P:
        x = x * _SQRT_M1 % _P
    return _P - x if x & 1 != sign else x


_BY = 4 * pow(5, -1, _P) % _P
_BX = _recover_x(_BY, 0)
_BASE = (_BX, _BY, 1, _BX * _BY % _P)


def _ed_add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _ed_mul(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _ed_add(result, point)
        point = _ed_add(point, point)
        scalar >>= 1
    return result


def _ed_compress(point):
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _ed_expand(seed):
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return scalar, digest[32:]


def ed25519_public(seed):
    """The 32 bytes of the public key."""
    return _ed_compress(_ed_mul(_ed_expand(seed)[0], _BASE))


def ed25519_sign(seed, message):
    """The 64 bytes of the signature."""
    scalar, prefix = _ed_expand(seed)
    public = _ed_compress(_ed_mul(scalar, _BASE))
    r = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % _L
    point = _ed_compress(_ed_mul(r, _BASE))
    h = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little") % _L
    return point + ((r + h * scalar) % _L).to_bytes(32, "little")


# ECDSA on P-256 (FIPS 186-4), nonces as in RFC 6979.
_Q = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def _p256_add(p, q):
    if p is None:
        return q
    if q is None:
        return p
    if p[0] == q[0]:
        if (p[1] + q[1]) % _Q == 0:
            return None
        slope = (3 * p[0] * p[0] - 3) * pow(2 * p[1], -1, _Q)
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, _Q)
    x = (slope * slope - p[0] - q[0]) % _Q
    return (x, (slope * (p[0] - x) - p[1]) % _Q)


def _p256_mul(scalar, point):
    result = None
    while scalar:
        if scalar & 1:
            result = _p256_add(result, point)
        point = _p256_add(point, point)
        scalar >>= 1
    return result


def p256_public(secret):
    """The public key of the 32-byte secret, as an uncompressed point (65 bytes)."""
    x, y = _p256_mul(int.from_bytes(secret, "big") % _N, _G)
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def p256_spki(secret):
    """The same as a DER SubjectPublicKeyInfo."""
    return bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + p256_public(secret)


def _nonce(secret, digest):
    key, value = b"\0" * 32, b"\1" * 32
    reduced = (int.from_bytes(digest, "big") % _N).to_bytes(32, "big")
    for separator in (b"\0", b"\1"):
        key = hmac.digest(key, value + separator + secret + reduced, "sha256")
        value = hmac.digest(key, value, "sha256")
    while True:
        value = hmac.digest(key, value, "sha256")
        k = int.from_bytes(value, "big")
        if 0 < k < _N:
            return k
        key = hmac.digest(key, value + b"\0", "sha256")
        value = hmac.digest(key, value, "sha256")


def p256_sign(secret, message):
    """An ASN.1 DER signature of the SHA-256 of `message`."""
    digest = hashlib.sha256(message).digest()
    k = _nonce(secret, digest)
    r = _p256_mul(k, _G)[0] % _N
    s = pow(k, -1, _N) * (int.from_bytes(digest, "big") + r * int.from_bytes(secret, "big")) % _N
    return der_signature(r, s)


def der_signature(r, s):
    """`r` and `s` as the DER sequence in which ECDSA signatures travel."""
    def integer(n):
        raw = n.to_bytes(n.bit_length() // 8 + 1, "big")
        return b"\x02" + bytes([len(raw)]) + raw
    inside = integer(r) + integer(s)
    return b"\x30" + bytes([len(inside)]) + inside
