// Signs and verifies with the official Node SDKs. One JSON object on stdin, one on stdout:
//   {"do":"sign","sdk":"stripe","secret":"…","body_b64":"…","id":"…","now":1700000000}   → {"headers":{…}}
//   {"do":"verify","sdk":"stripe","secret":"…","body_b64":"…","headers":{…},"now":…}      → {"ok":true} or {"ok":false,"why":"…"}
import { readFileSync } from "node:fs";
import { Webhooks } from "@octokit/webhooks";
import * as standard from "standardwebhooks";
import Stripe from "stripe";
import * as svix from "svix";

const asked = JSON.parse(readFileSync(0, "utf8"));
const body = Buffer.from(asked.body_b64, "base64").toString("utf8");
const stripe = new Stripe("sk_test_unused");

const sdks = {
  stripe: {
    sign: () => ({
      "stripe-signature": stripe.webhooks.generateTestHeaderString({
        payload: body, secret: asked.secret, timestamp: asked.now,
      }),
    }),
    // The last argument is the clock, in seconds, that the SDK holds the timestamp against.
    verify: () => stripe.webhooks.constructEvent(
      body, asked.headers["stripe-signature"], asked.secret, 300, undefined, asked.now * 1000),
  },
  github: {
    sign: async () => ({ "x-hub-signature-256": await new Webhooks({ secret: asked.secret }).sign(body) }),
    verify: async () => {
      const good = await new Webhooks({ secret: asked.secret }).verify(body, asked.headers["x-hub-signature-256"]);
      if (!good) throw new Error("signature mismatch");
    },
  },
  svix: {
    sign: () => ({
      "svix-id": asked.id,
      "svix-timestamp": String(asked.now),
      "svix-signature": new svix.Webhook(asked.secret).sign(asked.id, new Date(asked.now * 1000), body),
    }),
    verify: () => new svix.Webhook(asked.secret).verify(body, asked.headers),
  },
  "standard-webhooks": {
    sign: () => ({
      "webhook-id": asked.id,
      "webhook-timestamp": String(asked.now),
      "webhook-signature": new standard.Webhook(asked.secret).sign(asked.id, new Date(asked.now * 1000), body),
    }),
    verify: () => new standard.Webhook(asked.secret).verify(body, asked.headers),
  },
};

const sdk = sdks[asked.sdk];
if (asked.do === "sign") {
  process.stdout.write(JSON.stringify({ headers: await sdk.sign() }));
} else {
  try {
    await sdk.verify();
    process.stdout.write(JSON.stringify({ ok: true }));
  } catch (error) {
    process.stdout.write(JSON.stringify({ ok: false, why: String(error.message ?? error) }));
  }
}
