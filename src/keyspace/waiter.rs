//! A blocked command (BLPOP, XREADGROUP, ...) that waits for keys to become ready. Data only: whoever makes a key
//! ready runs the waiter's command on its behalf, under the locks it holds.
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use crate::resp::args::OwnedArgs;
use crate::resp::reply::Reply;
use crate::value::cell::Type;

/// Where a waiter stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum WaiterState {
    /// Waits for a key.
    Waiting,
    /// Someone is running its command or ending its wait.
    Claimed,
    /// Its reply is in `reply`.
    Done,
    /// A key is ready, but serving it needs locks that the pusher lacked: its owner is to call again.
    Retry,
}

/// One blocked command.
pub struct Waiter {
    pub client: u64,
    pub db: usize,
    /// Index into the command table.
    pub command: usize,
    pub args: OwnedArgs,
    pub resp3: bool,
    /// The type of value that can serve it; `None` for any.
    pub wants: Option<Type>,
    /// Whether it is also served when a key is gone or of another type.
    pub when_gone: bool,
    /// The keys that it waits for.
    pub keys: Vec<Box<[u8]>>,
    /// Unix milliseconds; `None` waits forever.
    pub deadline_ms: Option<u64>,
    /// What a timeout answers.
    pub on_timeout: fn(&mut Reply),
    state: AtomicU8,
    reply: Mutex<Option<Reply>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter")
            .field("client", &self.client)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Waiter {
    #[expect(clippy::too_many_arguments, reason = "a plain record, built in one place")]
    pub fn new(
        client: u64,
        db: usize,
        command: usize,
        args: OwnedArgs,
        resp3: bool,
        wants: Option<Type>,
        when_gone: bool,
        keys: Vec<Box<[u8]>>,
        deadline_ms: Option<u64>,
        on_timeout: fn(&mut Reply),
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            client,
            db,
            command,
            args,
            resp3,
            wants,
            when_gone,
            keys,
            deadline_ms,
            on_timeout,
            state: AtomicU8::new(WaiterState::Waiting as u8),
            reply: Mutex::new(None),
            wake,
        }
    }

    pub fn state(&self) -> WaiterState {
        match self.state.load(Ordering::Acquire) {
            0 => WaiterState::Waiting,
            1 => WaiterState::Claimed,
            2 => WaiterState::Done,
            _ => WaiterState::Retry,
        }
    }

    /// Takes the right to end the wait. Whoever gets `true` must call `finish`, `release` or `retry`.
    pub fn claim(&self) -> bool {
        let claim = |from: WaiterState| {
            self.state
                .compare_exchange(from as u8, WaiterState::Claimed as u8, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        };
        claim(WaiterState::Waiting)
    }

    /// As `claim`, for the owner, who may also take a waiter that was told to retry.
    pub fn claim_by_owner(&self) -> bool {
        self.claim()
            || self
                .state
                .compare_exchange(
                    WaiterState::Retry as u8,
                    WaiterState::Claimed as u8,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                )
                .is_ok()
    }

    /// Back to waiting: the key could not serve it after all.
    pub fn release(&self) {
        self.state.store(WaiterState::Waiting as u8, Ordering::Release);
    }

    /// Ends the wait with a reply.
    pub fn finish(&self, reply: Reply) {
        *self.reply.lock() = Some(reply);
        self.state.store(WaiterState::Done as u8, Ordering::Release);
        (self.wake)();
    }

    /// Tells the owner to call again by itself.
    pub fn retry(&self) {
        self.state.store(WaiterState::Retry as u8, Ordering::Release);
        (self.wake)();
    }

    pub fn take_reply(&self) -> Option<Reply> {
        self.reply.lock().take()
    }
}
