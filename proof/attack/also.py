"""The sentences under `also` that a machine can check, each as a pattern and a function of what was seen. What no pattern
fits is reported as not checked, never as passed."""

import json
import re
import statistics
import urllib.parse

import fire
import gateway as gateways
import http1
import mutations
import watch

_RULES = []


def rule(pattern):
    """Registers a check: `function(fired, match)` returns the problems."""
    def add(function):
        _RULES.append((re.compile(pattern, re.IGNORECASE | re.DOTALL), function))
        return function
    return add


def check(fired):
    """`(problems, sentences that nobody could check)`."""
    problems, unchecked = [], []
    for sentence in fired.shot.also:
        for pattern, function in _RULES:
            if match := pattern.search(sentence):
                problems += [f"{problem} [also: {sentence}]" for problem in function(fired, match) or []]
                break
        else:
            unchecked.append(sentence)
    return problems, unchecked


@rule(r'process alive|panicked|never 5xx|canary (listener )?sees 0|canary file absent|^2xx <=> event stored'
      r'|delivered bytes (are )?(sha256-)?identical|^run against source|refusal to start|^no collision with'
      r'|^genuine request|dedupe table row count|(canary_secret\S*|secrets?) absent from (the )?logs?')
def _always(fired, match):
    """Looked at after every shot, or part of what the plan does."""
    return []


@rule(r"event count = (\d+), or event 2 carries replay_suspect")
def _count_or_flag(fired, match):
    if fired.facts["new"] == int(match.group(1)):
        return []
    late = fired.events[int(match.group(1)):]
    flagged = [fired.gateway.event(event["id"])["replay_suspect"] for event in late]
    told = [r.header("tenterhook-replay-suspect") for r in fired.received
            if r.header("tenterhook-event-id") in {event["id"] for event in late}]
    if late and all(flagged) and all(value == "true" for value in told):
        return []
    return [f"{fired.facts['new']} events, and the later ones are not flagged"]


@rule(r"event count = (\d+)")
def _count(fired, match):
    problems = []
    if fired.facts["new"] != int(match.group(1)):
        problems.append(f"{fired.facts['new']} new events")
    return problems + (_retry_after(fired, match) if "retry-after" in match.string.lower() else [])


@rule(r"event count = number of distinct")
def _distinct(fired, match):
    expected = fired.plan.distinct if fired.plan.distinct is not None else len({s.request.data for s, _ in fired.sent})
    return [] if fired.facts["new"] == expected else [f"{fired.facts['new']} new events of {expected}"]


@rule(r"exactly one HTTP response|no second response")
def _one_response(fired, match):
    return [f"{len(exchange.responses)} responses" for exchange in fired.exchanges if len(exchange.responses) > 1]


@rule(r'no "100 Continue" on the wire')
def _no_continue(fired, match):
    return ["there was one"] if any(100 in exchange.interim for exchange in fired.exchanges) else []


@rule(r'no "([^"]+)" (on the wire|in the (response|answer))')
def _not_on_the_wire(fired, match):
    return ["there was one"] if any(match.group(1).encode() in e.raw for e in fired.exchanges) else []


@rule(r"exactly one (\d{3})\b")
def _one_of_them(fired, match):
    found = sum(exchange.status == int(match.group(1)) for exchange in fired.exchanges)
    return [] if found == 1 else [f"there were {found}"]


@rule(r"(response|answer|body) (does not|never) (contains?|echo(es)?|reflects?) (the |a )?(challenge|token)")
def _no_echo(fired, match):
    problems = []
    for step, exchange in fired.sent:
        asked = re.findall(rb'"(?:challenge|plainToken|verification_token)"\s*:\s*"([^"]+)"', step.request.body)
        query = urllib.parse.urlsplit(step.request.path).query
        asked += [value.encode() for name, value in urllib.parse.parse_qsl(query) if re.search(r"challenge|crc_token", name)]
        problems += ["it does" for text in asked if exchange.first and text in exchange.first.body]
    return problems


