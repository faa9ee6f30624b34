//! Adyen's standard notifications: each item of the body holds its own signature, over eight of its fields. Nothing else
//! of an item is signed. All items have to verify, or none counts.

use std::fmt;

use http::HeaderName;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::scalar::Scalar;
use super::{Call, Coded, KeyKind, decoded};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::content::Content;
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::scheme::{KeyForm, KeyRule, Match};
use crate::verifier::{Facts, Sealed};

/// More items than Adyen sends; in JSON it sends one.
const ITEMS_MAX: usize = 64;
/// Where an item's fields stand.
const ITEM: &str = "/NotificationRequestItem/";
/// What the signature of an item covers.
const COVERED: [&str; 8] = [
    "pspReference",
    "originalReference",
    "merchantAccountCode",
    "merchantReference",
    "amount/value",
    "amount/currency",
    "eventCode",
    "success",
];

/// Adyen's scheme.
#[derive(Debug)]
pub(crate) struct AdyenScheme;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    notification_items: Items,
}

struct Items(Vec<Item>);

#[derive(Deserialize)]
struct Wrapped {
    #[serde(rename = "NotificationRequestItem")]
    item: Item,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    psp_reference: Scalar,
    #[serde(default)]
    original_reference: Scalar,
    #[serde(default)]
    merchant_account_code: Scalar,
    #[serde(default)]
    merchant_reference: Scalar,
    #[serde(default)]
    amount: Amount,
    #[serde(default)]
    event_code: Scalar,
    #[serde(default)]
    success: Scalar,
    #[serde(default)]
    additional_data: AdditionalData,
}

#[derive(Default, Deserialize)]
struct Amount {
    #[serde(default)]
    value: Scalar,
    #[serde(default)]
    currency: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdditionalData {
    #[serde(default)]
    hmac_signature: Scalar,
}

impl Coded for AdyenScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::Mac(Mac::Sha256, KeyRule { form: KeyForm::Hex, prefixes: Vec::new() })
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    fn signs_inside(&self) -> bool {
        true
    }

    fn covers(&self, locator: &Locator) -> bool {
        let Locator::Json(pointer) = locator else { return false };
        let place = pointer.strip_prefix("/notificationItems/").and_then(|rest| rest.split_once(ITEM));
        place.is_some_and(|(index, field)| {
            index.bytes().all(|byte| byte.is_ascii_digit()) && COVERED.contains(&field)
        })
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let items = items(request.body)?;
        facts.note("items", || format!("{} of notificationItems", items.len()));
        let mut all = String::new();
        let mut first = None;
        for item in &items {
            let signature = item.additional_data.hmac_signature.text();
            let missing = || refuse(Reason::MissingSignature, "an item has no `hmacSignature`");
            let signature =
                decoded(Encoding::Base64, signature.ok_or_else(missing)?, Mac::Sha256.tag_bytes())?;
            let text = item.content()?;
            let index = call.mac(&Content::whole(text.as_bytes()), &[signature], facts)?;
            first = first.or(Some(index));
            all.push_str(&text);
            all.push('\n');
        }
        let none = || refuse(Reason::MissingSignature, "`notificationItems` is empty");
        Ok(Match::of(first.ok_or_else(none)?, &Content::whole(all.into_bytes()), request.body))
    }

    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let items = items(request.body).map_err(|error| SignError(error.detail))?;
        let mut body: serde_json::Value =
            serde_json::from_slice(request.body).map_err(|_| SignError("the body is not JSON".to_owned()))?;
        for (index, item) in items.iter().enumerate() {
            let text = item.content().map_err(|error| SignError(error.detail))?;
            let signature = Encoding::Base64.encode(&call.tag(&Content::whole(text.as_bytes()))?);
            let place = body.pointer_mut(&format!("/notificationItems/{index}/NotificationRequestItem"));
            let place = place.and_then(serde_json::Value::as_object_mut);
            let item = place.ok_or_else(|| SignError("an item is not an object".to_owned()))?;
            let additional = item.entry("additionalData").or_insert_with(|| serde_json::json!({}));
            let additional = additional.as_object_mut();
            let additional =
                additional.ok_or_else(|| SignError("`additionalData` is no object".to_owned()))?;
            additional.insert("hmacSignature".to_owned(), signature.into());
        }
        Ok(Sealed::body(body.to_string().into_bytes()))
    }
}

impl Item {
    /// What the signature covers: the values as they are, between colons. Only the merchant's own reference may hold a
    /// colon itself, so that no other item reads the same.
    fn content(&self) -> Result<String, VerifyError> {
        let (before, after) = (
            [&self.psp_reference, &self.original_reference, &self.merchant_account_code],
            [&self.amount.value, &self.amount.currency, &self.event_code, &self.success],
        );
        if before.iter().chain(&after).any(|field| field.0.contains(':')) {
            return Err(refuse(Reason::MalformedContent, "a signed field holds a colon"));
        }
        let fields = before.into_iter().chain([&self.merchant_reference]).chain(after);
        Ok(fields.map(|field| field.0.as_str()).collect::<Vec<_>>().join(":"))
    }
}

fn items(body: &[u8]) -> Result<Vec<Item>, VerifyError> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|_| refuse(Reason::MalformedContent, "the body is not JSON of Adyen's form"))?;
    Ok(body.notification_items.0)
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items, A::Error> {
        let mut items = Vec::new();
        while let Some(Wrapped { item }) = seq.next_element()? {
            if items.len() == ITEMS_MAX {
                return Err(A::Error::custom("more items than Adyen sends"));
            }
            items.push(item);
        }
        Ok(Items(items))
    }
}
