//! The gate: who wants to know that the stream is durable up to an offset waits here.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};

/// Durability cannot be told: a write or an fsync has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the journal could not be made durable")]
pub struct Unsure;

type Call = Box<dyn FnOnce(Result<(), Unsure>) + Send>;

enum Sleeper {
    Task(Waker),
    Call(Call),
}

/// Up to where the stream is durable, and who waits for more.
#[derive(Default)]
pub struct Gate {
    durable: AtomicU64,
    /// Whether replies to writes wait for the gate (`appendfsync always`).
    holds: AtomicBool,
    unsure: AtomicBool,
    sleepers: Mutex<Vec<(u64, Sleeper)>>,
    changed: Condvar,
}

impl Gate {
    /// All that was appended before this offset is durable.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    #[inline]
    pub fn holds_replies(&self) -> bool {
        self.holds.load(Ordering::Relaxed)
    }

    pub fn hold_replies(&self, holds: bool) {
        self.holds.store(holds, Ordering::Release);
        if !holds {
            // Whoever waited did so for a promise that is no longer given.
            self.wake(u64::MAX, Ok(()));
        }
    }

    /// The stream is durable up to `offset`; those who waited for no more go on. Tells how many they were.
    pub fn advance(&self, offset: u64) -> usize {
        self.unsure.store(false, Ordering::Release);
        self.durable.fetch_max(offset, Ordering::AcqRel);
        self.wake(offset, Ok(()))
    }

    /// Nothing more can be said of what is not durable yet: all who wait are told so, until `advance` is called again.
    pub fn fail(&self) {
        self.unsure.store(true, Ordering::Release);
        self.wake(u64::MAX, Err(Unsure));
    }

    fn wake(&self, offset: u64, how: Result<(), Unsure>) -> usize {
        let mut sleepers = self.sleepers.lock();
        let due: Vec<_> = sleepers.extract_if(.., |(at, _)| *at <= offset).collect();
        self.changed.notify_all();
        drop(sleepers);
        let woken = due.len();
        for (_, sleeper) in due {
            match sleeper {
                Sleeper::Task(waker) => waker.wake(),
                Sleeper::Call(call) => call(how),
            }
        }
        woken
    }

    fn state(&self, offset: u64) -> Option<Result<(), Unsure>> {
        if self.durable() >= offset {
            Some(Ok(()))
        } else if self.unsure.load(Ordering::Acquire) {
            Some(Err(Unsure))
        } else {
            None
        }
    }

    /// Waits, as a future, until the stream is durable up to `offset` or replies are no longer held.
    pub fn poll(&self, offset: u64, cx: &mut Context<'_>) -> Poll<Result<(), Unsure>> {
        let passes = || self.state(offset).or_else(|| (!self.holds_replies()).then_some(Ok(())));
        if let Some(result) = passes() {
            return Poll::Ready(result);
        }
        let mut sleepers = self.sleepers.lock();
        // Looked at again under the lock: whoever advances takes it after having stored the offset.
        if let Some(result) = passes() {
            return Poll::Ready(result);
        }
        sleepers.push((offset, Sleeper::Task(cx.waker().clone())));
        Poll::Pending
    }

    /// Calls `f`, on whichever thread, once the stream is durable up to `offset`.
    pub fn when_durable(&self, offset: u64, f: impl FnOnce(Result<(), Unsure>) + Send + 'static) {
        let mut sleepers = self.sleepers.lock();
        match self.state(offset) {
            Some(result) => {
                drop(sleepers);
                f(result);
            }
            None => sleepers.push((offset, Sleeper::Call(Box::new(f)))),
        }
    }

    /// Blocks the thread until the stream is durable up to `offset` or replies are no longer held.
    pub fn wait(&self, offset: u64) -> Result<(), Unsure> {
        let mut sleepers = self.sleepers.lock();
        loop {
            match self.state(offset) {
                Some(result) => return result,
                None if !self.holds_replies() => return Ok(()),
                None => self.changed.wait(&mut sleepers),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_call_comes_when_its_offset_is_durable_and_not_before() {
        let gate = Gate::default();
        let calls = Arc::new(AtomicUsize::new(0));
        for offset in [10, 20] {
            let calls = calls.clone();
            gate.when_durable(offset, move |result| {
                assert_eq!(result, Ok(()));
                calls.fetch_add(1, Ordering::Relaxed);
            });
        }
        gate.advance(9);
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        gate.advance(10);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        gate.advance(30);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert_eq!(gate.durable(), 30);
    }

    #[test]
    fn a_failure_tells_those_who_wait_and_those_who_come_until_it_is_mended() {
        let gate = Gate::default();
        gate.hold_replies(true);
        gate.advance(5);
        gate.fail();
        assert_eq!(gate.wait(5), Ok(()), "what was durable stays so");
        assert_eq!(gate.wait(6), Err(Unsure));
        gate.advance(6);
        assert_eq!(gate.wait(6), Ok(()));
        gate.hold_replies(false);
        assert_eq!(gate.wait(7), Ok(()), "nobody waits any more");
    }

    #[test]
    fn a_thread_that_waits_is_woken() {
        let gate = Arc::new(Gate::default());
        gate.hold_replies(true);
        let waiter = std::thread::spawn({
            let gate = gate.clone();
            move || gate.wait(3)
        });
        gate.advance(3);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    }
}
