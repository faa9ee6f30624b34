"""HTTP/2 over a socket, by prior knowledge or by ALPN: frames as bytes, so that they can be wrong. `exchange` sends one
request as it is, with headers that HTTP/2 forbids if a case has them."""

import struct
import time

import hpack
import http1
import signer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    """A frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def fields(request):
    """Pseudo headers and headers of a request; names in lower case unless a case writes a pseudo header itself."""
    names = {name.lower() for name, _ in request.headers}
    pseudo = [(":method", request.method), (":scheme", "https"), (":path", request.path)]
    if "host" not in names:
        pseudo.append((":authority", "gw"))
    given = {name for name, _ in request.headers if name.startswith(":")}
    out = [(n, v) for n, v in pseudo if n not in given]
    out += [(n if n.startswith(":") else n.lower(), v) for n, v in request.headers]
    return [(signer.as_bytes(n), signer.as_bytes(v.strip(" \t"))) for n, v in out]


class Connection:
    """One connection; reads frames, keeps what concerns a request."""

    def __init__(self, target, timeout=20.0, settings=b""):
        self.sock = http1.connect(target, timeout, alpn=("h2",))
        self.decoder = hpack.Decoder()
        self.buffer = bytearray()
        self.raw = bytearray()
        self.streams = {}  # stream -> Response
        self.ended, self.reset = set(), {}
        self.goaway, self.closed = None, False
        self.block, self.window = bytearray(), 65535
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        """Bytes, as they are."""
        self.sock.sendall(data)

    def read(self, timeout):
        """Takes in what comes within `timeout`; `False` when nothing came or the connection is gone."""
        if self.closed:
            return False
        try:
            self.sock.settimeout(max(timeout, 0.001))
            got = self.sock.recv(1 << 18)
        except TimeoutError:
            return False
        except OSError:
            self.closed = True
            return False
        self.closed = not got
        self.buffer += got
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self.buffer[9:9 + length])
            del self.buffer[:9 + length]
            self._take(kind, flags, stream, payload)
        return bool(got)

    def _take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self._answer(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._answer(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == RST_STREAM:
            self.reset[stream] = int.from_bytes(payload, "big")
        elif kind in (HEADERS, CONTINUATION):
            self.block += payload
            if flags & END_HEADERS:
                self._headers(stream)
        elif kind == DATA and stream in self.streams:
            self.streams[stream].body += payload
            self.raw += payload
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)

    def _headers(self, stream):
        found = self.decoder.decode(bytes(self.block))
        self.block.clear()
        self.raw += repr(found).encode()
        status = int(dict(found).get(":status", 0))
        if status >= 200:
            self.streams[stream] = http1.Response(status, [f for f in found if f[0] != ":status"], b"", True, "HTTP/2")

    def _answer(self, data):
        try:
            self.send(data)
        except OSError:
            self.closed = True

    def close(self):
        """Hangs up."""
        self.sock.close()


def request_frames(stream, block, body=b"", size=16384):
    """The frames of a request."""
    flags = END_HEADERS | (0 if body else END_STREAM)
    first, rest = block[:size], block[size:]
    out = frame(HEADERS, flags if not rest else flags & ~END_HEADERS, stream, first)
    while rest:
        piece, rest = rest[:size], rest[size:]
        out += frame(CONTINUATION, 0 if rest else END_HEADERS, stream, piece)
    for at in range(0, len(body), size):
        out += frame(DATA, END_STREAM if at + size >= len(body) else 0, stream, body[at:at + size])
    return out


def exchange(target, request, timeout=40.0):
    """One request on a connection of its own. A reset of the stream or a GOAWAY counts as closed."""
    started = time.monotonic()
    try:
        connection = Connection(target, timeout)
    except OSError:
        return http1.Exchange([], [], b"", True, time.monotonic() - started, refused=True)
    try:
        connection.send(request_frames(1, hpack.encode(fields(request)), request.body[:60000]))
        rest = request.body[60000:]
        deadline = started + timeout
        while 1 not in connection.ended and 1 not in connection.reset and time.monotonic() < deadline:
            if not connection.read(deadline - time.monotonic()):
                break
            if rest and 1 not in connection.streams:
                rest = _more(connection, rest)
    except OSError:
        connection.closed = True
    finally:
        connection.close()
    responses = [connection.streams[1]] if 1 in connection.streams else []
    closed = connection.closed or 1 in connection.reset or connection.goaway is not None
    return http1.Exchange(responses, [], bytes(connection.raw), closed, time.monotonic() - started)


def _more(connection, rest):
    # One frame for each sign of life: enough for the bodies of cases, and never more than the peer's window.
    piece, rest = rest[:16384], rest[16384:]
    connection.send(frame(DATA, 0 if rest else END_STREAM, 1, piece))
    return rest