@rule(r'^answer is "([^"]*)"')
def _answer_is(fired, match):
    said = [e.first.body.decode("utf-8", "replace") if e.first else None for e in fired.exchanges]
    return [f"it is {text!r}" for text in said if text != match.group(1)]


@rule(r'^answer holds "([^"]*)"')
def _answer_holds(fired, match):
    return ["it does not" for e in fired.exchanges if match.group(1).encode() not in e.raw]


@rule(r"Retry-After present")
def _retry_after(fired, match):
    problems = []
    for exchange in fired.exchanges:
        if exchange.status in (429, 503):
            value = exchange.first.header("retry-after")
            if value is None or not value.isdigit() or not 1 <= int(value) <= 300:
                problems.append(f"Retry-After is {value!r}")
    return problems


@rule(r"^no (text/[\w.+-]+|application/[\w.+-]+)$")
def _no_type(fired, match):
    return [f"content-type is {_header(e, 'content-type')}" for e in fired.exchanges
            if match.group(1) in (_header(e, "content-type") or "")]


@rule(r"^no `?([A-Za-z-]+)`? header$")
def _no_header(fired, match):
    return [f"there is {_header(e, match.group(1))!r}" for e in fired.exchanges if _header(e, match.group(1)) is not None]


@rule(r"^([a-z][a-z0-9-]*): (.+)$")
def _has_header(fired, match):
    problems = []
    for exchange in fired.exchanges:
        value = _header(exchange, match.group(1))
        if value is None or not value.lower().startswith(match.group(2).lower()):
            problems.append(f"it is {value!r}")
    return problems


def _header(exchange, name):
    return exchange.first.header(name) if exchange.first else None


@rule(r"<= ([\d,]+) rows returned")
def _rows(fired, match):
    problems = []
    for exchange in fired.exchanges:
        if exchange.status == 200:
            items = json.loads(exchange.first.body).get("items", [])
            if len(items) > mutations.number(match.group(1)):
                problems.append(f"{len(items)} rows")
    return problems


@rule(r"RSS growth <= body limit \+ (\d+) MiB")
def _rss_body(fired, match):
    # GitHub's documented maximum, which is the largest of the fixture's sources.
    return _grown(fired, (25 << 20) + (int(match.group(1)) << 20))


@rule(r"RSS (?:growth|\+<|\+<=|grows?) ?(?:<=? ?)?(\d+) MiB")
def _rss_grows(fired, match):
    return _grown(fired, int(match.group(1)) << 20)


@rule(r"RSS <=? ?(\d+) MiB")
def _rss(fired, match):
    peak = fired.gateway.peak()
    return [f"the peak is {peak >> 20} MiB"] if peak > int(match.group(1)) << 20 else []


def _grown(fired, allowed):
    grown = fired.gateway.peak() - fired.facts["rss"]
    return [f"it grew by {grown / 2**20:.1f} MiB"] if grown > allowed else []


@rule(r"same body(/latency class)? as ([A-Z]+-\d+)")
def _same_body(fired, match):
    other = fired.facts["reference"](match.group(2))
    mine, theirs = _answer(fired, fired.sent[-1][0]), _answer(fired, other)
    problems = [] if _anonymous(mine) == _anonymous(theirs) else [f"{_anonymous(mine)} against {_anonymous(theirs)}"]
    if match.group(1):
        own, reference = [statistics.median(_answer(fired, step).seconds for _ in range(15))
                          for step in (fired.sent[-1][0], other)]
        # A class, not a proof: what leaks the secret itself is a matter of `statistical` cases.
        if abs(own - reference) > 0.02 and max(own, reference) > 5 * min(own, reference):
            problems.append(f"{own * 1000:.1f} ms against {reference * 1000:.1f} ms")
    return problems


def _answer(fired, step):
    return http1.exchange(fired.gateway.target, step.request.data, extra=0)


