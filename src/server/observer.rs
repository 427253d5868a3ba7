//! Who is told of every slow command: the slow log and the latency monitor.
use crate::command::env::{Env, Observer};
use crate::command::{Command, Flags, Session};
use crate::resp::args::Args;
use crate::server::{latency, slowlog};

/// Passes commands on to those that asked for them.
pub struct Watcher;

impl Observer for Watcher {
    fn ran(&self, env: &Env, session: &Session, command: &Command, args: Args<'_>, nanos: u64) {
        slowlog::note(env, session, command, args, nanos);
        let event = if command.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        latency::note(env, event, nanos);
    }
}
