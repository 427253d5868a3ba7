//! Commands about the connection and the server.
mod client;
pub mod command;
mod connection;
mod debug;
mod help;
mod info;
mod latency;
mod memory;
mod migrate;
mod monitor;
mod persistence;
pub mod server;
mod shutdown;
mod slowlog;

use crate::command::Command;

/// Every command of every level: what a server offers.
pub fn all_commands() -> Vec<Command> {
    let families = [
        crate::command::commands,
        crate::config::commands::commands,
        crate::txn::commands,
        crate::pubsub::commands,
        crate::rdb::commands::commands,
        client::commands,
        command::commands,
        connection::commands,
        debug::commands,
        info::commands,
        latency::commands,
        memory::commands,
        migrate::commands,
        monitor::commands,
        persistence::commands,
        server::commands,
        shutdown::commands,
        slowlog::commands,
    ];
    families.iter().flat_map(|f| f()).collect()
}
