"""The sources of the fixture: how each is configured in the gateway, and how its sender signs. A case names one by its
path, `/webhooks/{source}`, or in a placeholder, `{{sig:source}}`."""

import base64
import dataclasses
import re

import curves
import keys
import signer

# The source whose secret is not set: the gateway must refuse to start with it, so that it is tried on its own.
UNRESOLVED = "nosecret"

TWILIO_URL = "https://hooks.example.test/webhooks/twilio"


@dataclasses.dataclass
class Source:
    """One source: its lines of config, its secret, its sender."""
    name: str
    config: str
    scheme: signer.Scheme
    key: str | bytes | None = None
    secret_text: str | None = None  # as configured, to be found nowhere else
    headers: object = None  # (id, ts) -> the sender's other headers
    more_environment: dict = dataclasses.field(default_factory=dict)  # further secrets, by variable

    @property
    def path(self):
        """Where it listens."""
        return "/webhooks/" + self.name

    @property
    def environment(self):
        """The variables that its references name."""
        own = {} if self.secret_text is None else {variable(self.name): self.secret_text}
        return own | self.more_environment

    def toml(self, body_timeout):
        """Its section."""
        secrets = "" if self.secret_text is None else f'secrets = ["env:{variable(self.name)}"]\n'
        return f'[sources.{self.name}]\n{self.config}\n{secrets}body_timeout = "{body_timeout}"\n'

    def unsigned(self):
        """Its section with the door open: what the cases have to find out."""
        return f'[sources.{self.name}]\nverify = "none"\nallow_unsigned = true\n'

    def signed(self, body, event_id, ts, content_type="application/json", url=None):
        """The headers of a genuine request."""
        headers = [("Content-Type", content_type)]
        if self.headers:
            headers += self.headers(event_id, str(ts))
        signing = signer.Signing(headers, body, url or self.path, str(ts))
        if self.scheme.timestamp_header:
            headers.append((self.scheme.timestamp_header, self.scheme.stamp(ts)))
        headers.append((self.scheme.header, self.scheme.value(signing, self.key)))
        return headers

    def genuine(self, body, event_id, ts, content_type="application/json"):
        """Headers and body of a genuine request: the body is another one where the signature stands inside."""
        if self.scheme.seals_body:
            return [("Content-Type", "text/plain")], self.scheme.enclosed(body, event_id, int(ts))
        return self.signed(body, event_id, ts, content_type), body


def variable(name):
    """The environment variable of a source's secret."""
    return name.upper().replace("-", "_") + "_SECRET"


def build(ring):
    """Every source, by name, with the secrets of this run."""
    import providers  # Which builds on what is here.
    return {source.name: source
            for source in [*_catalog(ring), *_custom(ring), *_fixture(ring), *providers.build(ring)]}


def _catalog(ring):
    text = ring.text
    github = lambda id, ts: [("X-GitHub-Event", "ping"), ("X-GitHub-Delivery", id)]
    hook_id = lambda prefix: lambda id, ts: [(prefix + "id", id)]
    stamped = lambda prefix: {"timestamp_header": prefix + "timestamp", "id_header": prefix + "id",
                              "content": signer.standard_content(prefix)}
    shop = lambda id, ts: [("X-Shopify-Topic", "orders/create"), ("X-Shopify-Webhook-Id", id)]
    whpk = "whpk_" + base64.b64encode(curves.ed25519_public(ring.ed25519)).decode()
    yield Source("gh", 'provider = "github"', signer.Hmac("X-Hub-Signature-256", prefix="sha256="),
                 text("gh"), text("gh"), github)
    yield Source("gh1", 'provider = "github"\nscheme = "github-sha1"',
                 signer.Hmac("X-Hub-Signature", "sha1", prefix="sha1="), text("gh1"), text("gh1"), github)
    yield Source("stripe", 'provider = "stripe"',
                 signer.Hmac("Stripe-Signature", content=signer.stripe_content, wrap=signer.stripe_wrap),
                 text("stripe"), text("stripe"))
    yield Source("shopify", 'provider = "shopify"', signer.Hmac("X-Shopify-Hmac-Sha256", encoding="base64"),
                 text("shopify"), text("shopify"), shop)
    yield Source("slack", 'provider = "slack"',
                 signer.Hmac("X-Slack-Signature", prefix="v0=", content=signer.slack_content,
                             timestamp_header="X-Slack-Request-Timestamp"), text("slack"), text("slack"))
    yield Source("twilio", f'provider = "twilio"\npublic_url = "{TWILIO_URL}"',
                 signer.Hmac("X-Twilio-Signature", "sha1", "base64", content=signer.twilio_content(TWILIO_URL)),
                 text("twilio"), text("twilio"), lambda id, ts: [("I-Twilio-Idempotency-Token", id)])
    for name, provider, prefix in [("std", "standard-webhooks", "webhook-"), ("svix", "svix", "svix-")]:
        yield Source(name, f'provider = "{provider}"',
                     signer.Hmac(prefix + "signature", encoding="base64", prefix="v1,", key="whsec",
                                 **stamped(prefix)), ring.whsec(name), ring.whsec(name), hook_id(prefix))
        yield Source(name + "a", f'provider = "{provider}"\nscheme = "{provider}-asymmetric"\n'
                                 f'public_keys = ["{whpk}"]',
                     signer.Asymmetric(signer.ed25519(ring.ed25519), prefix + "signature", prefix="v1a,",
                                       **stamped(prefix)), whpk, None, hook_id(prefix))


