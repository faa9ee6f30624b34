"""What a hostile handler answers. Each play is a name, the words of a case that ask for it, what may become of the
attempt, and the bytes."""

import gzip
import io
import re
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# At most so much is ever sent: a gateway that reads on and on would otherwise keep us here for ever.
SENT_MAX = 96 << 20


def _fixed(data, stays=False):
    """Sends bytes; `stays`: and waits for another request, which must not come."""
    def send(sock):
        sock.sendall(data)
        return stays
    return send


def _endless(head, piece, pause=0.0, seconds=30.0):
    def send(sock):
        sock.sendall(head)
        sent, deadline = 0, time.monotonic() + seconds
        while sent < SENT_MAX and time.monotonic() < deadline:
            sock.sendall(piece)
            sent += len(piece)
            time.sleep(pause)
        return False
    return send


def _gzip_bomb(sock):
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        for _ in range(1024):
            file.write(bytes(1 << 20))
    data = packed.getvalue()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data)
    sock.sendall(head + data)
    return False


def _silence(sock):
    sock.settimeout(30)
    sock.recv(1)
    return False


def retry_after(value):
    """503 with that `Retry-After`; with several lines of it when there is a line end in it."""
    lines = b"".join(b"Retry-After: " + line.encode() + b"\r\n" for line in value.split("\n"))
    return _fixed(b"HTTP/1.1 503 Busy\r\n" + lines + b"Content-Length: 0\r\nConnection: close\r\n\r\n")


_MIB = bytes(1 << 20)

# name: (words that ask for it, outcomes that are right: ok, failed, either, how)
PLAYS = {
    "long body": (r"10 GiB(?!\))|endless body", "either",
                  _endless(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", _MIB)),
    "endless chunked": (r"endless chunked", "either",
                        _endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                                 b"100000\r\n" + _MIB + b"\r\n")),
    "gzip bomb": (r"gzip bomb", "either", _gzip_bomb),
    "long headers": (r"response headers", "failed",
                     _endless(b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"a" * 8000 + b"\r\n")),
    "1xx": (r"1xx responses", "either",
            _fixed(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1000 + OK)),
    "CL+TE": (r"CL\+TE", "failed", _fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                                          b"2\r\nok\r\n0\r\n\r\n", True)),
    "CL mismatch": (r"CL mismatch", "failed", _fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok")),
    "two CL": (r"CL mismatch", "failed",
               _fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", True)),
    "bad chunk": (r"bad chunk", "failed",
                  _fixed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", True)),
    "no end of head": (r"no CRLFCRLF", "failed", _fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")),
    "HTTP/0.9": (r"HTTP/0\.9", "failed", _fixed(b"ok\n")),
    "status 099": (r"\b099\b", "failed", _fixed(b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n")),
    "status 600": (r"\b600\b", "failed", _fixed(b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n")),
    "status 1000": (r"\b1000\b(?! 1xx)", "failed", _fixed(b"HTTP/1.1 1000 Odd\r\nContent-Length: 0\r\n\r\n")),
    # RFC 9110: a 204 has no body, so what follows is no part of it. The connection must not be used again.
    "204 with body": (r"204 with body", "either", _fixed(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok"
                                                         + OK, True)),
    "second response": (r"two responses|extra response|response splitting", "either", _fixed(OK + OK, True)),
    "redirect": (r"redirect|Location|\b30[1278]\b", "failed", None),
    "silence": (r"black ?hole|never answers|silent", "failed", _silence),
    "slow": (r"1 byte/s|drip|slow (response|body)", "failed",
             _endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", 0.5)),
    "hang up": (r"hangs up|closes? without|connection reset", "failed", _fixed(b"")),
}


def asked_for(text):
    """The names of the plays that a text asks for."""
    return [name for name, (words, _, _) in PLAYS.items() if re.search(words, text, re.IGNORECASE)]


def retry_afters(text):
    """The values of `Retry-After` that a text lists."""
    match = re.search(r"Retry-After: (.+?)(?:: |$)", text)
    if not match:
        return []
    items = re.findall(r'\s*("[^"]*"|[^,]+)', match.group(1))
    values = [item.strip().strip('"') for item in items if item.strip()]
    return ["7\n3600" if re.fullmatch(r"(2|two) headers", value) else value for value in values]


def perform(name, sock):
    """Plays it; `True` when the connection can be used again."""
    if name == "ok":
        sock.sendall(OK)
        return True
    if name.startswith("retry-after "):
        return retry_after(name.removeprefix("retry-after "))(sock)
    if name.startswith("redirect "):
        place = name.removeprefix("redirect ").encode()
        return _fixed(b"HTTP/1.1 307 Elsewhere\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n")(sock)
    return PLAYS[name][2](sock)
