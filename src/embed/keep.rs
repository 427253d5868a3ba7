//! A whole data set kept in the process's memory, to begin each test with.
use super::{ExecuteError, Server};
use crate::keyspace::ShardSet;
use crate::rdb::commands::payload;

/// Every key of a server as it was at one moment, of all databases. Cheap to keep: values are in the form of a dump.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    keys: Vec<Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    db: usize,
    key: Vec<u8>,
    /// Unix milliseconds; 0 for never.
    expires_ms: u64,
    payload: Vec<u8>,
}

impl Snapshot {
    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it holds no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Server {
    /// Keeps all keys as they are now, with their expiry. Access times and frequencies are not kept.
    ///
    /// ```
    /// let server = tidewater::Server::builder().start()?;
    /// server.execute(["SET", "k", "v"])?;
    /// let fixtures = server.snapshot()?;
    /// server.execute(["DEL", "k"])?;
    /// server.restore(&fixtures)?;
    /// assert_eq!(server.execute(["GET", "k"])?.as_str(), Some("v"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot, ExecuteError> {
        if self.control.is_ending() {
            return Err(ExecuteError::Closed);
        }
        let env = self.engine.env();
        let locked = env.keyspace.lock(&ShardSet::All);
        let now = env.clock.now_ms();
        let mut keys = Vec::new();
        for db in 0..env.keyspace.databases() {
            let cells = locked.parts(db).flat_map(|part| part.table().iter());
            for cell in cells.filter(|cell| cell.expire_ms().is_none_or(|at| at > now)) {
                keys.push(Kept {
                    db,
                    key: cell.key().to_vec(),
                    expires_ms: cell.expire_ms().unwrap_or(0),
                    payload: payload(cell, false),
                });
            }
        }
        Ok(Snapshot { keys })
    }

    /// Puts the keys of a snapshot, of this server or another, in the place of all keys, as one transaction. Keys whose
    /// time has come meanwhile are not there any more.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<(), ExecuteError> {
        let mut client = self.client();
        client.execute(["MULTI"])?;
        client.execute(["FLUSHALL", "SYNC"])?;
        let mut db = 0;
        for kept in &snapshot.keys {
            if kept.db != db {
                db = kept.db;
                client.execute(["SELECT", &db.to_string()])?;
            }
            let expires = kept.expires_ms.to_string();
            client.execute([b"RESTORE", &*kept.key, expires.as_bytes(), &kept.payload, b"ABSTTL"])?;
        }
        match client.execute(["EXEC"])? {
            super::Value::Array(replies) => {
                let failed = replies.into_iter().find_map(|reply| match reply {
                    super::Value::Error(text) => Some(ExecuteError::Reply(text)),
                    _ => None,
                });
                failed.map_or(Ok(()), Err)
            }
            _ => Err(ExecuteError::Closed),
        }
    }

    /// Removes all keys of all databases.
    pub fn flush(&self) {
        // It fails only where the server has ended, with all of its keys, or where the embedder took the command away.
        let _ = self.execute(["FLUSHALL", "SYNC"]);
    }
}
