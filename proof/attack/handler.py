"""The application behind the gateway: keeps a journal of everything that it is sent, and plays a hostile one where a
case asks for that. Also the canary, a listener that nobody may ever connect to."""

import dataclasses
import socket
import threading
import time

import plays


@dataclasses.dataclass
class Received:
    """One request of the gateway."""
    at: float
    path: str
    headers: list
    body: bytes
    connection: int
    raw_head: bytes
    played: str = ""

    def all(self, name):
        """Every value under that name."""
        return [value for key, value in self.headers if key == name.lower()]

    def header(self, name):
        """The first value under that name, or an empty text."""
        return next(iter(self.all(name)), "")

    @property
    def source(self):
        """The source of the event."""
        return self.header("tenterhook-source")

    @property
    def original_id(self):
        """The id under which a Standard Webhooks sender sent it."""
        return self.header("tenterhook-original-webhook-id")


class Handler:
    """Serves on a free port until it is closed."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.journal = []
        self.plays = {}  # original webhook id -> plays for its attempts, in order; after them: 200
        self.arrived = threading.Condition()
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path):
        """Where a destination points."""
        return f"http://127.0.0.1:{self.port}{path}"

    def mark(self):
        """A place in the journal, for `since`."""
        with self.arrived:
            return len(self.journal)

    def since(self, mark):
        """What has arrived since."""
        with self.arrived:
            return self.journal[mark:]

    def wait(self, mark, condition, timeout):
        """Waits until what has arrived since `mark` fulfils the condition; returns it, fulfilled or not."""
        deadline = time.monotonic() + timeout
        with self.arrived:
            while not condition(self.journal[mark:]):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self.arrived.wait(left)
            return self.journal[mark:]

    def close(self):
        """Stops listening."""
        self.listener.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock, connection):
        buffer = bytearray()
        with sock:
            sock.settimeout(60)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while (received := _read(sock, buffer, connection)) is not None:
                    play = self._choose(received)
                    self._record(received)
                    if not plays.perform(play, sock):
                        return
            except OSError:
                return

    def _choose(self, received):
        with self.arrived:
            waiting = self.plays.get(received.original_id) or self.plays.get(received.path)
            received.played = waiting.pop(0) if waiting else "ok"
        return received.played

    def _record(self, received):
        with self.arrived:
            self.journal.append(received)
            self.arrived.notify_all()


def _read(sock, buffer, connection):
    """The next request on the connection, or `None` at its end."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        got = sock.recv(65536)
        if not got:
            return None
        buffer += got
    head = bytes(buffer[:end])
    line, *fields = head.split(b"\r\n")
    headers = [(k.strip().lower().decode("latin-1"), v.strip().decode("latin-1"))
               for k, _, v in (field.partition(b":") for field in fields)]
    length = int(dict(headers).get("content-length", 0))
    while len(buffer) < end + 4 + length:
        got = sock.recv(1 << 20)
        if not got:
            return None
        buffer += got
    body = bytes(buffer[end + 4:end + 4 + length])
    del buffer[:end + 4 + length]
    return Received(time.monotonic(), line.split(b" ")[1].decode("latin-1"), headers, body, connection, head)


class Canary:
    """Counts connections, and answers none."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.touched = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.touched += 1
            sock.close()

    def close(self):
        """Stops listening."""
        self.listener.close()
