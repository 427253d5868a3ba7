//! The slow log: the last commands that took longer than `slowlog-log-slower-than`, newest first, with their arguments
//! cut to a readable size. Bounded by `slowlog-max-len` entries of at most 32 arguments of about 128 bytes.
use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::command::env::Env;
use crate::command::{Command, Flags, Session};
use crate::resp::args::{Args, eq_nocase};

/// Arguments kept of a command; the last of them tells how many more there were.
const ARGS_MAX: usize = 32;
/// Bytes kept of an argument.
const ARG_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u64,
    /// Unix time.
    pub time_s: u64,
    pub micros: u64,
    pub args: Vec<Vec<u8>>,
    pub peer: String,
    pub name: Vec<u8>,
}

#[derive(Default)]
struct Log {
    /// Newest first.
    entries: VecDeque<Entry>,
    next_id: u64,
}

/// The log.
#[derive(Default)]
pub struct SlowLog(Mutex<Log>);

impl SlowLog {
    /// Notes a command; `max` entries are kept.
    pub fn add(
        &self,
        session: &Session,
        command: &Command,
        args: Args<'_>,
        time_s: u64,
        micros: u64,
        max: usize,
    ) {
        let entry = Entry {
            id: 0,
            time_s,
            micros,
            args: readable(command, args),
            peer: session.client.addr.clone(),
            name: session.client.labels.lock().name.clone(),
        };
        let mut log = self.0.lock();
        let id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(Entry { id, ..entry });
        log.entries.truncate(max);
    }

    pub fn len(&self) -> usize {
        self.0.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn reset(&self) {
        self.0.lock().entries.clear();
    }

    /// Up to `count` entries, newest first.
    pub fn get(&self, count: usize) -> Vec<Entry> {
        self.0.lock().entries.iter().take(count).cloned().collect()
    }
}

/// Notes a command if it was slow.
pub fn note(env: &Env, session: &Session, command: &Command, args: Args<'_>, nanos: u64) {
    let (limit, micros) = (env.limits.slowlog_log_slower_than.get(), nanos / 1000);
    if u64::try_from(limit).is_ok_and(|limit| micros >= limit) && !command.flags.has(Flags::SKIP_SLOWLOG) {
        let max = env.limits.slowlog_max_len.get();
        env.service::<SlowLog>().add(session, command, args, env.clock.now_ms() / 1000, micros, max);
    }
}

/// The arguments as they may be shown: cut, and without secrets.
fn readable(command: &Command, args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = args.len().min(ARGS_MAX);
    let mut out: Vec<Vec<u8>> = args
        .iter()
        .take(kept)
        .enumerate()
        .map(|(i, arg)| {
            if is_secret(command, args, i) {
                b"(redacted)".to_vec()
            } else if arg.len() > ARG_BYTES_MAX {
                let mut cut = arg[..ARG_BYTES_MAX].to_vec();
                cut.extend_from_slice(format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX).as_bytes());
                cut
            } else {
                arg.to_vec()
            }
        })
        .collect();
    if args.len() > ARGS_MAX
        && let Some(last) = out.last_mut()
    {
        *last = format!("... ({} more arguments)", args.len() - ARGS_MAX + 1).into_bytes();
    }
    out
}

/// Whether an argument is a password, or may hold one: shown to nobody, in MONITOR as in the slow log.
pub fn is_secret(command: &Command, args: Args<'_>, i: usize) -> bool {
    let word = |at: usize, w: &str| args.get(at).is_some_and(|a| eq_nocase(a, w));
    match command.full_name.as_str() {
        "auth" => i >= 1,
        "acl|setuser" => i >= 2,
        // Pairs of name and value from the second argument on.
        "config|set" => i >= 3 && i % 2 == 1 && args.get(i - 1).is_some_and(crate::config::is_sensitive),
        "hello" => (2..i).any(|at| word(at, "auth") && i <= at + 2),
        "migrate" => (6..i).any(|at| word(at, "auth") && i == at + 1 || word(at, "auth2") && i <= at + 2),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Arity;
    use crate::resp::args::OwnedArgs;

    fn shown(name: &'static str, full: &str, line: &[&str]) -> Vec<String> {
        let mut command = Command::new(name, Arity::at_least(1), |_, _| Ok(()));
        command.full_name = full.into();
        let args = OwnedArgs::from_iter(line.iter().map(|w| w.as_bytes()));
        readable(&command, args.as_args()).iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect()
    }

    #[test]
    fn secrets_are_not_logged() {
        let s = |name, full, line: &str| shown(name, full, &line.split(' ').collect::<Vec<_>>()).join(" ");
        assert_eq!(s("auth", "auth", "auth a b"), "auth (redacted) (redacted)");
        assert_eq!(s("setuser", "acl|setuser", "acl setuser u >p"), "acl setuser (redacted) (redacted)");
        let line = "config set port 1 requirepass x";
        assert_eq!(s("set", "config|set", line), "config set port 1 requirepass (redacted)");
        let line = "hello 3 AUTH u p SETNAME n";
        assert_eq!(s("hello", "hello", line), "hello 3 AUTH (redacted) (redacted) SETNAME n");
        let line = "migrate h 1 key 9 5000 AUTH2 u p";
        assert_eq!(s("migrate", "migrate", line), "migrate h 1 key 9 5000 AUTH2 (redacted) (redacted)");
    }

    #[test]
    fn long_commands_are_cut() {
        let many: Vec<String> = (0..33).map(|i| i.to_string()).collect();
        let all = shown("sadd", "sadd", &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((all.len(), all[31].as_str()), (32, "... (2 more arguments)"));
        let long = "A".repeat(129);
        assert_eq!(shown("get", "get", &["get", &long])[1], format!("{}... (1 more bytes)", "A".repeat(128)));
    }
}
