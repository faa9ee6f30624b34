"""HTTP/1 over a socket, plain or TLS: requests go out exactly as they were made up, and everything that comes back is
kept. No HTTP library is between the case and the wire, since one would refuse to send most of this."""

import dataclasses
import functools
import socket
import ssl
import time

import signer

# How long to listen for a further response once there is one: a smuggled request would be answered within this.
EXTRA_S = 0.25


@dataclasses.dataclass
class Response:
    """One response."""
    status: int
    headers: list
    body: bytes
    complete: bool
    version: str = "HTTP/1.1"

    def header(self, name):
        """The first value under that name, or `None`."""
        return next((value for key, value in self.headers if key == name.lower()), None)


@dataclasses.dataclass
class Exchange:
    """What happened on one connection."""
    responses: list  # final ones, in order
    interim: list  # statuses of 1xx responses
    raw: bytes
    closed: bool  # the gateway closed or reset the connection
    seconds: float
    refused: bool = False  # it could not be opened

    @property
    def status(self):
        """The first final status; 0: closed without one; `None`: still open without one."""
        if self.responses:
            return self.responses[0].status
        return 0 if self.closed else None

    @property
    def first(self):
        """The first response, if any."""
        return self.responses[0] if self.responses else None


@dataclasses.dataclass(frozen=True)
class Target:
    """A listener."""
    host: str
    port: int
    tls: bool = False


@functools.cache
def _context(alpn):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn))
    return context


def connect(target, timeout=20.0, alpn=("http/1.1",), source=None, receive_buffer=None):
    """A connected socket, or a TLS one. `source`: the address to come from."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect((target.host, target.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.tls:
            sock = _context(alpn).wrap_socket(sock, server_hostname="localhost")
        return sock
    except BaseException:
        sock.close()
        raise


def request_bytes(method, path, headers, body=b"", chunked=False, trailers=()):
    """A request as bytes. `Host` and `Content-Length` are added where the headers do not say otherwise."""
    names = {name.lower() for name, _ in headers}
    lines = [b" ".join([signer.as_bytes(method), signer.as_bytes(path), b"HTTP/1.1"])]
    if "host" not in names:
        lines.append(b"Host: gw")
    lines += [signer.as_bytes(name) + b": " + signer.as_bytes(value) for name, value in headers]
    chunked = chunked or any(k.lower() == "transfer-encoding" and "chunked" in v.lower() for k, v in headers)
    if chunked:
        if "transfer-encoding" not in names:
            lines.append(b"Transfer-Encoding: chunked")
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        tail = b"".join(signer.as_bytes(trailer) + b"\r\n" for trailer in trailers)
        body = chunk + b"0\r\n" + tail + b"\r\n"
    elif "content-length" not in names and (body or method.upper() in ("POST", "PUT", "PATCH")):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def exchange(target, data, timeout=40.0, extra=EXTRA_S, head_only=False, source=None):
    """Sends bytes and collects what comes back: until the gateway closes, or `extra` seconds after a response, or the
    timeout. A reset after a response does not lose the response."""
    started = time.monotonic()
    reader = Reader(head_only)
    try:
        sock = connect(target, source=source)
    except OSError:
        return Exchange([], [], b"", True, time.monotonic() - started, refused=True)
    closed = False
    with sock:
        try:
            sock.settimeout(timeout)
            sock.sendall(data)
        except OSError:
            pass  # It may have been answered and hung up on us while we were sending.
        deadline = started + timeout
        while not closed:
            wait = deadline - time.monotonic()
            if reader.responses:
                wait = min(wait, extra)
            if wait <= 0:
                break
            try:
                sock.settimeout(wait)
                got = sock.recv(65536)
                closed = not got
                reader.feed(got)
            except TimeoutError:
                break
            except OSError:
                closed = True
    reader.end(closed)
    return Exchange(reader.responses, reader.interim, bytes(reader.raw), closed, time.monotonic() - started)


class Connection:
    """A kept connection for requests one after another."""

    def __init__(self, target, timeout=5.0, source=None):
        self.sock = connect(target, timeout, source=source)
        self.timeout = timeout
        self.rest = b""

    def ask(self, data):
        """Sends one request and returns its response; raises `OSError` if none comes."""
        reader = Reader(False)
        deadline = time.monotonic() + self.timeout
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)
        reader.feed(self.rest)
        while not reader.responses:
            wait = deadline - time.monotonic()
            if wait <= 0:
                raise TimeoutError("no response in time")
            self.sock.settimeout(wait)
            got = self.sock.recv(65536)
            if not got:
                reader.end(True)
                if reader.responses:
                    break
                raise ConnectionError("closed without a response")
            reader.feed(got)
        self.rest = bytes(reader.pending)
        return reader.responses[0]

    def close(self):
        """Hangs up."""
        self.sock.close()


class Reader:
    """Takes responses out of a stream of bytes."""

    def __init__(self, head_only):
        self.head_only = head_only
        self.raw = bytearray()
        self.pending = bytearray()
        self.responses, self.interim = [], []

    def feed(self, data):
        """More bytes."""
        self.raw += data
        self.pending += data
        while self._take(False):
            pass

    def end(self, closed):
        """There will be no more."""
        if closed:
            while self._take(True):
                pass

    def _take(self, ended):
        end = self.pending.find(b"\r\n\r\n")
        if end < 0:
            return False
        line, *fields = bytes(self.pending[:end]).split(b"\r\n")
        words = line.split(b" ", 2)
        if not words[0].startswith(b"HTTP/") or len(words) < 2 or not words[1].isdigit():
            return False
        status = int(words[1])
        headers = [(k.strip().lower().decode("latin-1"), v.strip().decode("latin-1"))
                   for k, _, v in (field.partition(b":") for field in fields)]
        rest = bytes(self.pending[end + 4:])
        if 100 <= status < 200 and status != 101:
            self.interim.append(status)
            self.pending = bytearray(rest)
            return True
        body = _body(status, dict(headers), rest, ended, self.head_only)
        if body is None:
            return False
        content, used, complete = body
        self.responses.append(Response(status, headers, content, complete, words[0].decode()))
        self.pending = bytearray(rest[used:])
        return True


def _body(status, headers, rest, ended, head_only):
    """`(content, bytes used, complete)`, or `None` while it has not all arrived."""
    if head_only or status in (101, 204, 304):
        return b"", 0, True
    if "chunked" in headers.get("transfer-encoding", ""):
        return _chunked(rest, ended)
    length = headers.get("content-length")
    if length is None:
        return (rest, len(rest), True) if ended else None
    if len(rest) >= int(length):
        return rest[:int(length)], int(length), True
    return (rest, len(rest), False) if ended else None


def _chunked(rest, ended):
    content, at = b"", 0
    while True:
        end = rest.find(b"\r\n", at)
        if end < 0:
            return (content, len(rest), False) if ended else None
        try:
            size = int(rest[at:end].split(b";")[0], 16)
        except ValueError:
            return content, len(rest), False
        if size == 0:
            stop = rest.find(b"\r\n\r\n", at)
            if stop < 0:
                return (content, len(rest), False) if ended else None
            return content, stop + 4, True
        if len(rest) < end + 2 + size + 2:
            return (content, len(rest), False) if ended else None
        content += rest[end + 2:end + 2 + size]
        at = end + 2 + size + 2
