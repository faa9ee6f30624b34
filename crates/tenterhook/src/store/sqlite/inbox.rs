//! The writer's end of the queue: what arrives, put together to groups that share one transaction.
//!
//! There is no linger: while the disk is at work on one group, the commands of the next one gather by themselves.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::queue::{Call, Command, Commands, Done, Shared, Work};
use crate::store::StoreError;

/// One transaction takes at most so many submissions and bytes.
const GROUP_MAX: usize = 1024;
const GROUP_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The receiving end.
#[derive(Debug)]
pub(super) struct Inbox {
    calls: Receiver<Call>,
    /// What did not fit into the last group.
    carried: Option<Box<Command>>,
    shared: Arc<Shared>,
}

/// Commands that share a transaction, and what they weigh together.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) commands: Commands,
    submissions: usize,
    bytes: u64,
}

impl Inbox {
    pub(super) fn new(calls: Receiver<Call>, shared: Arc<Shared>) -> Self {
        Self { calls, carried: None, shared }
    }

    /// The next call; `Err(Disconnected)` when everybody has hung up. Waits for at most `patience`, where there is some.
    pub(super) fn next(&mut self, patience: Option<Duration>) -> Result<Call, RecvTimeoutError> {
        if let Some(carried) = self.carried.take() {
            return Ok(Call::Command(carried));
        }
        let call = match patience {
            Some(patience) => self.calls.recv_timeout(patience)?,
            None => self.calls.recv().map_err(|_| RecvTimeoutError::Disconnected)?,
        };
        if let Call::Command(command) = &call {
            self.shared.taken(command);
        }
        Ok(call)
    }

    /// Adds to a group what waits already and fits. False: nothing more fits.
    pub(super) fn fill(&mut self, group: &mut Group) -> bool {
        while group.is_open() && self.carried.is_none() {
            match self.calls.try_recv() {
                Ok(Call::Command(command)) => self.offer(group, command),
                Ok(Call::Synced) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
        false
    }

    /// Waits for the next call, whatever it is, and adds it to a group. False: everybody has hung up.
    pub(super) fn wait_for_one(&mut self, group: &mut Group) -> bool {
        match self.calls.recv() {
            Ok(Call::Command(command)) => self.offer(group, command),
            Ok(Call::Synced) => {}
            Err(_) => return false,
        }
        true
    }

    /// Adds a command to a group, or keeps it for the next one.
    fn offer(&mut self, group: &mut Group, command: Box<Command>) {
        self.shared.taken(&command);
        if group.has_room_for(&command) {
            group.push(command);
        } else {
            self.carried = Some(command);
        }
    }
}

impl Group {
    pub(super) fn of(first: Box<Command>) -> Self {
        let mut group = Self::default();
        group.push(first);
        group
    }

    /// Whether the store is to be closed after it.
    pub(super) fn closes(&self) -> bool {
        self.commands.last().is_some_and(|last| matches!(last.work, Work::Close))
    }

    /// Whether anything more may join: pruning and closing end a group.
    fn is_open(&self) -> bool {
        let ends =
            self.commands.last().is_some_and(|last| matches!(last.work, Work::Prune(..) | Work::Close));
        !ends && self.submissions < GROUP_MAX && self.bytes < GROUP_BYTES_MAX
    }

    fn has_room_for(&self, command: &Command) -> bool {
        self.submissions + submissions(command) <= GROUP_MAX && self.bytes + command.bytes <= GROUP_BYTES_MAX
    }

    fn push(&mut self, command: Box<Command>) {
        self.submissions += submissions(&command);
        self.bytes += command.bytes;
        self.commands.push(command);
    }
}

impl From<Commands> for Group {
    fn from(commands: Commands) -> Self {
        let mut group = Self::default();
        commands.into_iter().for_each(|command| group.push(command));
        group
    }
}

pub(super) fn is_accept(command: &Command) -> bool {
    matches!(command.work, Work::Accept(_))
}

/// Whether nobody is owed what it changes: what retention has removed, it would remove again.
pub(super) fn is_retention(command: &Command) -> bool {
    matches!(command.work, Work::Prune(..))
}

/// How many submissions a command accepts.
pub(super) fn accepts(command: &Command) -> usize {
    match &command.work {
        Work::Accept(batch) => batch.len(),
        _ => 0,
    }
}

fn submissions(command: &Command) -> usize {
    accepts(command).max(1)
}

/// Tells all of them no.
pub(super) fn refuse(commands: Commands, error: &StoreError) {
    for command in commands {
        // Closing a store that is in trouble already is no failure.
        let closing = matches!(command.work, Work::Close);
        let _ = command.reply.send(if closing { Ok(Done::Nothing) } else { Err(error.clone()) });
    }
}
