"""Configs that must be refused, one for each mistake that people make, with what the refusal has to name. Secrets are
read from a file beside the config, so that the same mistake can be made at the start and at a reload."""

import dataclasses

GOOD = "a-good-secret-of-32-bytes-123456"


@dataclasses.dataclass
class Mistake:
    """One of them. `tag`: what a case has to speak of for it to be tried."""
    name: str
    tag: str
    source: str = 'provider = "github"\nsecrets = ["file:secret"]'
    secret: str | bytes = GOOD
    names: tuple = ()
    rest: str = ""  # further sections
    server: str = ""
    route: str = 's"\ndestination = "app'
    destination: str = 'type = "http"\nurl = "http://127.0.0.1:9/x"'
    tokens: str | None = None
    whole: str | None = None

    def toml(self, listen="127.0.0.1:0", admin="127.0.0.1:0"):
        """The config."""
        if self.whole is not None:
            return self.whole
        return (f'[server]\nlisten = "{listen}"\nadmin_listen = "{admin}"\n{self.server}\n'
                f'[store]\nurl = "sqlite:mistake.db"\n{self.tokens or ""}\n[sources.s]\n{self.source}\n'
                f'[destinations.app]\n{self.destination}\n[[routes]]\nsource = "{self.route}"\n{self.rest}\n')


MAC = 'header = "X-Sig", mac = "hmac-sha256", encoding = "hex"'


def _custom(table, more='secrets = ["file:secret"]'):
    return f"verify = {table}\n{more}"


def _stamped(tolerance):
    return _custom('{ header = "X-Sig", mac = "hmac-sha256", encoding = "hex", content = "{t}.{body}", '
                   f'timestamp = {{ header = "X-T", tolerance = {tolerance} }} }}')


def _secrets():
    bad = {
        "empty": "", "one blank": " ", "blanks": " " * 32, "blank at the end": GOOD + " ", "blank before": " " + GOOD,
        "tab at the end": GOOD + "\t", "two line ends": GOOD + "\n\n", "changeme": "changeme", "secret": "secret",
        "password": "password", "test_secret": "test_secret", "whsec_": "whsec_", "CHANGEME": "CHANGEME",
        "unexpanded variable": "${GITHUB_WEBHOOK_SECRET}", "one byte": "a", "15 bytes": "a23456789012345",
    }
    for name, text in bad.items():
        yield Mistake(f"secret: {name}", "secret", secret=text, names=("sources.s",))
    for name, reference in [
        ("variable that is not set", "env:THERE_IS_NO_SUCH_VARIABLE"), ("file that is not there", "file:nowhere"),
        ("directory", "file:."), ("command that fails", "exec:false"), ("command that is not there", "exec:no-such-cmd"),
        ("command that says nothing", "exec:true"), ("literal", GOOD), ("empty reference", ""), ("env without name", "env:"),
    ]:
        yield Mistake(f"reference: {name}", "secret", f'provider = "github"\nsecrets = ["{reference}"]',
                      names=("sources.s",))
    for name, source in [
        ("no secrets", 'provider = "github"'), ("empty list of secrets", 'provider = "github"\nsecrets = []'),
        ("all secrets over", 'provider = "github"\nsecrets = [{ ref = "file:secret", not_after = "2020-01-01" }]'),
        ("secret that is a number", 'provider = "github"\nsecrets = [42]'),
    ]:
        yield Mistake(name, "secret", source, names=("sources.s",))
    for name, text in [("whsec_ that is no base64", "whsec_!!!!not-base64!!!!!!!!!!!!"),
                       ("whsec_ of 8 bytes", "whsec_QUFBQUFBQUE=")]:
        yield Mistake(name, "secret", 'provider = "standard-webhooks"\nsecrets = ["file:secret"]', text, ("sources.s",))


