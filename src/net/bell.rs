//! Wakes a connection's task from any thread.
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;

/// A flag that wakes one task.
#[derive(Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let waker = self.waker.lock().clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Whether it has rung since the last time; otherwise the task will be woken when it does.
    /// `woken` is the caller's note of whom it wakes, which spares looking it up.
    pub(super) fn poll(&self, cx: &mut Context<'_>, woken: &mut Option<Waker>) -> bool {
        if !woken.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *woken = Some(cx.waker().clone());
            self.waker.lock().clone_from(woken);
        }
        // After the waker is in place: it may have rung before.
        self.take()
    }

    fn take(&self) -> bool {
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }
}
