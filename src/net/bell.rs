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
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> bool {
        if self.take() {
            return true;
        }
        let mut waker = self.waker.lock();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        // It may have rung before the waker was in place.
        self.take()
    }

    fn take(&self) -> bool {
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }
}
