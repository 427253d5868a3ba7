//! A client inside the process: commands without a socket.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::value::{Value, decode};
use crate::command::client::{Client, flag};
use crate::command::{Session, count_unblocked, end_wait, forget_waiter};
use crate::journal::Unsure;
use crate::keyspace::{Waiter, WaiterState};
use crate::resp::args::OwnedArgs;
use crate::resp::reply::Reply;
use crate::server::{Called, Engine, Worker};

/// Why a command has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The server's error reply, as `WRONGTYPE Operation against ...`.
    #[error("{0}")]
    Reply(String),
    /// The client was killed, or the server has ended.
    #[error("the connection is closed")]
    Closed,
    /// The command ran, but its effect could not be made durable (`appendfsync always`).
    #[error("the write could not be made durable")]
    Unsure,
}

/// Wakes the thread that waits for a blocked command.
#[derive(Default)]
struct Alarm {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Alarm {
    fn ring(&self) {
        *self.rung.lock() = true;
        self.changed.notify_all();
    }

    fn wait(&self, at_most: Option<Duration>) {
        let mut rung = self.rung.lock();
        if !*rung {
            match at_most {
                Some(time) => {
                    self.changed.wait_for(&mut rung, time);
                }
                None => self.changed.wait(&mut rung),
            }
        }
        *rung = false;
    }
}

/// One client with its state: database, transaction, subscriptions. Replies are RESP3's.
pub struct LocalClient {
    engine: Arc<Engine>,
    worker: Worker,
    session: Session,
    alarm: Arc<Alarm>,
}

impl LocalClient {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let env = engine.env();
        let alarm = Arc::new(Alarm::default());
        let wake = {
            let alarm = alarm.clone();
            Box::new(move || alarm.ring())
        };
        let id = env.clients.next_id();
        let client = Client::new(id, "local:0".into(), "local:0".into(), -1, env.clock.now_ms(), wake);
        client.set_flag(flag::LOCAL, true);
        client.resp.store(3, std::sync::atomic::Ordering::Relaxed);
        let client = Arc::new(client);
        env.clients.add(client.clone());
        let mut session = Session::new(client, true);
        session.resp3 = true;
        Self { worker: engine.slow_worker(), session, alarm, engine }
    }

    /// Runs a command. A blocking one blocks this thread.
    pub fn execute<I>(&mut self, args: I) -> Result<Value, ExecuteError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let reply = self.execute_raw(args)?;
        let mut values = Vec::new();
        let mut rest = reply.as_slice();
        while let Some(value) = decode(&mut rest) {
            values.push(value);
        }
        match values.len() {
            0 => Ok(Value::Null),
            1 => match values.remove(0) {
                Value::Error(text) => Err(ExecuteError::Reply(text)),
                value => Ok(value),
            },
            // Subscribing to several channels confirms each.
            _ => Ok(Value::Array(values)),
        }
    }

    /// Runs a command; its reply's bytes.
    pub fn execute_raw<I>(&mut self, args: I) -> Result<Vec<u8>, ExecuteError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let args: Vec<I::Item> = args.into_iter().collect();
        let args = OwnedArgs::from_iter(args.iter().map(AsRef::as_ref));
        let mut reply = Reply::new(self.session.resp3);
        loop {
            if self.session.client.closing() {
                return Err(ExecuteError::Closed);
            }
            while self.engine.env().journal.is_full() {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.worker.begin(self.engine.env());
            match self.engine.call(&mut self.worker, &mut self.session, &mut reply, args.as_args()) {
                Called::Done => break,
                Called::Blocked(waiter) => {
                    reply.append(self.wait(&waiter)?);
                    break;
                }
                Called::Paused(_) => self.alarm.wait(Some(Duration::from_millis(5))),
                // A thread that owns its time is never sent to the slow lane, which may be busy for now.
                Called::SlowLane => std::thread::yield_now(),
            }
        }
        if self.session.quit {
            self.session.client.close(true);
        }
        let gate = &self.engine.env().journal.gate;
        if gate.holds_replies() && gate.wait(self.session.journaled) == Err(Unsure) {
            // It has been told; what comes next stands for itself.
            self.session.journaled = 0;
            return Err(ExecuteError::Unsure);
        }
        Ok(reply.to_vec())
    }

    /// Messages that have come in for this client: publications, MONITOR's lines.
    pub fn messages(&mut self) -> Vec<Value> {
        let mut mail = Reply::new(self.session.resp3);
        self.session.client.take_mail(&mut mail);
        let mail = mail.to_vec();
        let mut rest = mail.as_slice();
        std::iter::from_fn(|| decode(&mut rest)).collect()
    }

    /// The client as everyone else sees it.
    pub fn id(&self) -> u64 {
        self.session.client.id
    }

    /// Whether it is as when it was made, so that anyone may go on with it.
    pub(super) fn is_fresh(&self) -> bool {
        let s = &self.session;
        s.resp3
            && s.db == 0
            && s.multi.is_none()
            && s.watched.is_empty()
            && s.subscriptions() == 0
            && !s.client.closing()
            && s.client.flags.load(std::sync::atomic::Ordering::Relaxed) == flag::LOCAL
    }

    fn wait(&mut self, waiter: &Arc<Waiter>) -> Result<Reply, ExecuteError> {
        let engine = self.engine.clone();
        let env = engine.env();
        let ended = loop {
            match waiter.state() {
                WaiterState::Done => break Ok(()),
                WaiterState::Retry if waiter.claim_by_owner() => {
                    self.worker.begin(env);
                    engine.retry(&mut self.worker, waiter);
                    continue;
                }
                _ => {}
            }
            if self.session.client.closing() && waiter.claim_by_owner() {
                end_wait(env, waiter, Reply::new(waiter.resp3));
                break Err(ExecuteError::Closed);
            }
            let now = env.clock.now_ms();
            if waiter.deadline_ms.is_some_and(|at| at <= now) && waiter.claim() {
                let mut reply = Reply::new(waiter.resp3);
                (waiter.on_timeout)(&mut reply);
                count_unblocked(env, &self.worker.stats, waiter, None);
                end_wait(env, waiter, reply);
                break Ok(());
            }
            // Whoever advances a manual clock ends what is due, and wakes us.
            let left = waiter.deadline_ms.filter(|_| !env.clock.is_manual());
            self.alarm.wait(left.map(|at| Duration::from_millis(at.saturating_sub(now).max(1))));
        };
        forget_waiter(env, waiter);
        ended.map(|()| waiter.take_reply().unwrap_or_else(|| Reply::new(waiter.resp3)))
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        self.engine.close_session(&mut self.session);
    }
}
