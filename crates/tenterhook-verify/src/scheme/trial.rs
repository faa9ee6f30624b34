//! Trying keys on signatures: one decoded at a time, into one buffer, and one MAC for each key however many there are.
//! Knows nothing of how a request says which signatures it has.

use std::borrow::Cow;
use std::time::SystemTime;

use super::content::Content;
use super::encoding::Encoding;
use super::hmac::{self, Mac};
use super::layout::Layout;
use super::list::Candidate;
use super::signed::{Algorithm, SignedScheme};
use super::{Key, Keys};
use crate::error::VerifyError;
use crate::request::Request;
use crate::verifier::Facts;

/// The longest signature that there is, in bytes: one by an RSA key of 8,192 bits.
pub(super) const SIGNATURE_BYTES_MAX: usize = 1024;

/// What candidates are tried against, and what came of it so far.
pub(super) struct Trial<'t, 'r> {
    layout: &'t Layout,
    request: &'t Request<'r>,
    keys: &'t Keys<'t>,
    now: SystemTime,
    /// How many secrets are live for the group for which most are.
    pub(super) live_count: usize,
    /// Whether any candidate was one in form.
    pub(super) decoded: bool,
}

impl<'t, 'r> Trial<'t, 'r> {
    /// Nothing tried yet.
    pub(super) fn of(
        layout: &'t Layout,
        request: &'t Request<'r>,
        keys: &'t Keys<'t>,
        now: SystemTime,
    ) -> Self {
        Self { layout, request, keys, now, live_count: 0, decoded: false }
    }

    /// Tries every live key on the signatures of one group: which key made one of them, and over what.
    pub(super) fn group(
        &mut self,
        scheme: &SignedScheme,
        group: &[Candidate<'_>],
        time: Option<&str>,
        key_id: Option<&str>,
        facts: &mut Facts,
    ) -> Result<Option<(usize, Content<'r>)>, VerifyError> {
        let live_count = self.keys.live_for(self.now, key_id).count();
        self.live_count = self.live_count.max(live_count);
        facts.note("secrets", || format!("{live_count} live of {}", self.keys.len()));
        if live_count == 0 {
            return Ok(None);
        }
        let content = self.layout.content.assemble(self.request, time)?;
        facts.note("content", || {
            format!("{} bytes signed, sha256 {}", content.len(), Encoding::Hex.encode(&content.sha256()))
        });
        for (index, key) in self.keys.live_for(self.now, key_id) {
            if self.tried(scheme, key, &content, group) {
                return Ok(Some((index, content)));
            }
        }
        Ok(None)
    }

    /// Whether the key made one of the signatures: decoded one at a time, and one MAC however many there are.
    fn tried(
        &mut self,
        scheme: &SignedScheme,
        key: &Key,
        content: &Content<'_>,
        group: &[Candidate<'_>],
    ) -> bool {
        let mut buffer = [0; SIGNATURE_BYTES_MAX];
        let mut made = Made { key, content, tag: None, message: None };
        for one in group {
            let Some((algorithm, signature)) = scheme.decode(one.text, &mut buffer) else { continue };
            self.decoded = true;
            if made.is(algorithm, signature) {
                return true;
            }
        }
        false
    }
}

/// What one key makes of the content, as far as it was asked for.
struct Made<'m> {
    key: &'m Key,
    content: &'m Content<'m>,
    tag: Option<(Mac, aws_lc_rs::hmac::Tag)>,
    message: Option<Cow<'m, [u8]>>,
}

impl Made<'_> {
    fn is(&mut self, algorithm: Algorithm, signature: &[u8]) -> bool {
        let (mac, key) = match (self.key, algorithm) {
            (Key::Mac(key), Algorithm::Mac(mac)) => (mac, &**key),
            (Key::Macs(keys), Algorithm::Mac(mac)) => match keys.iter().find(|(known, _)| *known == mac) {
                Some((_, key)) => (mac, key),
                None => return false,
            },
            (Key::Public(key), Algorithm::Public(_)) => {
                let message = self.message.get_or_insert_with(|| self.content.joined());
                return key.verifies(message, signature);
            }
            _ => return false,
        };
        let tag = match self.tag {
            Some((of, tag)) if of == mac => tag,
            _ => self.tag.insert((mac, hmac::tag(key, self.content))).1,
        };
        hmac::equal(tag.as_ref(), signature)
    }
}
