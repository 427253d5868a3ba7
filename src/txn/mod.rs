//! Level 4: transactions. MULTI queues in the session; EXEC runs the queue with the shards of all its keys locked.
//! Must not know the network.
mod commands;

pub use commands::{commands, reset};

use std::sync::atomic::Ordering::Relaxed;

use crate::command::client::flag;
use crate::command::env::Env;
use crate::command::session::Session;

/// Ends a transaction whose EXEC is refused. The caller holds no shard.
pub fn abandon(env: &Env, session: &mut Session) {
    session.multi = None;
    session.client.queued.store(-1, Relaxed);
    session.client.queued_bytes.store(0, Relaxed);
    session.client.set_flag(flag::MULTI | flag::DIRTY_CAS, false);
    forget_watches(env, session);
}

/// Takes the session's watches out of the keyspace. The caller holds no shard.
pub fn forget_watches(env: &Env, session: &mut Session) {
    if let Some(watch) = session.watch.take() {
        for (db, key) in session.watched.drain(..) {
            let shard = env.keyspace.shard_of(env.keyspace.hash(&key));
            env.keyspace.lock_shard(shard).part_of_mut(db, shard).unwatch(&key, &watch);
        }
    }
    session.client.watching.store(0, Relaxed);
}
