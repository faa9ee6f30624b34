//! A disk in memory that knows what a power cut would leave of it. A write may be lost until a flush; a cut keeps what
//! was flushed and, of the rest, whatever chance decides: all of a write, its first sectors, nothing. It does not know
//! who writes to it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes kept together; nothing outside depends on it.
const BLOCK: usize = 4096;

/// What a disk writes whole or not at all, bytes.
const SECTOR: usize = 512;

/// What is on a disk. Blocks that were never written take no memory, and a copy shares the rest.
#[derive(Clone)]
struct Blocks(Vec<Option<Arc<[u8; BLOCK]>>>);

impl Blocks {
    fn read(&self, offset: usize, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let (block, from) = ((offset + done) / BLOCK, (offset + done) % BLOCK);
            let end = into.len().min(done + BLOCK - from);
            let part = &mut into[done..end];
            match self.0.get(block) {
                Some(Some(kept)) => part.copy_from_slice(&kept[from..from + part.len()]),
                _ => part.fill(0),
            }
            done = end;
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let (block, from) = ((offset + done) / BLOCK, (offset + done) % BLOCK);
            let end = data.len().min(done + BLOCK - from);
            if let Some(slot) = self.0.get_mut(block) {
                let kept = Arc::make_mut(slot.get_or_insert_with(|| Arc::new([0; BLOCK])));
                kept[from..from + end - done].copy_from_slice(&data[done..end]);
            }
            done = end;
        }
    }
}

#[derive(Clone)]
struct Write {
    offset: usize,
    data: Arc<[u8]>,
}

struct State {
    now: Blocks,
    flushed: Blocks,
    unflushed: Vec<Write>,
    flushes: u64,
}

/// The disk.
pub(super) struct Disk {
    state: Mutex<State>,
    size: u64,
    latency: Duration,
}

impl Disk {
    /// An empty disk of `size` bytes whose every flush takes `latency`.
    pub(super) fn new(size: u64, latency: Duration) -> Self {
        let blocks = usize::try_from(size).unwrap_or(usize::MAX).div_ceil(BLOCK);
        let empty = Blocks(vec![None; blocks]);
        let state = State { now: empty.clone(), flushed: empty, unflushed: Vec::new(), flushes: 0 };
        Self { state: Mutex::new(state), size, latency }
    }

    /// Its size, bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Reads what was last written, flushed or not.
    pub(super) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut data = vec![0; length.min(left)];
        self.lock().now.read(offset_of(offset), &mut data);
        data
    }

    /// Writes into the disk's cache.
    pub(super) fn write(&self, offset: u64, data: &[u8]) {
        let mut state = self.lock();
        state.now.write(offset_of(offset), data);
        state.unflushed.push(Write { offset: offset_of(offset), data: data.into() });
    }

    /// Makes what was written before now durable. Until the flush is over a cut can still lose all of it.
    pub(super) fn flush(&self) {
        let before = self.lock().unflushed.len();
        if !self.latency.is_zero() {
            std::thread::sleep(self.latency);
        }
        let mut state = self.lock();
        let durable: Vec<_> = state.unflushed.drain(..before).collect();
        for write in durable {
            state.flushed.write(write.offset, &write.data);
        }
        state.flushes += 1;
    }

    /// How often it was flushed.
    pub(super) fn flushes(&self) -> u64 {
        self.lock().flushes
    }

    /// What a power cut at this moment could leave. The disk itself goes on.
    pub(super) fn cut(&self, random: &mut fastrand::Rng) -> Image {
        let (blocks, unflushed) = {
            let state = self.lock();
            (state.flushed.clone(), state.unflushed.clone())
        };
        let mut image = Image { blocks, kept: 0, torn: 0, dropped: 0 };
        for write in unflushed {
            match random.u8(..100) {
                0..40 => {
                    image.blocks.write(write.offset, &write.data);
                    image.kept += 1;
                }
                40..50 => {
                    let sectors = random.usize(0..=write.data.len() / SECTOR);
                    image.blocks.write(write.offset, &write.data[..sectors * SECTOR]);
                    image.torn += 1;
                }
                _ => image.dropped += 1,
            }
        }
        image
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn offset_of(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// What a power cut left.
pub(super) struct Image {
    blocks: Blocks,
    /// Unflushed writes that made it.
    pub(super) kept: u64,
    /// Unflushed writes of which only the first sectors made it.
    pub(super) torn: u64,
    /// Unflushed writes that are gone.
    pub(super) dropped: u64,
}

impl Image {
    /// Writes it into a file, with holes where nothing ever was.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let file = File::create(path)?;
        file.set_len((self.blocks.0.len() * BLOCK) as u64)?;
        for (number, block) in self.blocks.0.iter().enumerate() {
            if let Some(block) = block {
                file.write_all_at(&block[..], (number * BLOCK) as u64)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(image: &Image, offset: usize, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        image.blocks.read(offset, &mut data);
        data
    }

    #[test]
    fn a_cut_keeps_what_was_flushed() {
        let disk = Disk::new(1 << 20, Duration::ZERO);
        disk.write(4000, &[7; 9000]);
        disk.flush();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100 {
            let image = disk.cut(&mut random);
            assert_eq!(content(&image, 4000, 9000), [7; 9000]);
            assert_eq!(content(&image, 0, 4000), [0; 4000]);
            assert_eq!((image.kept, image.torn, image.dropped), (0, 0, 0));
        }
    }

    #[test]
    fn a_cut_keeps_tears_or_drops_what_was_not() {
        let disk = Disk::new(1 << 20, Duration::ZERO);
        disk.write(0, &[1; 4096]);
        disk.flush();
        disk.write(0, &[2; 4096]);
        let mut random = fastrand::Rng::with_seed(1);
        let (mut kept, mut torn, mut dropped) = (0, 0, 0);
        for _ in 0..1000 {
            let image = disk.cut(&mut random);
            let data = content(&image, 0, 4096);
            let fresh = data.iter().take_while(|&&byte| byte == 2).count();
            assert!(data[fresh..].iter().all(|&byte| byte == 1));
            assert_eq!(fresh % SECTOR, 0);
            assert!(image.kept == 0 || fresh == 4096);
            assert!(image.dropped == 0 || fresh == 0);
            (kept, torn, dropped) = (kept + image.kept, torn + image.torn, dropped + image.dropped);
        }
        assert_eq!(kept + torn + dropped, 1000);
        assert!((350..450).contains(&kept) && (70..130).contains(&torn), "{kept} {torn} {dropped}");
    }

    #[test]
    fn a_read_sees_the_last_write_and_nothing_beyond_the_end() {
        let disk = Disk::new(8192, Duration::ZERO);
        disk.write(4090, b"across two blocks");
        assert_eq!(disk.read(4090, 17), b"across two blocks");
        assert_eq!(disk.read(8000, 4096).len(), 192);
    }
}