def _custom(ring):
    text = ring.text
    token = lambda id, ts: [("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Event-UUID", id)]
    x_id = lambda id, ts: [("X-Id", id)]
    by_header = 'event_id = "header:X-Id"'
    yield Source("gitlab", 'verify = { header = "X-Gitlab-Token", algorithm = "token" }\n'
                           'event_id = "header:X-Gitlab-Event-UUID"\nevent_type = "header:X-Gitlab-Event"',
                 signer.Token("X-Gitlab-Token"), text("gitlab"), text("gitlab"), token)
    credentials = "hook:" + text("basic")
    yield Source("basic", f'verify = {{ algorithm = "basic", header = "Authorization" }}\n{by_header}',
                 signer.Basic(), credentials, credentials, x_id)
    for alg in ("sha384", "sha512"):
        yield Source(alg, f'verify = {{ header = "X-Sig", mac = "hmac-{alg}", encoding = "base64url", '
                          f'content = "{{method}} {{body}}" }}\n{by_header}',
                     signer.Hmac(alg=alg, encoding="base64url", content=lambda s: b"POST " + s.body),
                     text(alg), text(alg), x_id)
    yield Source("timed", 'verify = { header = "X-Sig", mac = "hmac-sha256", encoding = "hex", '
                          'content = "{t}.{header:X-Id}.{body}", timestamp = { header = "X-Time", tolerance = "2m", '
                          f'unit = "ms" }} }}\n{by_header}',
                 signer.Hmac(timestamp_header="X-Time", id_header="X-Id",
                             content=lambda s: f"{s.ts}.{s.header('X-Id')}.".encode() + s.body),
                 text("timed"), text("timed"), x_id)
    for name, algorithm, sign, spki in [
        ("rsa", "rsa-sha256", ring.rsa.sign, ring.rsa.public_pem),
        ("ecdsa", "ecdsa-p256-sha256", signer.p256(ring.p256), keys.pem("PUBLIC KEY", curves.p256_spki(ring.p256))),
    ]:
        yield Source(name, f'verify = {{ header = "X-Sig", algorithm = "{algorithm}", encoding = "base64" }}\n'
                           f'{by_header}\npublic_keys = ["""\n{spki}"""]',
                     signer.Asymmetric(sign), spki, None, x_id)


def _fixture(ring):
    text = ring.text
    mac = 'verify = { header = "X-Sig", mac = "hmac-sha256", encoding = "hex" }'
    for name, rest in [
        ("bodyid", 'event_id = "json:/id"\nevent_type = "json:/type"'),
        ("bodyid2", 'event_id = "json:/id"\nevent_type = "json:/type"'),
        ("exec", 'event_type = "json:/ref"'),
        ("ipallow", 'allow_from = ["192.0.2.10", "127.0.0.10"]'),
        ("limited", 'body_bytes_max = "64KiB"\nevent_id = "header:X-Id"'),
    ]:
        x_id = (lambda id, ts: [("X-Id", id)]) if name == "limited" else None
        yield Source(name, f"{mac}\n{rest}", signer.Hmac(), text(name), text(name), x_id)
    yield Source("ctl", 'verify = { header = "X-Ctl-Sig", mac = "hmac-sha256", encoding = "hex" }\n'
                        'event_id = "header:X-Ctl-Id"',
                 signer.Hmac("X-Ctl-Sig"), text("ctl"), text("ctl"), lambda id, ts: [("X-Ctl-Id", id)])


def unresolved():
    """The section of the source whose secret is not there."""
    return (f'[sources.{UNRESOLVED}]\nverify = {{ header = "X-Sig", mac = "hmac-sha256", encoding = "hex" }}\n'
            f'secrets = ["env:{variable(UNRESOLVED)}"]\n')


def named_in(path):
    """The source that a path addresses, if it is written as one would write it."""
    match = re.fullmatch(r"/webhooks/([A-Za-z0-9_-]+)(?:[/?].*)?", path, re.DOTALL)
    return match.group(1) if match else None
