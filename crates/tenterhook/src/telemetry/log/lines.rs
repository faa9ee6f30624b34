//! Lines on their way to stderr. They gather for a few milliseconds and are written together by a thread of their own:
//! a system call for every webhook would cost more than the line. Knows nothing of what is in them.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How long lines gather: what a kill can take with it.
const GATHER: Duration = Duration::from_millis(5);
/// What may wait. Beyond it whoever logs waits for the reader of stderr, so that nothing is lost and memory is bounded.
const BYTES_MAX: usize = 1 << 20;

/// Where lines are put.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Vec<u8>>,
    some: Condvar,
    /// Held while bytes go out, so that they go out in order. Empty between, with the room that the last ones took.
    going_out: Mutex<Vec<u8>>,
}

impl Lines {
    /// Starts the thread that writes them.
    pub(super) fn start() -> io::Result<Self> {
        let lines = Self(Arc::default());
        let shared = Arc::clone(&lines.0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.run())?;
        Ok(lines)
    }

    /// Writes what waits.
    pub(super) fn flush(&self) {
        self.0.write_out();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let waiting = self.some.wait_while(self.waiting(), |waiting| waiting.is_empty());
            drop(waiting);
            // Nobody signals while something waits, so this is a pause that lets more lines come.
            let gathered = self.some.wait_timeout(self.waiting(), GATHER);
            drop(gathered);
            self.write_out();
        }
    }

    fn write_out(&self) {
        let mut lines = self.going_out.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *lines, &mut *self.waiting());
        // A reader that went away must not take the gateway with it.
        let _ = io::stderr().write_all(&lines);
        lines.clear();
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Takes one line at a time.
pub(super) struct Line<'a>(&'a Shared);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.waiting();
        let was_empty = waiting.is_empty();
        waiting.extend_from_slice(line);
        let too_many = waiting.len() > BYTES_MAX;
        drop(waiting);
        if too_many {
            self.0.write_out();
        } else if was_empty {
            self.0.some.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
