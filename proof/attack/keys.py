"""The secrets and key pairs of one run: fresh from the seed, so that every one of them can be searched for in logs and
answers. Makes RSA keys and certificates with `openssl`; everything else in Python."""

import base64
import hashlib
import os
import subprocess
import tempfile

import curves


def canary(seed, name, length=40):
    """A secret text that appears nowhere else in the world: whatever shows it has leaked it."""
    digest = hashlib.sha512(f"{seed}:{name}".encode()).hexdigest()
    return f"cnry{name.replace('-', '')[:8]}{digest}"[:length]


def canary_bytes(seed, name, length=32):
    """Secret bytes, likewise."""
    return hashlib.sha512(f"{seed}/{name}".encode()).digest()[:length]


def pem(label, der):
    """DER as PEM."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at:at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


class RsaKey:
    """A 2048-bit key that `openssl` makes and signs with, and a certificate for it."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "rsa.pem")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.path)
        self.public_pem = openssl("pkey", "-in", self.path, "-pubout").decode()
        self.certificate = openssl("req", "-x509", "-key", self.path, "-days", "2", "-subj", "/CN=sns.amazonaws.com",
                                   "-addext", "subjectAltName=DNS:sns.amazonaws.com").decode()

    def sign(self, message, digest="sha256"):
        """PKCS #1 v1.5."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(message)
            file.flush()
            return openssl("dgst", "-" + digest, "-sign", self.path, file.name)


def openssl(*arguments):
    """Runs `openssl` and returns what it prints."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return done.stdout


def certificate(directory):
    """A self-signed certificate for 127.0.0.1: paths of certificate and key."""
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-keyout", key, "-out", cert)
    return cert, key


class KeyRing:
    """Everything secret in one run."""

    def __init__(self, seed, directory):
        self.seed = seed
        self.ed25519 = canary_bytes(seed, "ed25519")
        self.p256 = canary_bytes(seed, "p256")
        self.rsa = RsaKey(directory)
        os.makedirs(os.path.join(directory, "attacker"))
        self.attacker = RsaKey(os.path.join(directory, "attacker"))

    def text(self, name):
        """The canary secret of that name."""
        return canary(self.seed, name)

    def whsec(self, name):
        """A Standard Webhooks secret."""
        return "whsec_" + base64.b64encode(canary_bytes(self.seed, name)).decode()
