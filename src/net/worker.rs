//! A worker thread: a tokio current-thread runtime with the connections that were given to it.
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::connection::{self, Accepted};
use crate::resp::reply::Reply;
use crate::resp::request::Parser;
use crate::server::engine::GROUP_MAX;
use crate::server::places::{Place, Places};
use crate::server::{Engine, Worker};

/// What the connections of one worker share; they run one at a time.
pub(super) struct Local {
    pub(super) engine: Arc<Engine>,
    pub(super) worker: RefCell<Worker>,
    /// Connections read into this, so that an idle one holds no buffer.
    pub(super) input: RefCell<Vec<u8>>,
    /// Spare reply buffers, for the same reason.
    pub(super) replies: RefCell<Vec<Reply>>,
    /// One for each request of a group.
    pub(super) parsers: RefCell<Vec<Parser>>,
    pub(super) index: usize,
}

/// The way to a worker.
pub(super) struct Handle {
    sender: UnboundedSender<Accepted>,
    /// Connections it serves.
    pub(super) load: Arc<AtomicUsize>,
}

impl Handle {
    pub(super) fn give(&self, accepted: Accepted) {
        self.load.fetch_add(1, Ordering::Relaxed);
        if self.sender.send(accepted).is_err() {
            self.load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One read's size, and so the most that a batch of pipelined commands holds.
pub(super) const INPUT_BYTES: usize = 64 * 1024;

/// Starts a worker; it ends when its handle is dropped and its connections are closed.
pub(super) fn start(
    engine: Arc<Engine>,
    index: usize,
) -> std::io::Result<(Handle, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = unbounded_channel();
    let load = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = {
        let load = load.clone();
        std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            crate::base::priority::short_turns();
            let env = engine.env().clone();
            let _place = env.service::<Places>().take(Place::Server);
            let local = Rc::new(Local {
                worker: RefCell::new(engine.worker()),
                engine,
                input: RefCell::new(vec![0; INPUT_BYTES]),
                replies: RefCell::new(Vec::new()),
                parsers: RefCell::new((0..GROUP_MAX).map(|_| Parser::new()).collect()),
                index,
            });
            LocalSet::new().block_on(&runtime, serve(local, receiver, load));
        })?
    };
    Ok((Handle { sender, load }, thread))
}

async fn serve(local: Rc<Local>, mut receiver: UnboundedReceiver<Accepted>, load: Arc<AtomicUsize>) {
    while let Some(accepted) = receiver.recv().await {
        let (local, leaving) = (local.clone(), Leaving(load.clone()));
        tokio::task::spawn_local(async move {
            connection::serve(local, accepted).await;
            drop(leaving);
        });
    }
    // The server stops: what is written goes out, as far as clients take it in this time.
    for after_reply in [true, false] {
        let clients = local.engine.env().clients.list();
        let own = clients.iter().filter(|c| c.worker.load(Ordering::Relaxed) == local.index);
        own.for_each(|client| client.close(after_reply));
        drop(clients);
        let end = tokio::time::Instant::now() + LAST_WORDS;
        while load.load(Ordering::Relaxed) > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// How long clients have to take their last replies when the server stops.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Counts a connection out, however it ends.
struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
