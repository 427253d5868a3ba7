//! Classes of keyspace notifications, with the bits that `notify-keyspace-events` parses to.

pub const KEYSPACE: u32 = 1 << 0;
pub const KEYEVENT: u32 = 1 << 1;
pub const GENERIC: u32 = 1 << 2;
pub const STRING: u32 = 1 << 3;
pub const LIST: u32 = 1 << 4;
pub const SET: u32 = 1 << 5;
pub const HASH: u32 = 1 << 6;
pub const ZSET: u32 = 1 << 7;
pub const EXPIRED: u32 = 1 << 8;
pub const EVICTED: u32 = 1 << 9;
pub const STREAM: u32 = 1 << 10;
pub const KEY_MISS: u32 = 1 << 11;
pub const MODULE: u32 = 1 << 13;
pub const NEW: u32 = 1 << 14;

/// A notification that a command owes; published at its end, under its locks.
#[derive(Debug)]
pub struct Event {
    pub class: u32,
    pub name: &'static str,
    pub key: Box<[u8]>,
    pub db: usize,
}

/// Publishes notifications; pub/sub implements it.
pub trait Notifier: Send + Sync {
    fn publish(&self, event: &Event, flags: u32);
}
