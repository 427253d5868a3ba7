//! What tests of a client want of its server: faults committed on purpose, and a record of what was sent. Neither
//! concerns clients inside the process, through which a test acts itself.
//!
//! Off, it costs nothing: `bar::REHEARSAL` is set by the first use and stays.
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use crate::command::env::bar;
use crate::command::{Command, CommandError, Env};
use crate::resp::args::Args;

/// What happens to a command instead of, or before, being run.
pub enum Fault {
    None,
    /// It is run so much later; its connection waits.
    Delay(Duration),
    Error(CommandError),
    /// The connection ends, without a reply.
    Drop,
}

/// The service.
#[derive(Default)]
pub struct Rehearsal(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By a command's name in small letters, a container's for all of its subcommands, or `*`.
    delays: HashMap<String, Duration>,
    errors: HashMap<String, String>,
    /// Commands until a connection is dropped.
    drop_after: Option<u64>,
    record_most: usize,
    record: VecDeque<Vec<Vec<u8>>>,
    record_bytes: usize,
}

/// Bytes of arguments that a record keeps, at most: the oldest go first.
const RECORD_BYTES_MAX: usize = 64 << 20;

impl Inner {
    fn of<'a, T>(&self, table: &'a HashMap<String, T>, command: &Command) -> Option<&'a T> {
        let container = command.full_name.split('|').next().unwrap_or_default();
        [&*command.full_name, container, "*"].iter().find_map(|name| table.get(*name))
    }
}

impl Rehearsal {
    fn change(&self, env: &Env, f: impl FnOnce(&mut Inner)) {
        f(&mut self.0.lock());
        env.barred.fetch_or(bar::REHEARSAL, Ordering::Relaxed);
    }

    /// A fault is ordered by a name that commands have: one that none meets would make a test pass for nothing.
    fn check(env: &Env, name: &str) -> Result<(), CommandError> {
        let (first, sub) = name.split_once('|').map_or((name, None), |(first, sub)| (first, Some(sub)));
        let known = match env.commands.find(first.as_bytes()) {
            Some(command) => sub.is_none_or(|sub| env.commands.find_sub(command, sub.as_bytes()).is_some()),
            None => name == "*",
        };
        if known {
            Ok(())
        } else {
            Err(CommandError::quoting("ERR there is no command '", name.as_bytes(), "'"))
        }
    }

    /// From now on so many of the latest commands are kept.
    pub fn record_commands(&self, env: &Env, most: usize) {
        self.change(env, |inner| inner.record_most = most);
    }

    pub fn delay(&self, env: &Env, command: &str, by: Duration) -> Result<(), CommandError> {
        Self::check(env, command)?;
        self.change(env, |inner| {
            inner.delays.insert(command.to_ascii_lowercase(), by);
        });
        Ok(())
    }

    pub fn error(&self, env: &Env, command: &str, text: &str) -> Result<(), CommandError> {
        Self::check(env, command)?;
        // An error reply is one line.
        let text = text.replace(['\r', '\n'], " ");
        self.change(env, |inner| {
            inner.errors.insert(command.to_ascii_lowercase(), text);
        });
        Ok(())
    }

    pub fn drop_after(&self, env: &Env, commands: u64) {
        self.change(env, |inner| inner.drop_after = Some(commands));
    }

    /// Ends all faults; the record goes on.
    pub fn clear(&self) {
        let inner = &mut *self.0.lock();
        (inner.delays, inner.errors, inner.drop_after) = Default::default();
    }

    /// What happens to this command.
    pub fn meet(&self, command: &Command) -> Fault {
        // By it the faults are ended.
        if command.name == "debug" {
            return Fault::None;
        }
        let inner = &mut *self.0.lock();
        match &mut inner.drop_after {
            Some(0) => {
                inner.drop_after = None;
                return Fault::Drop;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if let Some(text) = inner.of(&inner.errors, command) {
            return Fault::Error(CommandError::new(text.clone()));
        }
        inner.of(&inner.delays, command).map_or(Fault::None, |by| Fault::Delay(*by))
    }

    /// Keeps a command that a client sent.
    pub fn note(&self, args: Args<'_>) {
        let inner = &mut *self.0.lock();
        if inner.record_most == 0 {
            return;
        }
        let args: Vec<Vec<u8>> = args.iter().map(<[u8]>::to_vec).collect();
        inner.record_bytes += args.iter().map(Vec::len).sum::<usize>();
        inner.record.push_back(args);
        while inner.record.len() > inner.record_most || inner.record_bytes > RECORD_BYTES_MAX {
            let Some(oldest) = inner.record.pop_front() else { break };
            inner.record_bytes -= oldest.iter().map(Vec::len).sum::<usize>();
        }
    }

    /// The commands kept, oldest first.
    pub fn commands(&self) -> Vec<Vec<Vec<u8>>> {
        self.0.lock().record.iter().cloned().collect()
    }
}
