//! A client as everyone else sees it: what CLIENT LIST shows, where messages for it are left, how it is ended.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use crate::keyspace::Waiter;
use crate::resp::reply::Reply;

/// Bits of `Client::flags`.
pub mod flag {
    pub const MONITOR: u32 = 1 << 0;
    pub const PUBSUB: u32 = 1 << 1;
    pub const MULTI: u32 = 1 << 2;
    pub const BLOCKED: u32 = 1 << 3;
    pub const NO_EVICT: u32 = 1 << 4;
    pub const NO_TOUCH: u32 = 1 << 5;
    pub const UNIX: u32 = 1 << 6;
    pub const DIRTY_CAS: u32 = 1 << 7;
    pub const READONLY: u32 = 1 << 8;
    /// Close once what is already written has been sent.
    pub const CLOSE_AFTER_REPLY: u32 = 1 << 9;
    /// Close now.
    pub const CLOSE_NOW: u32 = 1 << 10;
    /// A client without a socket, as the embedding API makes them.
    pub const LOCAL: u32 = 1 << 11;
    /// Whoever loads the data set: nothing keeps it out.
    pub const LOADER: u32 = 1 << 12;
}

/// The classes of `client-output-buffer-limit`, in its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputClass {
    Normal,
    Replica,
    PubSub,
}

/// How much output may wait for a client of one class. 0 is no limit.
#[derive(Default, Debug)]
pub struct OutputLimit {
    hard_bytes: AtomicUsize,
    soft_bytes: AtomicUsize,
    soft_seconds: AtomicU64,
}

impl OutputLimit {
    pub fn new(hard_bytes: u64, soft_bytes: u64, soft_seconds: u64) -> Self {
        let limit = Self::default();
        limit.set(hard_bytes, soft_bytes, soft_seconds);
        limit
    }

    pub fn set(&self, hard_bytes: u64, soft_bytes: u64, soft_seconds: u64) {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        self.hard_bytes.store(size(hard_bytes), Ordering::Relaxed);
        self.soft_bytes.store(size(soft_bytes), Ordering::Relaxed);
        self.soft_seconds.store(soft_seconds, Ordering::Relaxed);
    }

    /// The hard limit, `None` when there is none.
    pub fn hard(&self) -> Option<usize> {
        Some(self.hard_bytes.load(Ordering::Relaxed)).filter(|&n| n > 0)
    }

    /// The soft limit and for how many milliseconds it may be exceeded.
    pub fn soft(&self) -> Option<(usize, u64)> {
        let bytes = self.soft_bytes.load(Ordering::Relaxed);
        (bytes > 0).then(|| (bytes, self.soft_seconds.load(Ordering::Relaxed).saturating_mul(1000)))
    }
}

/// What changes rarely and is text.
#[derive(Default, Clone)]
pub struct Labels {
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub user: String,
}

/// One client, shared between its connection and everyone else.
pub struct Client {
    pub id: u64,
    pub addr: String,
    pub laddr: String,
    pub fd: i64,
    pub created_ms: u64,
    pub labels: Mutex<Labels>,
    pub flags: AtomicU32,
    pub resp: AtomicU32,
    pub db: AtomicUsize,
    /// Number of the last command in the table; `usize::MAX` before the first.
    pub last_command: AtomicUsize,
    pub last_seen_ms: AtomicU64,
    pub subscriptions: AtomicUsize,
    pub patterns: AtomicUsize,
    pub shard_subscriptions: AtomicUsize,
    /// Queued commands of an open MULTI; -1 outside.
    pub queued: AtomicI64,
    pub watching: AtomicUsize,
    /// Bytes of the open MULTI's queue.
    pub queued_bytes: AtomicUsize,
    pub query_bytes: AtomicUsize,
    pub query_capacity: AtomicUsize,
    pub args_bytes: AtomicUsize,
    /// Reply bytes that the connection holds, unsent.
    pub output_bytes: AtomicUsize,
    pub output_capacity: AtomicUsize,
    pub output_peak: AtomicUsize,
    pub total_net_in: AtomicU64,
    pub total_net_out: AtomicU64,
    /// The worker that serves it.
    pub worker: AtomicUsize,
    /// The blocked command, if any.
    pub waiter: Mutex<Option<Arc<Waiter>>>,
    /// Messages from others (pub/sub, MONITOR), waiting for the connection to send them.
    outbox: Mutex<Reply>,
    outbox_bytes: AtomicUsize,
    has_mail: AtomicBool,
    /// Since when the soft output limit has been exceeded, Unix milliseconds; 0 when it is not.
    over_soft_since_ms: AtomicU64,
    /// What `Clients::memory` holds for this client.
    counted_bytes: AtomicUsize,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Client {
    pub fn new(
        id: u64,
        addr: String,
        laddr: String,
        fd: i64,
        now_ms: u64,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            id,
            addr,
            laddr,
            fd,
            created_ms: now_ms,
            labels: Mutex::new(Labels { user: "default".into(), ..Labels::default() }),
            flags: AtomicU32::new(0),
            resp: AtomicU32::new(2),
            db: AtomicUsize::new(0),
            last_command: AtomicUsize::new(usize::MAX),
            last_seen_ms: AtomicU64::new(now_ms),
            subscriptions: AtomicUsize::new(0),
            patterns: AtomicUsize::new(0),
            shard_subscriptions: AtomicUsize::new(0),
            queued: AtomicI64::new(-1),
            watching: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            query_bytes: AtomicUsize::new(0),
            query_capacity: AtomicUsize::new(0),
            args_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            output_capacity: AtomicUsize::new(0),
            output_peak: AtomicUsize::new(0),
            total_net_in: AtomicU64::new(0),
            total_net_out: AtomicU64::new(0),
            worker: AtomicUsize::new(0),
            waiter: Mutex::new(None),
            outbox: Mutex::new(Reply::new(false)),
            outbox_bytes: AtomicUsize::new(0),
            has_mail: AtomicBool::new(false),
            over_soft_since_ms: AtomicU64::new(0),
            counted_bytes: AtomicUsize::new(0),
            wake,
        }
    }

