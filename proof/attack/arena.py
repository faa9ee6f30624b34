"""The place in which shots are fired: a handler, a canary, and gateways with a plain and a TLS listener. After each shot
a signed control request has to get through as if nothing had happened."""

import contextlib
import os
import random
import threading
import time

import gateway as gateways
import handler as handlers
import healthy
import http1

CONTROL_S = 1.0
DELIVERY_S = 60.0


class Arena:
    """One of these belongs to one thread."""

    def __init__(self, fixture, seed, make=None):
        self.fixture, self.seed = fixture, seed
        self.handler = handlers.Handler()
        self.canary = handlers.Canary()
        self.canary_file = os.path.join(fixture.fresh("canary"), "touched")
        self.random = random.Random(seed)
        self._make = make or (lambda **config: gateways.Gateway(fixture, self.handler, **config))
        self._kept = {}
        self.controls, self.lock = 0, threading.Lock()

    def kept(self, tls, log_filter="trace"):
        """The gateway that is kept from shot to shot."""
        key = (tls, log_filter)
        if key not in self._kept or not self._kept[key].alive:
            self._kept[key] = self._make(tls=tls, log_filter=log_filter, log_format="json" if tls else "text")
        return self._kept[key]

    def forget(self, tls):
        """Makes the next shot begin with another gateway."""
        for key in [key for key in self._kept if key[0] == tls]:
            self._kept.pop(key).stop()

    @contextlib.contextmanager
    def fresh(self, tls=False, **config):
        """A gateway of its own, with an empty store."""
        config.setdefault("log_format", "json" if tls else "text")
        made = self._make(tls=tls, **config)
        try:
            yield made
        finally:
            made.stop()

    def close(self):
        """Stops everything."""
        for made in self._kept.values():
            made.stop()
        self.handler.close()
        self.canary.close()

    def control_request(self, keep=False):
        """A genuine request that nobody has sent before, as `(bytes, body)`."""
        with self.lock:
            self.controls += 1
        body = b'{"control":%d,"noise":"' % self.controls + self.random.randbytes(24).hex().encode() + b'"}\xff\x00'
        source = self.fixture.sources["ctl"]
        headers = source.signed(body, self.random.randbytes(12).hex(), int(time.time()))
        return http1.request_bytes("POST", source.path, headers + ([] if keep else [("Connection", "close")]), body), body

    def control(self, gateway):
        """`None` when a control request is answered 202 within a second and delivered as it was; else what went
        wrong."""
        data, body = self.control_request()
        mark = self.handler.mark()
        waited = healthy.Starvation(gateway)
        got = http1.exchange(gateway.target, data, timeout=10 * CONTROL_S, extra=0)
        if got.status != 202:
            return f"the control request was answered {got.status} after {got.seconds:.2f} s"
        # Not counting the time for which the machine did not let them run.
        if got.seconds - waited.seconds() > CONTROL_S:
            return f"the control request took {got.seconds:.2f} s"
        if gateway.is_stand_in:
            return None
        arrived = self.handler.wait(mark, lambda seen: any(r.body == body for r in seen), DELIVERY_S)
        if sum(r.body == body for r in arrived) != 1:
            return f"the control event was delivered {sum(r.body == body for r in arrived)} times"
        return None
