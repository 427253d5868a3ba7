//! The slow lane: a small pool of threads for commands that may take long or must wait for a shard. These threads own
//! their time; they run at a lower priority, so that workers come first when cores are short.
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::server::Worker;

/// A piece of work; it gets the lane's own worker state.
pub type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// Threads at most. A job may wait for a shard that another job holds, never for a job in the queue.
const THREADS_MAX: usize = 16;

/// Jobs that wait for something outside of the server and leave their place in the pool to another thread meanwhile.
const OUTSIDE_MAX: usize = 64;

/// Slow commands get about a tenth of a core that workers want all of.
const SLOW_NICE: i32 = 10;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Those that are outside not counted.
    threads: usize,
    idle: usize,
    outside: usize,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    make_worker: Box<dyn Fn() -> Worker + Send + Sync>,
    /// The first thread's: made early, so that the first long command does not look like growing memory.
    first: Mutex<Option<Worker>>,
}

impl Shared {
    /// Starts a thread if there is more to do than threads to do it, and not too many of them.
    fn hire(self: &Arc<Self>, queue: &mut Queue) {
        if queue.idle < queue.jobs.len() && queue.threads < THREADS_MAX {
            let (shared, worker) =
                (self.clone(), self.first.lock().take().unwrap_or_else(|| (self.make_worker)()));
            let started =
                std::thread::Builder::new().name("slow-lane".into()).spawn(move || serve(&shared, worker));
            if started.is_ok() {
                queue.threads += 1;
            }
        }
    }
}

thread_local! {
    /// The pool that this thread is of.
    static POOL: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The pool. Threads start on demand and end with it.
pub struct SlowLane {
    shared: Arc<Shared>,
}

impl SlowLane {
    pub fn new(make_worker: Box<dyn Fn() -> Worker + Send + Sync>) -> Self {
        let first = Mutex::new(Some(make_worker()));
        Self {
            shared: Arc::new(Shared { queue: Mutex::default(), ready: Condvar::new(), make_worker, first }),
        }
    }

    pub fn submit(&self, job: Job) {
        let mut queue = self.shared.queue.lock();
        queue.jobs.push_back(job);
        self.shared.hire(&mut queue);
        drop(queue);
        self.shared.ready.notify_one();
    }
}

impl Drop for SlowLane {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.ready.notify_all();
    }
}

/// Runs `f`, which waits for something outside of the server, such that the pool's other jobs do not wait for it, too:
/// meanwhile another thread may take this one's place.
pub fn outside<R>(f: impl FnOnce() -> R) -> R {
    struct Back(Arc<Shared>);
    impl Drop for Back {
        fn drop(&mut self) {
            let mut queue = self.0.queue.lock();
            queue.outside -= 1;
            queue.threads += 1;
        }
    }
    let _back = POOL.with_borrow(Clone::clone).and_then(|shared| {
        let mut queue = shared.queue.lock();
        if queue.outside == OUTSIDE_MAX {
            return None;
        }
        queue.outside += 1;
        queue.threads -= 1;
        shared.hire(&mut queue);
        drop(queue);
        Some(Back(shared))
    });
    f()
}

fn serve(shared: &Arc<Shared>, mut worker: Worker) {
    crate::base::priority::lower(SLOW_NICE);
    POOL.set(Some(shared.clone()));
    let mut queue = shared.queue.lock();
    loop {
        if let Some(job) = queue.jobs.pop_front() {
            drop(queue);
            // A panic in a job costs its connection, not the pool.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut worker)));
            queue = shared.queue.lock();
        } else if queue.closed || queue.threads > THREADS_MAX {
            queue.threads -= 1;
            return;
        } else {
            queue.idle += 1;
            shared.ready.wait(&mut queue);
            queue.idle -= 1;
        }
    }
}
