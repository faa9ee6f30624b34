"""A gateway as a child process: its config, its start and end, and everything that can be seen of it from outside.
Knows the product's command line, admin API and log; judges nothing."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse

import http1
import keys
import sources

READY_S = 60.0
EXEC_TIMEOUT_S = 3
# The longest delay between two attempts in the fixture, in seconds.
RETRY_CAP_S = 3600

HERE = os.path.dirname(os.path.abspath(__file__))

# A log in which only warnings and the line about being ready are.
QUIET = "warn,tenterhook::cli::serve=info"


class StartFailed(Exception):
    """It did not come up; with what it said."""


class Fixture:
    """What all gateways of a run share: binary, keys, sources, certificate."""

    def __init__(self, binary, seed, directory, is_open=False):
        self.binary, self.seed, self.directory, self.is_open = binary, seed, directory, is_open
        os.makedirs(directory, exist_ok=True)
        self.ring = keys.KeyRing(seed, directory)
        self.sources = sources.build(self.ring)
        self.cert, self.key = keys.certificate(directory)
        self.tokens = {"admin": self.ring.text("admin"), "operator": self.ring.text("operator"),
                       "readonly": self.ring.text("readonly")}
        self.made = 0

    @property
    def secrets(self):
        """Every text that must never be shown by anything."""
        texts = [text for source in self.sources.values() for text in source.environment.values()]
        texts += self.tokens.values()
        # Of a compound secret the part that is secret.
        return [text.removeprefix("whsec_").removeprefix("hook:") for text in texts]

    def environment(self):
        """The variables of a gateway."""
        found = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "NO_COLOR": "1"}
        for source in self.sources.values():
            found.update(source.environment)
        for role, token in self.tokens.items():
            found[f"ADMIN_{role.upper()}"] = token
        return found

    def fresh(self, name):
        """A new directory."""
        self.made += 1
        path = os.path.join(self.directory, f"{name}-{self.made}-{time.time_ns() % 10**6}")
        os.makedirs(path)
        return path

    def config(self, directory, handler, tls=False, log_filter="trace", log_format="text", server="", app="",
               store="sqlite:tenterhook.db", more_sources="", unrouted=(), admin=True, body_timeout="5s",
               header_timeout="8s", app_timeout="30s"):
        """The config file of a gateway."""
        command = json.dumps([sys.executable, "-S", os.path.join(HERE, "exec_target.py"), directory])
        parts = [f'[server]\nlisten = "127.0.0.1:0"\nadmin_listen = "127.0.0.1:0"\ncommit_timeout = "30s"\n'
                 f'header_timeout = "{header_timeout}"\ntrusted_proxies = ["127.0.0.2"]\ngrace = "2s"\n{server}\n'
                 f'log = {{ format = "{log_format}", filter = "{log_filter}" }}\n']
        if tls:
            parts.append(f'[server.tls]\ncertificate_file = "{self.cert}"\nkey_file = "{self.key}"\n')
        parts.append(f'[store]\nurl = "{store}"\n')
        for role, kind in [("admin", "operator"), ("operator", "operator"), ("readonly", "viewer")] if admin else []:
            parts.append(f'[[admin_tokens]]\nname = "{role}"\nrole = "{kind}"\ntoken = "env:ADMIN_{role.upper()}"\n')
        # The control: nobody is asked for a signature.
        parts += [source.unsigned() if self.is_open and source.name != "ctl" else source.toml(body_timeout)
                  for source in self.sources.values()] + [more_sources]
        parts.append(f'[destinations.app]\ntype = "http"\nurl = "{handler.url("/app")}"\ntimeout = "{app_timeout}"\n'
                     f'breaker = {{ failures = 100000 }}\nretry = {{ base = "1s", cap = "{RETRY_CAP_S}s" }}\n{app}\n')
        parts.append(f'[destinations.control]\ntype = "http"\nurl = "{handler.url("/control")}"\n')
        parts.append(f'[destinations.exec]\ntype = "command"\ncommand = {command}\ntimeout = "{EXEC_TIMEOUT_S}s"\n'
                     'concurrency = 2\nretry = { base = "1s", attempts_max = 1 }\nbreaker = { failures = 100000 }\n')
        for name in self.sources:
            if name not in unrouted:
                place = {"exec": "exec", "ctl": "control"}.get(name, "app")
                parts.append(f'[[routes]]\nsource = "{name}"\ndestination = "{place}"\n')
        return "\n".join(parts)


class Gateway:
    """One running gateway."""

    is_stand_in = False

    def __init__(self, fixture, handler, directory=None, wrapper=(), data=None, **config):
        self.fixture, self.handler = fixture, handler
        self.tls = config.get("tls", False)
        self.directory = directory or fixture.fresh("gateway")
        self.data = data or os.path.join(self.directory, "tenterhook.db")
        self.wrapper = list(wrapper)
        self.write_config(fixture.config(self.directory, handler, **config))
        self.log_path = os.path.join(self.directory, "stderr.log")
        self.process = None
        self.scanned = 0
        self.start()

    def write_config(self, text):
        """Replaces the config file."""
        self.config_path = os.path.join(self.directory, "tenterhook.toml")
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, **popen):
        """Starts it and waits until it says that it is ready."""
        begin = self.log_size()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, self.fixture.binary, "serve", "--config", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                env=self.fixture.environment(), **popen)
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            said = self.log(begin)
            if ports := _ports(said):
                self.target = http1.Target("127.0.0.1", ports[0], self.tls)
                self.admin = http1.Target("127.0.0.1", ports[1])
                return
            if self.process.poll() is not None:
                raise StartFailed(self.log(begin).decode("utf-8", "replace")[-2000:])
            time.sleep(0.005)
        self.kill()
        raise StartFailed("not ready in time: " + self.log(begin).decode("utf-8", "replace")[-2000:])

    def stop(self):
        """Ends it, by force if need be."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        """SIGKILL."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def hup(self):
        """Asks it to read its config again."""
        self.process.send_signal(signal.SIGHUP)

    @property
    def alive(self):
        """Whether the process runs."""
        return self.process.poll() is None

    # What it says.

    def log_size(self):
        """Bytes logged so far."""
        try:
            return os.path.getsize(self.log_path)
        except OSError:
            return 0

    def log(self, begin=0, limit=64 << 20):
        """What was logged since."""
        try:
            with open(self.log_path, "rb") as file:
                file.seek(begin)
                return file.read(limit)
        except OSError:
            return b""

    def wait_log(self, begin, words, timeout=5.0):
        """Waits until one of the words is logged; returns what is there then."""
        deadline = time.monotonic() + timeout
        while True:
            said = self.log(begin)
            if any(word in said for word in words) or time.monotonic() > deadline:
                return said
            time.sleep(0.01)

    # What it tells over the admin API.

    def api(self, method, path, body=None, token="admin", headers=()):
        """Asks the admin API; `(response or None)`."""
        fields = list(headers)
        if token:
            fields.append(("Authorization", "Bearer " + self.fixture.tokens[token]))
        data = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            fields.append(("Content-Type", "application/json"))
        request = http1.request_bytes(method, path, [*fields, ("Connection", "close")], data)
        return http1.exchange(self.admin, request, timeout=60, extra=0).first

    def api_json(self, path):
        """The JSON that a GET answers with."""
        response = self.api("GET", path)
        if response is None or response.status != 200:
            raise OSError(f"GET {path}: {response.status if response else 'no answer'}")
        return json.loads(response.body)

    def ledger(self):
        """The ledger."""
        return self.api_json("/api/v1/ledger")

    def accepted(self):
        """Events accepted so far."""
        return self.ledger()["events"]["accepted"]

    def events(self, source=None, after=None, limit=1000):
        """Events, oldest first."""
        query = {"order": "asc", "limit": limit}
        query |= {"source": source} if source else {}
        query |= {"after": after} if after else {}
        return self.api_json("/api/v1/events?" + urllib.parse.urlencode(query))["items"]

    def event(self, event_id):
        """One event in detail."""
        return self.api_json("/api/v1/events/" + urllib.parse.quote(event_id))

    def body(self, event_id):
        """Its stored bytes."""
        response = self.api("GET", f"/api/v1/events/{urllib.parse.quote(event_id)}/body")
        return response.body if response and response.status == 200 else None

    def settled(self, timeout=60.0):
        """Waits until nothing is pending or leased; whether that came true."""
        deadline = time.monotonic() + timeout
        while True:
            deliveries, files = self.ledger()["deliveries"], self.files()
            if deliveries["pending"] == deliveries["leased"] == 0:
                # The last write may not be on its way any more, either.
                time.sleep(0.01)
                if self.files() == files:
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)

    # What its files and the kernel tell.

    @property
    def seen_data(self):
        """Where the database is seen from here: a process with mounts of its own shows them below its `root`."""
        return f"/proc/{self.process.pid}/root{self.data}" if self.wrapper else self.data

    def rows(self):
        """Rows per table, read from the database itself; `probe` is scratch space of the store."""
        if self.wrapper:
            return {}  # In a mount namespace of its own, where SQLite cannot follow; the ledger has to do.
        connection = sqlite3.connect(f"file:{urllib.parse.quote(self.seen_data)}?mode=ro", uri=True, timeout=5)
        try:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
            return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
                    for name in names if name != "probe" and not name.startswith("sqlite_")}
        finally:
            connection.close()

    def files(self):
        """Size and time of change of each file of the store."""
        found = {}
        for suffix in ("", "-wal"):
            try:
                state = os.stat(self.seen_data + suffix)
                found["db" + suffix] = (state.st_size, state.st_mtime_ns)
            except FileNotFoundError:
                pass
        return found

    def names(self):
        """Every file in its directory."""
        return {name for name in os.listdir(self.directory) if not name.startswith(("run-", "pids"))}

    def runs(self):
        """What the fixture's command wrote down, by file."""
        found = {}
        for name in sorted(os.listdir(self.directory)):
            if name.startswith("run-") and name.endswith(".json"):
                with open(os.path.join(self.directory, name), encoding="utf-8", errors="surrogateescape") as file:
                    found[name] = json.load(file)
        return found

    def _status(self, key):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii", errors="replace") as file:
            match = re.search(rf"^{key}:\s+(\d+) kB", file.read(), re.MULTILINE)
        return int(match.group(1)) * 1024 if match else 0

    def rss(self):
        """Resident memory now, in bytes."""
        return self._status("VmRSS")

    def peak(self):
        """The most resident memory since the last `reset_peak`, in bytes."""
        return self._status("VmHWM")

    def reset_peak(self):
        """Begins the peak anew."""
        try:
            with open(f"/proc/{self.process.pid}/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            pass  # Then the peak counts from the start, which is stricter.

    def cpu_s(self):
        """CPU time of all threads, in seconds."""
        total = 0
        try:
            for task in os.listdir(f"/proc/{self.process.pid}/task"):
                with open(f"/proc/{self.process.pid}/task/{task}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0])
        except OSError:
            pass
        return total / 1e9

    def zombies(self):
        """Children that nobody has waited for."""
        return [pid for pid in _children(self.process.pid) if process_state(pid) == "Z"]


def _ports(said):
    found = []
    for name in (b"ingress", b"admin"):
        match = re.search(rb'gateway_ready[^\n]*?"?' + name + rb'"?[=:]"?127\.0\.0\.1:(\d+)', said) or \
            re.search(rb'"' + name + rb'":"127\.0\.0\.1:(\d+)"[^\n]*gateway_ready', said)
        if not match:
            return None
        found.append(int(match.group(1)))
    return found


def _children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def process_state(pid):
    """The state of a process, as the kernel names it; empty when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def free_port():
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
