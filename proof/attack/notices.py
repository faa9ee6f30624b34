"""Messages of Amazon SNS and PayPal, signed as these do it: the one inside the body, the other in headers, both with the
key of a certificate that the message names."""

import base64
import datetime
import json
import re
import zlib

import signer

TOPIC = "arn:aws:sns:us-east-1:123456789012:good"
CERTIFICATE = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0000000000000000000000.pem"
PAYPAL_CERTIFICATE = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-0000"
WEBHOOK_ID = "1JE4291016473214C"

_MEMBERS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_MEMBERS["UnsubscribeConfirmation"] = _MEMBERS["SubscriptionConfirmation"]


class Sns(signer.Scheme):
    """The signature is a member of the body."""

    header = "x-amz-sns-signature"  # There is none: a name for those who ask for one.
    seals_body = True

    def __init__(self, key, attacker):
        self.rsa, self.attacker = key, attacker

    def content(self, signing):
        document = _object(signing.body)
        names = _MEMBERS.get(document.get("Type"), _MEMBERS["Notification"])
        return "".join(f"{name}\n{document[name]}\n" for name in names if name in document).encode()

    def signature(self, signing, key):
        rsa = self.attacker if signing.secret == "attacker" else self.rsa
        is_old = _object(signing.body).get("SignatureVersion") == "1"
        return signer.encode(rsa.sign(self.content(signing), "sha1" if is_old else "sha256"), "base64")

    def enclosed(self, body, event_id, ts):
        """A genuine message that carries a text."""
        now = datetime.datetime.fromtimestamp(ts, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return self.sealed(message(now, event_id, Message=body.decode("utf-8", "replace")))

    def sealed(self, document, signer_name=None):
        """The bytes of a message with its signature in it."""
        body = json.dumps(document).encode()
        signature = self.signature(signer.Signing([], body, "", "", secret=signer_name), None)
        return json.dumps({**document, "Signature": signature}).encode()


def message(now, event_id, kind="Notification", **members):
    """A message without its signature."""
    document = {"Type": kind, "MessageId": event_id, "TopicArn": TOPIC, "Message": "{\"hello\":\"world\"}", "Timestamp": now,
                "SignatureVersion": "2", "SigningCertURL": CERTIFICATE}
    if kind != "Notification":
        document |= {"Token": "2336412f37", "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription"}
    return {**document, **members}


def described(text, now, event_id):
    """The message that words describe: `sign with the allowed cert but TopicArn arn:…`, `by the attacker`."""
    members = dict(re.findall(r"\b(TopicArn|SigningCertURL|SigningCertUrl|SubscribeURL|SignatureVersion|Type|Subject|Message)"
                              r"[ =]+(\S+?)(?=[,;]?(?:\s|$))", text))
    if match := re.search(r"(?:^|; )((?:https?|ftp|file):/\S*)$", text):
        members["SigningCertURL"] = match.group(1)
    kind = members.pop("Type", "SubscriptionConfirmation" if "SubscribeURL" in members else "Notification")
    return message(now, event_id, kind, **members), "attacker" if re.search(r"attacker|another cert", text) else None


def _object(body):
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class PayPal(signer.Scheme):
    """Id, time, the webhook's own id and the CRC-32 of the body."""

    header = "PAYPAL-TRANSMISSION-SIG"

    def __init__(self, key, attacker):
        self.rsa, self.attacker = key, attacker

    def content(self, signing):
        return "|".join([signing.header("PAYPAL-TRANSMISSION-ID"), signing.header("PAYPAL-TRANSMISSION-TIME"), WEBHOOK_ID,
                         str(zlib.crc32(signing.body))]).encode()

    def signature(self, signing, key):
        rsa = self.attacker if signing.secret == "attacker" else self.rsa
        return base64.b64encode(rsa.sign(self.content(signing))).decode()
