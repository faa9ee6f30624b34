"""The negative control: a gateway that accepts everything, at once and without a look. The corpus has to fail on it, or
the corpus proves nothing."""

import json
import threading

import http1
import socket
import ssl


class StandIn:
    """Answers 202 to whatever looks like the end of a header, and counts."""

    is_stand_in = True
    alive = True
    wrapper = ()
    scanned = 0

    def __init__(self, fixture, tls=False, **_):
        self.fixture, self.tls, self.count, self.lock = fixture, tls, 0, threading.Lock()
        self.directory = fixture.directory
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = self.listener.getsockname()[1]
        self.target = http1.Target("127.0.0.1", port, tls)
        self.admin = http1.Target("127.0.0.1", port, tls)
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(fixture.cert, fixture.key)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            sock.settimeout(5)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            with sock:
                seen = b""
                while b"\n\r\n" not in seen and b"\n\n" not in seen:
                    got = sock.recv(65536)
                    if not got:
                        return
                    seen += got
                with self.lock:
                    self.count += 1
                    number = self.count
                body = json.dumps({"status": "accepted", "id": f"evt_{number}"}).encode()
                sock.sendall(b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
                             + body)
                # Reads on, so that closing does not reset what was just said.
                sock.settimeout(0.5)
                while sock.recv(65536):
                    pass
        except OSError:
            pass

    # What the runner asks of a gateway.

    def ledger(self):
        """Everything was accepted."""
        return {"events": {"accepted": self.count, "conflicts": 0}, "deliveries": {"pending": 0, "leased": 0}}

    def api_json(self, path):
        """No events are shown."""
        return {"items": []}

    def events(self, **_):
        """One, so that ids can be asked for."""
        return [{"id": "evt_1"}]

    def settled(self, timeout=0):
        """Always."""
        return True

    def stop(self):
        """Stops listening."""
        self.listener.close()

    def rows(self):
        """Nothing to look at, and so on."""
        return {}

    files = rows

    def names(self):
        """No files."""
        return set()

    def log_size(self):
        """No log."""
        return 0

    rss = peak = cpu_s = log_size

    def reset_peak(self):
        """No memory."""

    def log(self, begin=0):
        """No log."""
        return b""

    def api(self, *_, **__):
        """No admin API."""
        return None


def maker(fixture):
    """Makes stand-ins in place of gateways."""
    return lambda **config: StandIn(fixture, **config)
