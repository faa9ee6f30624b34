//! What a handler itself answered, for a provider that waits for it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// A handler's own answer, fit to be passed on: it confirmed the delivery, it is complete and bounded, and it holds no
/// secret of ours and no header that is not meant for the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerAnswer {
    /// 2xx.
    pub status: StatusCode,
    /// The headers that a provider may act on.
    pub headers: HeaderMap,
    /// The exact bytes, at most 64 KiB.
    pub body: Bytes,
}

/// What somebody who waits for a delivery hears of the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Delivered, and this is what the handler said.
    Answer(HandlerAnswer),
    /// Delivered, but what the handler said cannot be passed on.
    Unfit,
    /// There will be no attempt for now: the destination has stopped being tried.
    Closed,
    /// Not delivered; whether there is another attempt is nobody's business at the door.
    Failed,
}
