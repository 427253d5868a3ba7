//! Tidewater: a Redis-protocol in-memory server.
pub mod aof;
pub mod base;
pub mod command;
pub mod config;
pub mod embed;
pub mod journal;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod keyspace;
pub mod net;
pub mod program;
pub mod pubsub;
pub mod rdb;
pub mod resp;
pub mod server;
pub mod txn;
pub mod value;

pub use base::clock::Clock;
pub use embed::{Builder, ExecuteError, Faults, LocalClient, Server, Snapshot, StartError, Value};
