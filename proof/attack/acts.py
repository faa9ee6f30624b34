"""What a sequence does to the gateway between its requests: kills and starts it, reloads it, floods it with other ids,
fills its disk."""

import os
import shutil
import subprocess
import tempfile
import threading
import time

import http1
import plan as plans
import request as requests

SMALL_DISK_BYTES = 24 << 20
# So many in a row, and the disk is full for good.
REFUSALS_MIN = 10


def perform(act, gateway, context):
    """Does it. Returns `(accepted events, problems)`."""
    return _ACTS[act.name](gateway, context, act.argument)


def _kill_and_start(gateway, context, _):
    # A kill in the midst of a delivery leaves its outcome unknown, so that it comes again: another matter, and a rig's.
    if not gateway.is_stand_in and not gateway.settled(60):
        return 0, ["a delivery did not settle before the kill"]
    gateway.kill()
    gateway.start()
    return 0, []


def _reload(gateway, context, _):
    begin = gateway.log_size()
    response = gateway.api("POST", "/api/v1/reload", {})
    if response is None or response.status >= 300:
        return 0, [f"a reload was answered {response.status if response else 'nothing'}"]
    gateway.hup()
    # Nothing is logged at `warn` about a reload that works, so that only a refusal can be seen.
    if b"config_reload_refused" in gateway.wait_log(begin, [b"config_reload_refused"], 0.3):
        return 0, ["a reload by SIGHUP was refused"]
    return 0, []


def _flood_genuine(gateway, context, argument):
    count, source = argument
    if gateway.is_stand_in:
        return 0, []  # It takes one request a connection, and it is not what floods are for.
    now = int(time.time())
    made = (plans.genuine(context, source, b'{"type":"flood","n":%d}' % n, f"flood-{now}-{n}", now)
            for n in range(count))
    statuses = pump(gateway.target, made)
    wrong = {status: n for status, n in statuses.items() if status != 202}
    return statuses.get(202, 0), ([f"of {count} genuine requests some were answered {wrong}"] if wrong else [])


def _flood_forged(gateway, context, argument):
    count, shot = argument
    if gateway.is_stand_in:
        return 0, []
    made = (requests.build(_with_id(shot, context, n), context).data for n in range(count))
    statuses = pump(gateway.target, made, window=1)
    wrong = {status: n for status, n in statuses.items() if status not in shot.expect_status}
    return 0, ([f"of {count} forged requests some were answered {wrong}"] if wrong else [])


def _with_id(shot, context, number):
    source = context.fixture.sources[requests.Builder(shot, context).source()]
    name = source.scheme.id_header or "X-Id"
    headers = [(k, f"forged-{number}" if k.lower() == name.lower() else v) for k, v in shot.headers]
    return plans.other(shot, headers=headers)


def pump(target, made, connections=16, window=64):
    """Sends many requests over a few connections, each with several on the way; counts the statuses."""
    counts, lock, source = {}, threading.Lock(), iter(made)

    def take():
        with lock:
            return [request for request, _ in zip(source, range(window))]

    def run():
        while batch := take():
            for status in _pipelined(target, batch):
                with lock:
                    counts[status] = counts.get(status, 0) + 1
    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def _pipelined(target, batch):
    """Statuses of a batch sent in one go. What is not answered, since the gateway hung up, is sent again."""
    statuses, left = [], list(batch)
    while left:
        reader = http1.Reader(False)
        try:
            with http1.connect(target, 20) as sock:
                sock.sendall(b"".join(left))
                while len(reader.responses) < len(left) and (got := sock.recv(1 << 16)):
                    reader.feed(got)
        except OSError:
            pass
        if not reader.responses:
            return statuses + [0] * len(left)
        statuses += [response.status for response in reader.responses]
        left = left[len(reader.responses):]
    return statuses


def small_disk():
    """What starts a process with a small disk of its own at a directory: `(wrapper command, directory)`. Needs a mount
    namespace, which root has and others may have."""
    directory = tempfile.mkdtemp(prefix="attack-disk-")
    script = f'mount -t tmpfs -o size={SMALL_DISK_BYTES} attack "$0" && exec "$@"'
    for flags in (["-m"], ["-U", "-r", "-m"]):
        wrapper = ["unshare", *flags, "sh", "-c", script, directory]
        try:
            if subprocess.run([*wrapper, "true"], capture_output=True, timeout=10).returncode == 0:
                return wrapper, directory
        except (OSError, subprocess.TimeoutExpired):
            pass
    shutil.rmtree(directory, ignore_errors=True)
    raise requests.CannotRun("a small disk needs a mount namespace, which is not allowed here")


def _filler(gateway):
    # Seen from outside, the directory is empty: the mount is in the process's own namespace.
    return f"/proc/{gateway.process.pid}/root{os.path.dirname(gateway.data)}/filler"


def _fill(gateway, context, _):
    try:
        with open(_filler(gateway), "ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    pass
    except OSError as error:
        raise requests.CannotRun(f"the small disk cannot be filled from outside: {error}") from error
    return 0, []


def _use_up(gateway, context, source):
    """Genuine events until the store goes on refusing them: it may have room of its own on a full disk, and use it rightly;
    and what it gives back when it tidies up is taken at once."""
    accepted, size, refused = 0, 30_000, 0
    for number in range(3000):
        body = b'{"type":"filler","filler":"%s"}' % context.random.randbytes(size).hex().encode()
        data = plans.genuine(context, source, body, f"filler-{number}-{context.random.getrandbits(40)}", int(time.time()))
        status = http1.exchange(gateway.target, data, extra=0).status
        if status not in (202, 503):
            return accepted, [f"on a full disk a genuine request was answered {status}"]
        accepted += status == 202
        refused = refused + 1 if status == 503 else 0
        if refused and size > 10:
            size, refused = 10, 0  # What has no room for a long one may have it for a short one.
        elif refused > REFUSALS_MIN:
            return accepted, []
        elif refused:
            time.sleep(0.1)
            _fill(gateway, context, None)
    return accepted, ["the store went on accepting although the disk is full"]


def _free(gateway, context, _):
    os.unlink(_filler(gateway))
    return 0, []


def _retry(gateway, context, request):
    deadline = time.monotonic() + 5
    while True:
        got = http1.exchange(gateway.target, request.data, extra=0)
        if got.status == 202:
            return 1, []
        if got.status != 503 or time.monotonic() > deadline:
            return 0, [f"the same bytes were answered {got.status} after the disk was freed"]
        time.sleep(0.05)


_ACTS = {
    "kill and start": _kill_and_start,
    "reload": _reload,
    "flood of genuine ids": _flood_genuine,
    "flood of forged ids": _flood_forged,
    "fill the disk": _fill,
    "use up the store": _use_up,
    "free the disk": _free,
    "retry until accepted": _retry,
}