    pub fn has_flag(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    pub fn set_flag(&self, flag: u32, on: bool) {
        if on {
            self.flags.fetch_or(flag, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!flag, Ordering::Relaxed);
        }
    }

    pub fn is_resp3(&self) -> bool {
        self.resp.load(Ordering::Relaxed) == 3
    }

    /// Leaves a message, which `write` writes in the client's protocol, and wakes its connection. Whoever pushes for
    /// a command uses `Env::push`, which minds the output limits.
    pub fn push(&self, write: impl FnOnce(&mut Reply)) {
        let was = {
            let mut out = self.outbox.lock();
            write(&mut out);
            self.outbox_bytes.store(out.total_len(), Ordering::Relaxed);
            self.has_mail.swap(true, Ordering::AcqRel)
        };
        if !was {
            (self.wake)();
        }
    }

    /// Whether messages wait.
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Bytes of waiting messages.
    pub fn mail_bytes(&self) -> usize {
        self.outbox_bytes.load(Ordering::Relaxed)
    }

    /// Moves the waiting messages to the end of `to`.
    pub fn take_mail(&self, to: &mut Reply) {
        let mut out = self.outbox.lock();
        self.has_mail.store(false, Ordering::Release);
        let mail = std::mem::take(&mut *out);
        self.outbox_bytes.store(0, Ordering::Relaxed);
        drop(out);
        to.append(mail);
    }

    /// All output that waits: unsent replies and messages.
    pub fn pending_bytes(&self) -> usize {
        self.output_bytes.load(Ordering::Relaxed) + self.mail_bytes()
    }

    /// Whose output limit counts. A client in MONITOR is a normal one, as Redis shows it.
    pub fn output_class(&self) -> OutputClass {
        if self.has_flag(flag::PUBSUB) { OutputClass::PubSub } else { OutputClass::Normal }
    }

    /// Whether `pending` bytes of output are more than the client's class may leave waiting: at once past the hard
    /// limit, after its time past the soft one.
    pub fn is_over(&self, limit: &OutputLimit, pending: usize, now_ms: impl FnOnce() -> u64) -> bool {
        if limit.hard().is_some_and(|hard| pending > hard) {
            return true;
        }
        match limit.soft() {
            Some((soft, time_ms)) if pending > soft => {
                let now = now_ms();
                match self.over_soft_since_ms.load(Ordering::Relaxed) {
                    0 => {
                        self.over_soft_since_ms.store(now.max(1), Ordering::Relaxed);
                        false
                    }
                    since => now.saturating_sub(since) > time_ms,
                }
            }
            _ => {
                if self.over_soft_since_ms.load(Ordering::Relaxed) != 0 {
                    self.over_soft_since_ms.store(0, Ordering::Relaxed);
                }
                false
            }
        }
    }

    /// Ends the connection: at once, or after what is already written.
    pub fn close(&self, after_reply: bool) {
        self.set_flag(if after_reply { flag::CLOSE_AFTER_REPLY } else { flag::CLOSE_NOW }, true);
        (self.wake)();
    }

    /// Wakes the connection: a flag or its waiter has changed.
    pub fn wake(&self) {
        (self.wake)();
    }

    pub fn closing(&self) -> bool {
        self.has_flag(flag::CLOSE_NOW | flag::CLOSE_AFTER_REPLY)
    }

    /// Bytes that this client occupies, for `maxmemory-clients` and CLIENT LIST.
    pub fn memory(&self) -> usize {
        let o = Ordering::Relaxed;
        size_of::<Self>()
            + self.query_capacity.load(o)
            + self.args_bytes.load(o)
            + self.output_bytes.load(o).max(self.output_capacity.load(o))
            + self.mail_bytes()
            + self.queued_bytes.load(o)
            + self.watching.load(o) * 64
            + (self.subscriptions.load(o) + self.patterns.load(o) + self.shard_subscriptions.load(o)) * 96
    }
}

/// All clients.
#[derive(Default)]
pub struct Clients {
    all: DashMap<u64, Arc<Client>>,
    next: AtomicU64,
    monitors: AtomicUsize,
    /// About what they occupy together; kept while that is limited, and made exact by every `evict`.
    memory: AtomicUsize,
    /// The limit that the last `evict` enforced.
    memory_limit: AtomicUsize,
    evicting: Mutex<()>,
}

impl Clients {
    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn add(&self, client: Arc<Client>) {
        self.all.insert(client.id, client);
    }

