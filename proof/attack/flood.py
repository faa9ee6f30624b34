"""Floods a listener from a process of its own, so that the client that is measured beside it is not slowed by ours. Reads
what to do as JSON from standard input, writes how each connection or request ended as JSON to standard output."""

import base64
import collections
import json
import random
import selectors
import socket
import sys
import threading
import time

import h2
import hpack
import http1


# How long an upload may wait for its answer: the gateway has a limit of its own for a body, which is shorter, but whoever
# has to share two processors with hundreds of others does not see it pass.
PATIENCE_S = 240


def main():
    """One flood."""
    order = json.load(sys.stdin)
    target = http1.Target(order["host"], order["port"], order["tls"])
    statuses = KINDS[order["kind"]](target, order)
    json.dump({"statuses": [[status, count] for status, count in statuses.items()]}, sys.stdout)


def _request(order):
    return base64.b64decode(order["request"])


def _parallel(count, run):
    """Runs so many threads; counts what they return, one status or a counter."""
    total, lock = collections.Counter(), threading.Lock()

    def one(number):
        got = run(number)
        with lock:
            total.update(got if isinstance(got, collections.Counter) else [got])
    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def _answer(sock, timeout):
    """The status that a connection got; 0: closed without one; `None`: neither."""
    reader, deadline = http1.Reader(False), time.monotonic() + timeout
    try:
        while not reader.responses and (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            got = sock.recv(65536)
            if not got:
                reader.end(True)
                return reader.responses[0].status if reader.responses else 0
            reader.feed(got)
    except TimeoutError:
        return None
    except OSError:
        return 0
    return reader.responses[0].status if reader.responses else None


def _send_until_closed(sock, pieces, deadline, patience=20):
    """Sends until the gateway answers or hangs up, or the time is over; how that ended."""
    try:
        for piece in pieces:
            if time.monotonic() > deadline:
                break
            sock.settimeout(max(0.1, deadline - time.monotonic()))
            sock.sendall(piece)
            if _readable(sock):
                break
    except OSError:
        pass
    return _answer(sock, patience)


def _readable(sock):
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def endless(target, order):
    """A chunked body that never ends."""
    piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"

    def run(_):
        deadline = time.monotonic() + order["seconds"]
        with http1.connect(target, 5) as sock:
            sock.sendall(_request(order))

            def pieces():
                pause = len(piece) / order["bytes_per_second"]
                while True:
                    yield piece
                    time.sleep(pause)
            return _send_until_closed(sock, pieces(), deadline)
    return _parallel(order["connections"], run)


def upload(target, order):
    """Many uploads at the same time, again and again."""
    piece = bytes(1 << 18)
    deadline = time.monotonic() + order["seconds"]

    def run(_):
        ends = collections.Counter()
        while time.monotonic() < deadline:
            try:
                with http1.connect(target, 10) as sock:
                    sock.sendall(_request(order))
                    pieces = (piece for _ in range(order["size"] // len(piece)))
                    # Begun before the end, finished after it.
                    ends[_send_until_closed(sock, pieces, deadline + 20, PATIENCE_S)] += 1
            except OSError:
                ends[0] += 1
        return ends
    return _parallel(order["connections"], run)


def slow_read(target, order):
    """Requests without end on connections whose answers nobody reads."""
    def run(_):
        deadline = time.monotonic() + order["seconds"]
        try:
            with http1.connect(target, 5, receive_buffer=1) as sock:
                try:
                    while time.monotonic() < deadline:
                        sock.settimeout(max(0.1, deadline - time.monotonic()))
                        sock.sendall(_request(order) * 20)
                except OSError:
                    pass
                return _answer(sock, 5)
        except OSError:
            return 0
    return _parallel(order["connections"], run)


def drip(target, order):
    """Headers or bodies a byte at a time."""
    def run(_):
        deadline = time.monotonic() + order["seconds"]
        try:
            with http1.connect(target, 5) as sock:
                sock.sendall(_request(order))

                def pieces():
                    while True:
                        yield b"a"
                        time.sleep(0.2)
                return _send_until_closed(sock, pieces(), deadline)
        except OSError:
            return 0
    return _parallel(order["connections"], run)


def noise(target, order):
    """Requests that are refused, each with a random path or header."""
    rng = random.Random(order["seed"])
    template = base64.b64decode(order["request"]).decode("latin-1")
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    filler = ["".join(rng.choices(alphabet, k=order["size"])) for _ in range(16)]
    numbers, lock = iter(range(order["count"])), threading.Lock()

    def batch():
        with lock:
            picked = [number for number, _ in zip(numbers, range(32))]
        return [template.replace("{random}", f"{number}-{filler[number % 16][:-12]}").encode("latin-1")
                for number in picked]

    def run(_):
        ends = collections.Counter()
        while left := batch():
            tries = 0
            while left:
                reader = http1.Reader(False)
                try:
                    with http1.connect(target, 20) as sock:
                        sender = threading.Thread(target=_send_all, args=(sock, b"".join(left)), daemon=True)
                        sender.start()
                        while len(reader.responses) < len(left) and (got := sock.recv(1 << 16)):
                            reader.feed(got)
                except OSError:
                    pass
                ends.update(response.status for response in reader.responses)
                # On a machine with much to do a handshake may outlast its time: that is no answer to a request.
                tries = 0 if reader.responses else tries + 1
                if tries > 3:
                    ends[0] += len(left)
                    break
                left = left[len(reader.responses):]
        return ends
    return _parallel(order["connections"], run)


def _send_all(sock, data):
    try:
        sock.sendall(data)
    except OSError:
        pass


def _h2_flood(target, order, frames, setup=b""):
    """Writes frames on one connection until it is closed, or all are out; 0 when the gateway ended it."""
    try:
        connection = h2.Connection(target, 10)
    except OSError:
        return collections.Counter([0])
    deadline = time.monotonic() + order["seconds"]
    try:
        connection.send(setup)
        for piece in frames:
            connection.sock.settimeout(max(0.1, deadline - time.monotonic()))
            connection.send(piece)
            while connection.read(0.0005):
                pass
            if connection.closed or connection.goaway is not None or time.monotonic() > deadline:
                break
        end = time.monotonic() + 2
        while not connection.closed and connection.goaway is None and time.monotonic() < end:
            connection.read(0.1)
    except OSError:
        connection.closed = True
    finally:
        connection.close()
    if connection.streams and not connection.closed and connection.goaway is None:
        return collections.Counter([next(iter(connection.streams.values())).status])
    return collections.Counter([0 if connection.closed or connection.goaway is not None else None])


def _block(path="/webhooks/gh", extra=()):
    return hpack.encode([(b":method", b"POST"), (b":scheme", b"https"), (b":path", path.encode()),
                         (b":authority", b"gw"), *extra])


def _streams(count, make, batch=100):
    for start in range(0, count, batch):
        yield b"".join(make(1 + 2 * number) for number in range(start, min(count, start + batch)))


def rapid_reset(target, order):
    """HEADERS and RST_STREAM, over and over."""
    block = _block()
    return _h2_flood(target, order, _streams(order["count"], lambda stream: h2.frame(
        h2.HEADERS, h2.END_HEADERS, stream, block) + h2.frame(h2.RST_STREAM, 0, stream, b"\0\0\0\x08")))


def continuation(target, order):
    """A header block that never ends."""
    block = _block()
    piece = hpack.encode([(b"x-filler", b"a" * 200)]) * 60
    frames = (h2.frame(h2.CONTINUATION, 0, 1, piece) for _ in range(order["count"]))
    return _h2_flood(target, order, frames, h2.frame(h2.HEADERS, 0, 1, block))


def hpack_bomb(target, order):
    """One long field in the table, referred to by single bytes."""
    big = b"\x40" + hpack.string(b"x-bomb") + hpack.string(b"a" * 3900)
    block = _block() + big + b"\xbe" * 16000
    return _h2_flood(target, order, [h2.request_frames(1, block)])


def header_list(target, order):
    """More headers than anybody takes."""
    extra = [(b"x-h-%d" % number, b"a" * 90) for number in range(order["size"] // 128)]
    return _h2_flood(target, order, [h2.request_frames(1, _block(extra=extra))])


def made_reset(target, order):
    """Makes the server reset streams: a window update of nothing, a priority on itself."""
    block = _block()

    def make(stream):
        opened = h2.frame(h2.HEADERS, h2.END_HEADERS, stream, block)
        if stream % 4 == 1:
            return opened + h2.frame(h2.WINDOW_UPDATE, 0, stream, b"\0\0\0\0")
        return opened + h2.frame(h2.PRIORITY, 0, stream, stream.to_bytes(4, "big") + b"\x10")
    return _h2_flood(target, order, _streams(order["count"], make))


def ping(target, order):
    """PING, and nobody waits for the answer."""
    frames = (h2.frame(h2.PING, 0, 0, b"12345678") * 100 for _ in range(order["count"] // 100))
    return _h2_flood(target, order, frames)


def settings(target, order):
    """SETTINGS, likewise."""
    frames = (h2.frame(h2.SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff") * 100 for _ in range(order["count"] // 100))
    return _h2_flood(target, order, frames)


def empty_data(target, order):
    """DATA frames without data on a request that does not end."""
    frames = (h2.frame(h2.DATA, 0, 1) * 100 for _ in range(order["count"] // 100))
    # A signature of the right form: without it the stream is over before its first DATA frame.
    block = _block(extra=[(b"x-hub-signature-256", b"sha256=" + b"0" * 64)])
    return _h2_flood(target, order, frames, h2.frame(h2.HEADERS, h2.END_HEADERS, 1, block))


KINDS = {
    "endless": endless, "upload": upload, "slow read": slow_read, "drip": drip, "noise": noise,
    "rapid reset": rapid_reset, "continuation": continuation, "hpack bomb": hpack_bomb, "header list": header_list,
    "made reset": made_reset, "ping": ping, "settings": settings, "empty data": empty_data,
}

if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # Threads that still wait for an answer are of no interest any more.
    socket.setdefaulttimeout(0.1)
