"""Signs and verifies with the official Python SDKs. The same exchange as sdk.mjs: one JSON object in, one out."""

import base64
import json
import sys
from datetime import datetime, timezone

import standardwebhooks
import stripe
from twilio.request_validator import RequestValidator
from urllib.parse import parse_qsl


def form(body: str) -> dict:
    return dict(parse_qsl(body, keep_blank_values=True))


def sign(asked: dict, body: str) -> dict:
    if asked["sdk"] == "twilio":
        validator = RequestValidator(asked["secret"])
        return {"x-twilio-signature": validator.compute_signature(asked["url"], form(body))}
    if asked["sdk"] == "stripe":
        signature = stripe.WebhookSignature._compute_signature(f"{asked['now']}.{body}", asked["secret"])
        return {"stripe-signature": f"t={asked['now']},v1={signature}"}
    if asked["sdk"] == "standard-webhooks":
        at = datetime.fromtimestamp(asked["now"], tz=timezone.utc)
        signature = standardwebhooks.Webhook(asked["secret"]).sign(asked["id"], at, body)
        return {
            "webhook-id": asked["id"],
            "webhook-timestamp": str(asked["now"]),
            "webhook-signature": signature,
        }
    raise SystemExit(f"no such sdk: {asked['sdk']}")


def verify(asked: dict, body: str) -> None:
    headers = asked["headers"]
    if asked["sdk"] == "twilio":
        validator = RequestValidator(asked["secret"])
        if not validator.validate(asked["url"], form(body), headers.get("x-twilio-signature", "")):
            raise ValueError("signature mismatch")
    elif asked["sdk"] == "stripe":
        stripe.WebhookSignature.verify_header(body, headers["stripe-signature"], asked["secret"], 300)
    elif asked["sdk"] == "standard-webhooks":
        standardwebhooks.Webhook(asked["secret"]).verify(body, headers)
    else:
        raise SystemExit(f"no such sdk: {asked['sdk']}")


def main() -> None:
    asked = json.load(sys.stdin)
    body = base64.b64decode(asked["body_b64"]).decode()
    if asked["do"] == "sign":
        json.dump({"headers": sign(asked, body)}, sys.stdout)
        return
    try:
        verify(asked, body)
        json.dump({"ok": True}, sys.stdout)
    except Exception as error:  # whatever the SDK raises is its verdict
        json.dump({"ok": False, "why": f"{type(error).__name__}: {error}"}, sys.stdout)


main()