def _anonymous(exchange):
    """Status, fields and body without what is different in every answer."""
    if exchange.first is None:
        return None
    fields = sorted((k, v) for k, v in exchange.first.headers
                    if k not in ("tenterhook-correlation-id", "date", "connection", "content-length"))
    body = re.sub(rb'"correlation_id":"[0-9a-f]+"', b"", exchange.first.body)
    return exchange.first.status, fields, body


@rule(r"CPU time for the request <= (\d+)x ([A-Z]+-\d+)")
def _cpu(fired, match):
    other = fired.facts["reference"](match.group(2))
    with fired.arena.fresh(tls=fired.gateway.tls, log_filter=gateways.QUIET) as quiet:
        cost = []
        for step in (other, fired.sent[-1][0]):
            begin = quiet.cpu_s()
            for _ in range(100):
                http1.exchange(quiet.target, step.request.data, extra=0)
            cost.append(quiet.cpu_s() - begin)
    # A request of 48 KB has to be read: that costs by the byte, whatever is done with it then.
    sizes = [len(step.request.data) for step in (other, fired.sent[-1][0])]
    allowed = int(match.group(1)) * cost[0] + 100 * (sizes[1] - sizes[0]) * 20e-9
    return [f"{cost[1] * 10:.2f} ms against {cost[0] * 10:.2f} ms"] if cost[1] > allowed else []


@rule(r"log line count = request count")
def _log_lines(fired, match):
    lines = fired.gateway.log(fired.before.log).decode("utf-8", "replace")
    forged = [line for line in lines.split("\n") if re.match(r"^\W*(2026-01-01T00:00:00Z INFO forged|level=info)", line)]
    return [f"a forged line: {forged[0][:100]!r}"] if forged else []


@rule(r"no byte < 0x20 except")
def _printable_log(fired, match):
    said = fired.gateway.log(fired.before.log)
    bad = sorted({byte for byte in said if byte < 0x20 and byte != 0x0A} | ({0x7F} & set(said)))
    return [f"bytes {bad} in the log"] if bad else []


@rule(r"expected MAC .*absent from logs and response")
def _no_mac(fired, match):
    problems = []
    said = fired.gateway.log(fired.before.log)
    for step, exchange in fired.sent:
        mac = (step.request.expected or "")[:8].encode()
        if mac and mac not in step.request.data and (mac in said or mac in exchange.raw):
            problems.append("it shows")
    return problems


@rule(r"canary secret strings absent from every admin response")
def _admin_secrets(fired, match):
    return [problem for answer in watch.api_answers(fired.gateway)
            for problem in watch.leaks(answer, fired.gateway.fixture.secrets, "an admin answer")]


@rule(r"POST \{\{admin\}\}(/\S+) with (.+) is not expanded")
def _not_expanded(fired, match):
    problems = []
    for text in re.findall(r"\$\{env:\w+\}|\{file\.[^}]+\}", match.group(2)):
        response = fired.gateway.api("POST", "/api/v1" + match.group(1), {"config": f'x = "{text}"'})
        if response is not None and (b"root:" in response.body or
                                     watch.leaks(response.body, fired.gateway.fixture.secrets, "it")):
            problems.append(f"{text} was expanded")
    return problems


_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "upgrade", "transfer-encoding", "authorization", "cookie",
               "proxy-authorization", "proxy-authenticate", "proxy-connection", "http2-settings"}


@rule(r"handler sees none of them")
def _none_forwarded(fired, match):
    problems = []
    for step, _ in fire.accepted(fired):
        sent = step.request.headers
        named = {n.strip().lower() for k, v in sent if k.lower() == "connection" for n in v.split(",")}
        for received in fired.received:
            problems += [f"it saw {k}: {v}" for k, v in sent
                         if k.lower() in _HOP_BY_HOP | named and v in received.all(k)]
    return problems


