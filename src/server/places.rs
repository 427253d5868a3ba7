//! Which threads run on which processors: `server-cpulist` and its kin.
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::base::cpus::{Cpus, ThreadId};
use crate::config::Config;

/// Threads that have a list of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The workers, who run clients' commands; the slow lane inherits it from them.
    Server,
    /// Freeing, the append-only file, Kafka.
    Background,
    Save,
    Rewrite,
}

const DIRECTIVES: [(Place, &str); 4] = [
    (Place::Server, "server-cpulist"),
    (Place::Background, "bio-cpulist"),
    (Place::Save, "bgsave-cpulist"),
    (Place::Rewrite, "aof-rewrite-cpulist"),
];

/// The directives that `follow` reads.
pub fn directives() -> [&'static str; 4] {
    DIRECTIVES.map(|(_, name)| name)
}

/// The lists, and the threads that they are about.
#[derive(Default)]
pub struct Places {
    inner: Mutex<Inner>,
    warned: AtomicBool,
}

#[derive(Default)]
struct Inner {
    lists: [Option<Cpus>; 4],
    /// What a thread without a list runs on, as those that workers start would inherit theirs. Known once there is a list.
    home: Option<Cpus>,
    threads: Vec<(Place, ThreadId)>,
}

impl Inner {
    fn cpus(&self, place: Place) -> Option<&Cpus> {
        self.lists[place as usize].as_ref().or(self.home.as_ref())
    }
}

/// A thread in its place; when it is dropped, on that thread, the lists have nothing to do with it any more.
#[must_use]
pub struct Placed<'a>(&'a Places, ThreadId);

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        self.0.inner.lock().threads.retain(|(_, thread)| *thread != self.1);
    }
}

impl Places {
    /// Reads the lists and binds the threads that there are. One that cannot be read is no list, as with Redis; the log
    /// says so.
    pub fn follow(&self, config: &Config) {
        let inner = &mut *self.inner.lock();
        for (place, name) in DIRECTIVES {
            let text = config.opt_str(name);
            let cpus = text.as_deref().and_then(Cpus::parse);
            if let (Some(text), None) = (text, &cpus) {
                tracing::warn!("{name} is no list of processors and is ignored: '{text}'");
            }
            inner.lists[place as usize] = cpus;
        }
        if inner.home.is_none() && inner.lists.iter().any(Option::is_some) {
            inner.home = Cpus::of_process().ok();
        }
        for (place, thread) in &inner.threads {
            self.bind(inner, *place, *thread);
        }
    }

    /// Has the calling thread run where its kind belongs, now and after each change.
    pub fn take(&self, place: Place) -> Placed<'_> {
        let thread = ThreadId::current();
        let inner = &mut *self.inner.lock();
        inner.threads.push((place, thread));
        self.bind(inner, place, thread);
        Placed(self, thread)
    }

    fn bind(&self, inner: &Inner, place: Place, thread: ThreadId) {
        if let Some(Err(e)) = inner.cpus(place).map(|cpus| cpus.bind(thread))
            && !self.warned.swap(true, Relaxed)
        {
            tracing::warn!("Can't bind a thread to its processors ({place:?}): {e}");
        }
    }
}
