//! Which threads run on which processors: `server-cpulist` and its kin.
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::base::cpus::Cpus;
use crate::config::Config;

/// Threads that have a list of their own.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The workers and the slow lane: who runs clients' commands.
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

/// The lists, as they were when the server started.
#[derive(Default)]
pub struct Places {
    lists: [Option<Cpus>; 4],
    /// What a thread without a list runs on, as those that workers start would inherit theirs.
    home: Option<Cpus>,
    warned: AtomicBool,
}

impl Places {
    /// A list that cannot be read is no list, as with Redis; the log says so.
    pub fn of(config: &Config) -> Places {
        let mut places = Places::default();
        for (place, name) in DIRECTIVES {
            let Some(text) = config.opt_str(name) else { continue };
            places.lists[place as usize] = Cpus::parse(&text);
            if places.lists[place as usize].is_none() {
                tracing::warn!("{name} is no list of processors and is ignored: '{text}'");
            }
        }
        if places.lists.iter().any(Option::is_some) {
            places.home = Cpus::of_thread().ok();
        }
        places
    }

    /// Has the calling thread run where its kind belongs.
    pub fn take(&self, place: Place) {
        let Some(cpus) = self.lists[place as usize].as_ref().or(self.home.as_ref()) else { return };
        if let Err(e) = cpus.bind()
            && !self.warned.swap(true, Relaxed)
        {
            tracing::warn!("Can't bind a thread to its processors ({place:?}): {e}");
        }
    }
}