@rule(r"handler sees exactly one value, the gateway's")
def _own_headers(fired, match):
    problems = []
    for step, _ in fire.accepted(fired):
        for name, value in step.request.headers:
            if not re.match(r"tenterhook|webhook-", name, re.IGNORECASE):
                continue
            for received in fired.received:
                alike = [v for k, v in received.headers if k.replace("_", "-") == name.lower().replace("_", "-")]
                # Two clocks may well say the same second.
                is_theirs = value in alike and name.lower() != "webhook-timestamp"
                if is_theirs or len(alike) > 1:
                    problems.append(f"it saw {name}: {alike}")
    return problems


@rule(r"handler connection sees exactly one request on the configured host")
def _one_on_host(fired, match):
    hosts = {received.header("host") for received in fired.received}
    problems = [] if hosts <= {f"127.0.0.1:{fired.arena.handler.port}"} else [f"hosts {hosts}"]
    if len(fired.received) != len(fire.accepted(fired)):
        problems.append(f"{len(fired.received)} requests for {len(fire.accepted(fired))} events")
    return problems


@rule(r"same for handler response body shown in attempt view")
def _attempt_view(fired, match):
    return _shown_as_data(fired, [f"/api/v1/events/{event['id']}" for event in fired.events])


def _shown_as_data(fired, paths):
    problems = []
    for path in paths:
        response = fired.gateway.api("GET", path)
        if response is None or not (response.header("content-type") or "").startswith("application/json"):
            problems.append(f"{path} is {response.header('content-type') if response else 'not answered'}")
    return problems


@rule(r"NUL/E2BIG => DLQ with a reason, worker survives")
def _worker_survives(fired, match):
    problems = []
    for event in fired.events:
        for delivery in fired.gateway.event(event["id"])["deliveries"]:
            if delivery["state"] == "dead" and not delivery["dead_reason"]:
                problems.append("dead without a reason")
    return problems + ([] if _runs_a_command(fired) else ["a command after it did not run"])


def _runs_a_command(fired):
    body = b'{"ref":"afterwards-%d"}' % fired.arena.random.getrandbits(64)
    source = fired.arena.fixture.sources["exec"]
    data = http1.request_bytes("POST", source.path, source.signed(body, "", 0), body)
    ran = set(fired.gateway.runs())
    if http1.exchange(fired.gateway.target, data, extra=0).status != 202 or not fired.gateway.settled():
        return False
    return any(run["body_hex"] == body.hex() for name, run in fired.gateway.runs().items() if name not in ran)


@rule(r"healthy client.*0 errors, p99")
def _healthy(fired, match):
    healthy = fired.facts.get("healthy")
    return healthy.problems() if healthy else ["there was no healthy client"]


@rule(r"log growth <= (\d+) (MiB|KiB)")
def _log_growth(fired, match):
    grown = fired.facts["log_after"] - fired.before.log
    return [f"{grown} bytes"] if grown > int(match.group(1)) << (20 if match.group(2) == "MiB" else 10) else []


@rule(r"/metrics size growth <= (\d+) KiB")
def _metrics_growth(fired, match):
    grown = fired.facts["metrics_after"] - fired.facts["metrics_before"]
    return [f"{grown} bytes"] if grown > int(match.group(1)) << 10 else []


@rule(r"store file size unchanged")
def _store_size(fired, match):
    before, after = ({k: size for k, (size, _) in files.items()}
                     for files in (fired.facts["files_before"], fired.facts["files_after"]))
    return [] if before == after else [f"{before} -> {after}"]


@rule(r"right token still works within (\d+) s|one signed request succeeds within (\d+) s"
      r"|store contains no plaintext token|next_attempt_at between|no cross-event success|truncated=true"
      r"|worker free within|whole process group killed|captured output <=|no zombie after"
      r"|exit code|exit != 0|port never opened|`check` says the same|running instance keeps old config")
def _by_the_driver(fired, match):
    """Measured by the one who drives the case: it says what it found."""
    done = fired.facts.get("done", ())
    return [] if any(re.search(words, match.string) for words in done) else ["nothing measured it"]
