//! What a handler works with.
use std::any::Any;
use std::sync::Arc;

use crate::base::limits::Limits;
use crate::base::longdouble::LongDouble;
use crate::base::num::parse_f64;
use crate::command::client::flag;
use crate::command::env::Env;
use crate::command::{Command, CommandError, Outcome, Session, View};
use crate::keyspace::ShardSet;
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::reply::Reply;
use crate::value::cell::Type;

/// On what kind of thread a command runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// A worker: other connections wait behind it.
    Worker,
    /// A thread that owns its time.
    Slow,
}

/// A handler's wish to wait for keys; the reply must be untouched.
#[derive(Debug, Clone)]
pub struct Block {
    pub keys: Vec<Box<[u8]>>,
    /// The type of value that ends the wait; `None` for any.
    pub wants: Option<Type>,
    /// Unix milliseconds; `None` waits forever.
    pub deadline_ms: Option<u64>,
    /// What a timeout answers.
    pub on_timeout: fn(&mut Reply),
}

/// How a command that waits is run again, where that is not just as it came.
#[derive(Debug, Default)]
pub struct Resume {
    /// In place of its arguments: XREAD's `$` stands for the id at the time of the call. The keys are the same.
    pub args: Option<OwnedArgs>,
    /// Also once a key is gone or has become of another type, which the command answers with an error.
    pub when_gone: bool,
    /// Also once the journal is durable up to this offset, or nobody can tell any more.
    pub when_durable: Option<u64>,
}

/// One running command: its keys, its reply, its client, the server around it. The fields are separate so that a
/// handler can write the reply while it borrows a value.
pub struct Context<'a> {
    pub keys: View<'a>,
    pub reply: &'a mut Reply,
    pub session: &'a mut Session,
    pub env: &'a Env,
    pub command: &'a Command,
    pub(super) block: Option<(Block, Resume)>,
    pub(super) resumed: bool,
}

/// Work beyond this many elements, or about as many microseconds, is not done on a worker.
pub const SLOW_LANE_COST: usize = 2_000;

impl<'a> Context<'a> {
    pub fn limits(&self) -> &'a Limits {
        &self.env.limits
    }

    pub fn service<T: Any + Send + Sync>(&self) -> &'a T {
        self.env.service()
    }

    pub fn now(&self) -> u64 {
        self.keys.now
    }

    /// The deadline that a timeout in seconds, maybe with a fraction, sets; `None` for 0, which is no limit.
    pub fn deadline(&self, text: &[u8]) -> Result<Option<u64>, CommandError> {
        let Some(seconds) = parse_f64(text) else {
            // Redis reads it as a long double, which holds more than a double.
            return Err(match LongDouble::parse(text) {
                Some(_) if text.first() == Some(&b'-') => CommandError::TIMEOUT_NEGATIVE,
                Some(_) => CommandError::TIMEOUT_OUT_OF_RANGE,
                None => CommandError::TIMEOUT_NOT_FLOAT,
            });
        };
        let ms = (seconds * 1000.0).ceil();
        if ms >= i64::MAX as f64 {
            return Err(CommandError::TIMEOUT_OUT_OF_RANGE);
        }
        if ms < 0.0 {
            return Err(CommandError::TIMEOUT_NEGATIVE);
        }
        if ms == 0.0 {
            return Ok(None);
        }
        let deadline = self.now().checked_add(ms as u64).filter(|at| i64::try_from(*at).is_ok());
        deadline.map(Some).ok_or(CommandError::TIMEOUT_OUT_OF_RANGE)
    }

    /// Inside EXEC or a script: must not block, must not give locks back.
    pub fn is_nested(&self) -> bool {
        self.keys.nested
    }

    /// Whether this runs on behalf of a client that was blocked.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Called by a handler before it has done anything, with the number of elements it is about to visit: on a
    /// worker, beyond `SLOW_LANE_COST`, fails with `SlowLane`, and the command is run again in the slow lane.
    pub fn slow_lane(&self, cost: usize) -> Result<(), CommandError> {
        if cost > SLOW_LANE_COST && self.keys.lane == Lane::Worker && !self.keys.nested && !self.resumed {
            return Err(CommandError::SlowLane);
        }
        Ok(())
    }

    /// Gives the shards back while the command goes on with pinned values. After this the keys are out of reach.
    /// Inside a transaction the locks stay. Call it only with nothing owed (no change made).
    pub fn release_keys(&mut self) {
        if !self.keys.nested && !self.keys.grouped {
            // It may have found a key expired.
            self.keys.commit();
            self.keys.locked.release();
        }
    }

    /// Locks shards after `release_keys`, on a thread that owns its time: for a command that has waited for something
    /// outside. It is as late as it is, and keys may have expired meanwhile.
    pub fn lock_again(&mut self, shards: &ShardSet) {
        if !self.keys.nested && !self.keys.grouped {
            self.keys.locked = self.env.keyspace.lock(shards);
            self.keys.set_now(self.env.clock.now_ms());
        }
    }

    /// Asks to wait. The handler returns right after; it must not have written a reply nor changed anything.
    /// Inside a transaction, answers as a timeout instead.
    pub fn block(&mut self, block: Block) -> Outcome {
        self.block_and_resume(block, Resume::default)
    }

    /// As `block`, and says how the command goes on.
    pub fn block_and_resume(&mut self, block: Block, resume: impl FnOnce() -> Resume) -> Outcome {
        if self.keys.nested {
            (block.on_timeout)(self.reply);
        } else {
            self.block = Some((block, resume()));
        }
        Ok(())
    }

    /// Runs another command inside this one (EXEC, scripts): same locks, same instant; its reply follows in place.
    pub fn run_nested(&mut self, command: &'a Command, args: Args<'_>) -> Outcome {
        let (outer, was) = (self.command, self.keys.nested);
        self.command = command;
        self.keys.nested = true;
        self.keys.db = self.session.db;
        let result = super::call::invoke(self, args);
        self.command = outer;
        self.keys.nested = was;
        result
    }

    /// Whether the reply is already more than the client may leave waiting, so that it will be closed without it. Who
    /// writes a reply of any length the client names stops then, with any error.
    pub fn is_output_over(&self) -> bool {
        self.output_limit().is_some_and(|hard| self.reply.total_len() > hard)
    }

    /// The most output that may wait for the client; one byte more ends it. `None` when there is no such limit.
    pub fn output_limit(&self) -> Option<usize> {
        let client = &self.session.client;
        self.env.output_limits[client.output_class() as usize]
            .hard()
            .filter(|_| !client.has_flag(flag::LOCAL))
    }

    /// What a container's HELP answers: `lines` between the usual first and last ones.
    pub fn help(&mut self, lines: &[&str]) {
        let name = self.command.parent.map_or(self.command.name, |id| self.env.commands.get(id).name);
        self.reply.array(lines.len() + 3);
        let first = "<subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
        self.reply.simple(&format!("{} {first}", name.to_ascii_uppercase()));
        lines.iter().chain(&["HELP", "    Print this help."]).for_each(|line| self.reply.simple(line));
    }

    pub fn shared_env(&self) -> &'a Env {
        self.env
    }

    /// The client of this command, as others see it.
    pub fn client(&self) -> &Arc<super::client::Client> {
        &self.session.client
    }
}