    pub fn remove(&self, id: u64) {
        if let Some((_, client)) = self.all.remove(&id) {
            self.note_bytes(&client, 0);
        }
    }

    /// Takes note of what a client occupies now. Tells whether that is a reason to `evict`.
    pub fn note_memory(&self, client: &Client, limit: usize) -> bool {
        let bytes = if client.closing() { 0 } else { client.memory() };
        self.note_bytes(client, bytes) > limit || self.memory_limit.load(Ordering::Relaxed) != limit
    }

    fn note_bytes(&self, client: &Client, bytes: usize) -> usize {
        let was = client.counted_bytes.swap(bytes, Ordering::Relaxed);
        let change = bytes.wrapping_sub(was);
        if change == 0 {
            return self.memory.load(Ordering::Relaxed);
        }
        self.memory.fetch_add(change, Ordering::Relaxed).wrapping_add(change)
    }

    /// Closes the largest clients until the rest occupy no more than `limit`; tells how many. They are off the list at
    /// once, however busy their workers are. Those with CLIENT NO-EVICT and those without a socket stay.
    pub fn evict(&self, limit: usize) -> u64 {
        let Some(_alone) = self.evicting.try_lock() else { return 0 };
        let all = self.list();
        let mut sized: Vec<(usize, &Arc<Client>)> =
            all.iter().filter(|c| !c.closing()).map(|c| (c.memory(), c)).collect();
        let mut sum: usize = sized.iter().map(|(bytes, _)| bytes).sum();
        let mut evicted = 0;
        if sum > limit {
            sized.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            for &(bytes, client) in &sized {
                if sum <= limit {
                    break;
                }
                if !client.has_flag(flag::NO_EVICT | flag::LOCAL) {
                    client.close(false);
                    self.remove(client.id);
                    sum -= bytes;
                    evicted += 1;
                }
            }
        }
        for (bytes, client) in sized {
            let bytes = if client.closing() { 0 } else { bytes };
            client.counted_bytes.store(bytes, Ordering::Relaxed);
        }
        self.memory.store(sum, Ordering::Relaxed);
        self.memory_limit.store(limit, Ordering::Relaxed);
        evicted
    }

    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.all.get(&id).map(|c| c.clone())
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, by id.
    pub fn list(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.all.iter().map(|c| c.clone()).collect();
        all.sort_unstable_by_key(|c| c.id);
        all
    }

    /// Calls back with each of them, in no order. The callback must neither add nor remove any.
    pub fn for_each(&self, f: impl FnMut(&Arc<Client>)) {
        let mut f = f;
        self.all.iter().for_each(|c| f(&c));
    }

    pub fn monitors(&self) -> &AtomicUsize {
        &self.monitors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(clients: &Clients, input: usize) -> Arc<Client> {
        let id = clients.next_id();
        let client = Arc::new(Client::new(id, String::new(), String::new(), 0, 0, Box::new(|| {})));
        client.query_capacity.store(input, Ordering::Relaxed);
        clients.add(client.clone());
        client
    }

    #[test]
    fn the_largest_clients_go_until_the_rest_fits() {
        let clients = Clients::default();
        let all = [300_000, 500_000, 100_000, 900_000].map(|bytes| client(&clients, bytes));
        all[3].set_flag(flag::NO_EVICT, true);
        // Nothing has been counted yet, but this limit was never enforced.
        assert!(clients.note_memory(&all[0], 1_500_000));
        assert_eq!(clients.evict(1_500_000), 1);
        assert!(all[1].has_flag(flag::CLOSE_NOW) && clients.get(all[1].id).is_none());
        assert!(!clients.note_memory(&all[0], 1_500_000));
        all[2].query_capacity.store(400_000, Ordering::Relaxed);
        assert!(clients.note_memory(&all[2], 1_500_000));
        assert_eq!(clients.evict(1_500_000), 1);
        assert!(all[2].has_flag(flag::CLOSE_NOW) && !all[0].closing());
        // Spared, it counts all the same.
        assert_eq!(clients.evict(200_000), 1);
        assert_eq!((clients.len(), clients.evict(200_000)), (1, 0));
        clients.remove(all[3].id);
        assert_eq!(clients.memory.load(Ordering::Relaxed), 0);
    }
}
