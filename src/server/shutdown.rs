//! How a server is asked to end: by a signal, by SHUTDOWN, by its owner.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

/// What a shutdown should do; `None` in `save` means: if save points are configured.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Request {
    pub save: Option<bool>,
    /// Do not wait for lagging replicas.
    pub now: bool,
    /// End even if saving fails.
    pub force: bool,
    /// What had to be saved is saved: SHUTDOWN does that before it asks, so that it can still answer.
    pub prepared: bool,
}

impl Request {
    /// From the bits of `shutdown-on-sigterm` and `shutdown-on-sigint`.
    pub fn from_bits(bits: i64) -> Self {
        let save = match bits & 3 {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        };
        Self { save, now: bits & 4 != 0, force: bits & 8 != 0, prepared: false }
    }
}

type OnRequest = Box<dyn Fn(Request) + Send + Sync>;

/// The service through which a shutdown is asked for and awaited.
#[derive(Default)]
pub struct Control {
    asked: Mutex<Option<Request>>,
    changed: Condvar,
    ending: AtomicBool,
    on_request: OnceLock<OnRequest>,
}

impl Control {
    /// Asks for the end. The first request counts.
    pub fn request(&self, request: Request) {
        if self.ending.swap(true, Ordering::AcqRel) {
            return;
        }
        *self.asked.lock() = Some(request);
        self.changed.notify_all();
        if let Some(f) = self.on_request.get() {
            f(request);
        }
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Waits until someone asks.
    pub fn wait(&self) -> Request {
        let mut asked = self.asked.lock();
        loop {
            if let Some(request) = *asked {
                return request;
            }
            self.changed.wait(&mut asked);
        }
    }

    /// The end could not be prepared: things go on as if nobody had asked.
    pub fn cancel(&self) {
        *self.asked.lock() = None;
        self.ending.store(false, Ordering::Release);
    }

    /// Calls `f` with the request, on the thread that asks. Set once, before the server serves.
    pub fn on_request(&self, f: OnRequest) {
        let _ = self.on_request.set(f);
    }
}
