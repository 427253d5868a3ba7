//! Who is told of every command that has run: MONITOR's clients, and by thresholds the slow log and the latency monitor.
use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::command::client::flag;
use crate::command::env::Observer;
use crate::command::{Command, Env, Flags, Session};
use crate::resp::args::Args;
use crate::server::{latency, slowlog};

/// The server's one observer.
#[derive(Default)]
pub struct Observers {}

impl Observer for Observers {
    fn ran(&self, env: &Env, session: &Session, command: &Command, args: Args<'_>, nanos: u64) {
        slowlog::note(env, session, command, args, nanos);
        let event = if command.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        latency::note(env, event, nanos);
        if env.clients.monitors().load(Ordering::Relaxed) > 0 {
            feed_monitors(env, session, command, args);
        }
    }
}

/// Sends one line on the command to every client in MONITOR.
fn feed_monitors(env: &Env, session: &Session, command: &Command, args: Args<'_>) {
    if command.flags.has(Flags::ADMIN.with(Flags::SKIP_MONITOR)) {
        return;
    }
    let line = monitor_line(env, session, command, args);
    for client in env.clients.list() {
        if client.has_flag(flag::MONITOR) {
            env.push(&client, |out| out.raw(line.as_bytes()));
        }
    }
}

/// `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`
fn monitor_line(env: &Env, session: &Session, command: &Command, args: Args<'_>) -> String {
    let us = env.clock.now_us();
    let client = &session.client;
    let mut line = format!("+{}.{:06} [{} ", us / 1_000_000, us % 1_000_000, session.db);
    if client.has_flag(flag::UNIX) {
        let path = client.laddr.strip_suffix(":0").unwrap_or(&client.laddr);
        let _ = write!(line, "unix:{path}]");
    } else {
        let _ = write!(line, "{}]", client.addr);
    }
    for (i, arg) in args.iter().enumerate() {
        line.push(' ');
        if slowlog::is_secret(command, args, i) {
            line.push_str("\"(redacted)\"");
        } else {
            quote(&mut line, arg);
        }
    }
    line.push_str("\r\n");
    line
}

/// A string in double quotes, with C's escapes.
fn quote(line: &mut String, bytes: &[u8]) {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    crate::base::split::quote(&mut out, bytes);
    line.push_str(&String::from_utf8_lossy(&out));
}