def _verifiers():
    for name, table in [
        ("empty verifier", "{}"), ("verifier without a MAC", '{ header = "X-Sig" }'),
        ("verifier without a header", '{ mac = "hmac-sha256" }'),
        ("MAC that is broken", '{ header = "X-Sig", mac = "hmac-md5", encoding = "hex" }'),
        ("encoding that is none", '{ header = "X-Sig", mac = "hmac-sha256", encoding = "rot13" }'),
        ("content that covers nothing", '{ ' + MAC + ', content = "constant" }'),
        ("unknown key in the verifier", '{ ' + MAC + ', sloppy = true }'),
        ("MAC and algorithm", '{ ' + MAC + ', algorithm = "ed25519" }'),
        ("verifier that is a word", '"maybe"'), ("`none` without `allow_unsigned`", '"none"'),
        ("header that is no name", '{ header = "X Sig", mac = "hmac-sha256" }'),
    ]:
        yield Mistake(name, "verif", _custom(table), names=("sources.s",))
    yield Mistake("`allow_unsigned` as a word", "verif", 'verify = "none"\nallow_unsigned = "yes"', names=("sources.s",))
    yield Mistake("provider and verifier", "verif", 'provider = "github"\n' + _custom("{ " + MAC + " }"),
                  names=("sources.s",))
    for name, tolerance in [("0", '"0s"'), ("0 as a number", "0"), ("negative", '"-5m"'), ("over a day", '"25h"'),
                            ("no unit", '"300"'), ("no time at all", '"soon"'), ("infinite", '"inf"')]:
        yield Mistake(f"tolerance of the verifier: {name}", "tolerance", _stamped(tolerance), names=("sources.s",))
        yield Mistake(f"tolerance of the source: {name}", "tolerance",
                      f'provider = "stripe"\nsecrets = ["file:secret"]\ntolerance = {tolerance}', names=("sources.s",))


def _rest():
    github = 'provider = "github"\nsecrets = ["file:secret"]\n'
    for name, tag, line in [
        ("unknown key", "unknown key|typo", "secretz = 1"), ("misspelt key", "unknown key|typo", 'on_repaet = "deliver"'),
        ("unknown choice", "unknown key|value", 'on_repeat = "perhaps"'), ("path without a slash", "path", 'path = "gh"'),
        ("body limit of nothing", "limit|size", "body_bytes_max = 0"), ("body limit that is no size", "limit|size",
                                                                       'body_bytes_max = "big"'),
        ("address that is none", "address|allow", 'allow_from = ["192.0.2"]'), ("unknown scheme", "scheme|provider",
                                                                              'scheme = "nothing"'),
        ("rate of nothing", "rate|limit", 'rate = "0/s"'),
    ]:
        yield Mistake(name, tag, github + line, names=("sources.s",))
    yield Mistake("unknown provider", "provider", 'provider = "nobody"\nsecrets = ["file:secret"]', names=("sources.s",))
    yield Mistake("unknown section", "unknown key|section", rest='[sorces.x]\nprovider = "github"', names=("sorces",))
    yield Mistake("source called health", "name|path", rest='[sources.health]\n' + github, names=("health",))
    yield Mistake("one path twice", "path|duplicate", rest='[sources.t]\n' + github + 'path = "/webhooks/s"',
                  names=("sources.",))
    yield Mistake("one source twice", "duplicate|syntax", rest='[sources.s]\n' + github)
    yield Mistake("route to nowhere", "route|destination", route='s"\ndestination = "nowhere', names=("nowhere",))
    yield Mistake("route from nowhere", "route", route='nobody"\ndestination = "app', names=("nobody",))
    yield Mistake("destination that is no URL", "destination|url", destination='type = "http"\nurl = "ftp://x/"',
                  names=("destinations.app",))
    yield Mistake("command of no words", "destination|command", destination='type = "command"\ncommand = []',
                  names=("destinations.app",))
    yield Mistake("proxy that is no address", "prox|address", server='trusted_proxies = ["everybody"]',
                  names=("trusted_proxies",))
    yield Mistake("certificate that is not there", "tls|certificate",
                  server='tls = { certificate_file = "nowhere.pem", key_file = "nowhere.key" }', names=("tls",))
    yield Mistake("listener that is no address", "listen", server="", names=("listen",),
                  whole='[server]\nlisten = "here"\n')
    yield Mistake("not TOML", "syntax|toml", whole="[server\nlisten = 1\n", names=())


def _admin():
    tokens = '[[admin_tokens]]\nname = "a"\nrole = "operator"\ntoken = "{}"\n'
    for name, text in [("short token", "file:short"), ("7 characters", "file:seven"), ("example token", "file:changeme"),
                       ("token not set", "env:THERE_IS_NO_SUCH_VARIABLE"), ("literal token", "a" * 40)]:
        yield Mistake(f"admin: {name}", "admin|token", tokens=tokens.format(text), names=("admin_tokens",))
    yield Mistake("admin: open and off loopback", "admin|token", names=("admin",))
    yield Mistake("admin: said to be open, off loopback", "admin|token", server='admin_auth = "none"', names=("admin",))
    yield Mistake("admin: tokens wanted, none given", "admin|token", server='admin_auth = "tokens"', names=("admin",))


FILES = {"short": "0123456789", "seven": "1234567", "changeme": "changeme"}

ALL = [*_secrets(), *_verifiers(), *_rest(), *_admin()]
