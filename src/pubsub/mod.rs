//! Level 4: publish and subscribe. Must not know the network.
//!
//! A channel's subscribers are added and removed under its map's lock and messaged under the channel's own, so that
//! all of them see its messages in one order. Messages go through `Env::push`: no publisher waits for a reader.
mod commands;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};

pub use commands::commands;

use crate::base::glob::glob_match;
use crate::command::client::{Client, flag};
use crate::command::notify::{self, Event, Notifier};
use crate::command::{Env, Session};
use crate::resp::reply::Reply;

type Name = Box<[u8]>;
/// By id, so that the order of delivery is the same every time.
type Subscribers = BTreeMap<u64, Arc<Client>>;
type Channels = DashMap<Name, Arc<Mutex<Subscribers>>>;

/// Payloads from this size on are shared by their receivers rather than copied.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// What one subscribes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Channel,
    Pattern,
    ShardChannel,
}

/// Who listens to what.
#[derive(Default)]
pub struct PubSub {
    channels: Channels,
    shard_channels: Channels,
    patterns: RwLock<BTreeMap<Name, Subscribers>>,
    env: OnceLock<Weak<Env>>,
}

impl PubSub {
    /// Gives the registry its server, for keyspace notifications.
    pub fn attach(&self, env: &Arc<Env>) {
        let _ = self.env.set(Arc::downgrade(env));
    }

    fn map(&self, kind: Kind) -> &Channels {
        if kind == Kind::ShardChannel { &self.shard_channels } else { &self.channels }
    }

    fn subscribe(&self, kind: Kind, name: &[u8], client: &Arc<Client>) {
        let client = client.clone();
        if kind == Kind::Pattern {
            self.patterns.write().entry(name.into()).or_default().insert(client.id, client);
        } else {
            self.map(kind).entry(name.into()).or_default().lock().insert(client.id, client);
        }
    }

    fn unsubscribe(&self, kind: Kind, name: &[u8], id: u64) {
        if kind == Kind::Pattern {
            let mut patterns = self.patterns.write();
            if let Some(subscribers) = patterns.get_mut(name) {
                subscribers.remove(&id);
                if subscribers.is_empty() {
                    patterns.remove(name);
                }
            }
        } else {
            self.map(kind).remove_if(name, |_, subscribers| {
                let mut subscribers = subscribers.lock();
                subscribers.remove(&id);
                subscribers.is_empty()
            });
        }
    }

    /// Sends a message to all subscribers of the channel, by name or pattern; tells how many receptions that were.
    pub fn publish(&self, env: &Env, kind: Kind, channel: &[u8], payload: &[u8]) -> usize {
        let mut receivers = 0;
        let shared = (payload.len() >= SHARED_BYTES_MIN).then(|| Arc::new(payload.to_vec()));
        let payload = Payload { bytes: payload, shared: shared.as_ref() };
        let subscribers = self.map(kind).get(channel).map(|s| s.clone());
        if let Some(subscribers) = subscribers {
            let word = if kind == Kind::ShardChannel { "smessage" } else { "message" };
            let names = [channel];
            let mut message = Message::new(word, &names, payload);
            let subscribers = subscribers.lock();
            subscribers.values().for_each(|client| message.send(env, client));
            receivers += subscribers.len();
        }
        if kind == Kind::Channel {
            let patterns = self.patterns.read();
            for (pattern, subscribers) in patterns.iter().filter(|(p, _)| glob_match(p, channel, false)) {
                let names = [&**pattern, channel];
                let mut message = Message::new("pmessage", &names, payload);
                subscribers.values().for_each(|client| message.send(env, client));
                receivers += subscribers.len();
            }
        }
        receivers
    }

    /// The channels that someone subscribes to, and match the pattern if there is one.
    fn active(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Name> {
        let matches = |name: &[u8]| pattern.is_none_or(|p| glob_match(p, name, false));
        self.map(kind).iter().map(|e| e.key().clone()).filter(|name| matches(name)).collect()
    }

    fn subscribers(&self, kind: Kind, channel: &[u8]) -> usize {
        self.map(kind).get(channel).map_or(0, |s| s.lock().len())
    }

    pub fn channel_count(&self, kind: Kind) -> usize {
        if kind == Kind::Pattern { self.patterns.read().len() } else { self.map(kind).len() }
    }
}

impl Notifier for PubSub {
    fn publish(&self, event: &Event, flags: u32) {
        let Some(env) = self.env.get().and_then(Weak::upgrade) else { return };
        if flags & notify::KEYSPACE != 0 {
            let mut channel = format!("__keyspace@{}__:", event.db).into_bytes();
            channel.extend_from_slice(&event.key);
            self.publish(&env, Kind::Channel, &channel, event.name.as_bytes());
        }
        if flags & notify::KEYEVENT != 0 {
            let channel = format!("__keyevent@{}__:{}", event.db, event.name);
            self.publish(&env, Kind::Channel, channel.as_bytes(), &event.key);
        }
    }
}

#[derive(Clone, Copy)]
struct Payload<'a> {
    bytes: &'a [u8],
    shared: Option<&'a Arc<Vec<u8>>>,
}

/// A message, encoded once for each protocol that a receiver speaks.
struct Message<'a> {
    word: &'static str,
    names: &'a [&'a [u8]],
    payload: Payload<'a>,
    encoded: [Option<Reply>; 2],
}

impl<'a> Message<'a> {
    fn new(word: &'static str, names: &'a [&'a [u8]], payload: Payload<'a>) -> Self {
        Self { word, names, payload, encoded: [None, None] }
    }

    fn send(&mut self, env: &Env, client: &Client) {
        let resp3 = client.is_resp3();
        let Self { word, names, payload, encoded } = self;
        let head = encoded[usize::from(resp3)].get_or_insert_with(|| {
            let mut head = Reply::new(resp3);
            head.push(names.len() + 2);
            head.bulk_str(word);
            names.iter().for_each(|name| head.bulk(name));
            if payload.shared.is_none() {
                head.bulk(payload.bytes);
            }
            head
        });
        env.push(client, |out| {
            out.raw(&head.buf);
            if let Some(shared) = payload.shared {
                out.bulk_shared(shared);
            }
        });
    }
}

fn names_mut(session: &mut Session, kind: Kind) -> &mut std::collections::BTreeSet<Name> {
    match kind {
        Kind::Channel => &mut session.channels,
        Kind::Pattern => &mut session.patterns,
        Kind::ShardChannel => &mut session.shard_channels,
    }
}

/// Copies the session's counts to where others see them.
fn note_counts(session: &Session) {
    use std::sync::atomic::Ordering::Relaxed;
    let client = &session.client;
    client.subscriptions.store(session.channels.len(), Relaxed);
    client.patterns.store(session.patterns.len(), Relaxed);
    client.shard_subscriptions.store(session.shard_channels.len(), Relaxed);
    client.set_flag(flag::PUBSUB, session.subscriptions() > 0);
}

/// Ends all of a session's subscriptions, without a word to the client: RESET, or the session's end.
pub fn end_session(env: &Env, session: &mut Session) {
    if session.subscriptions() == 0 {
        return;
    }
    let pubsub: &PubSub = env.service();
    for kind in [Kind::Channel, Kind::Pattern, Kind::ShardChannel] {
        for name in std::mem::take(names_mut(session, kind)) {
            pubsub.unsubscribe(kind, &name, session.client.id);
        }
    }
    note_counts(session);
}
