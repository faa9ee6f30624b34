//! Reads a body, exactly as it arrives, within its limits. Nobody has vouched for it yet.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use crate::source::SourceLimits;

use super::budget::{Budget, Share};
use super::reply::Rejection;

/// A body is gathered in pieces of this size. A buffer that grew as a whole would be there twice while it moves, and leave
/// holes of every size behind: with many large uploads that is a multiple of what has arrived.
const PIECE_BYTES: usize = 64 * 1024;

/// The exact bytes, and the share of the budget that they hold. Polling the body for the first time is what sends
/// `100 Continue`. Trailers are not headers: they are read over.
pub(super) async fn read<B>(
    body: B,
    limits: &SourceLimits,
    budget: &Arc<Budget>,
) -> Result<(Bytes, Share), Rejection>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut share = budget.share();
    let collect = collect(body, limits.body_bytes_max, &mut share);
    let bytes =
        tokio::time::timeout(limits.body_timeout, collect).await.map_err(|_| Rejection::slow_body())??;
    Ok((bytes, share))
}

async fn collect<B>(mut body: B, bytes_max: u64, share: &mut Share) -> Result<Bytes, Rejection>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(PIECE_BYTES);
    let mut pieces = Pieces::with_room_for(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Rejection::broken_body(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if (pieces.length + data.len()) as u64 > bytes_max {
            return Err(Rejection::too_large(bytes_max));
        }
        if !share.grow(data.len() as u64) {
            return Err(Rejection::no_memory());
        }
        pieces.push(&data);
    }
    Ok(pieces.join())
}

/// A body that is still arriving.
struct Pieces {
    /// All but the last one are full.
    pieces: Vec<Vec<u8>>,
    length: usize,
}

impl Pieces {
    /// Room for the first piece at most, whatever is announced.
    fn with_room_for(announced: usize) -> Self {
        Self { pieces: vec![Vec::with_capacity(announced.min(PIECE_BYTES))], length: 0 }
    }

    fn push(&mut self, mut data: &[u8]) {
        self.length += data.len();
        while !data.is_empty() {
            let room = self.pieces.last().map_or(0, |last| PIECE_BYTES.saturating_sub(last.len()));
            if room == 0 {
                self.pieces.push(Vec::with_capacity(PIECE_BYTES));
                continue;
            }
            let (now, later) = data.split_at(room.min(data.len()));
            if let Some(last) = self.pieces.last_mut() {
                let needed = last.len() + now.len();
                if needed > last.capacity() {
                    last.reserve_exact((2 * needed).min(PIECE_BYTES) - last.len());
                }
                last.extend_from_slice(now);
            }
            data = later;
        }
    }

    /// The body as one. Each piece is freed once it is copied, and the room for the others is only addresses until then:
    /// the body is there once all the time.
    fn join(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.pop().map(Bytes::from).unwrap_or_default();
        }
        let mut whole = Vec::with_capacity(self.length);
        for piece in self.pieces {
            whole.extend_from_slice(&piece);
        }
        Bytes::from(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_pieces_of_any_length_is_whole_again() {
        let sent: Vec<u8> = (0..5 * PIECE_BYTES + 17).map(|at| (at % 251) as u8).collect();
        for step in [1, 1000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, sent.len()] {
            for announced in [0, 10, sent.len(), usize::MAX] {
                let mut pieces = Pieces::with_room_for(announced);
                sent.chunks(step).for_each(|chunk| pieces.push(chunk));
                assert_eq!(pieces.length, sent.len());
                assert!(pieces.pieces.iter().all(|piece| piece.capacity() <= PIECE_BYTES));
                assert_eq!(pieces.join(), sent, "{step} bytes at a time");
            }
        }
        assert!(Pieces::with_room_for(0).join().is_empty());
    }
}
