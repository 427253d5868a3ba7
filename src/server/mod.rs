//! Level 6: `Engine` builds the command table and wires the services; admission, cron, the slow lane, INFO, shutdown.
//! Must not know sockets.
pub mod commands;
pub mod assemble;
pub mod cron;
pub mod digest;
pub mod engine;
pub mod latency;
pub mod meter;
pub mod observer;
pub mod process;
pub mod slow;
pub mod slowlog;

pub use commands::all_commands;
pub use engine::{Called, Engine, Worker};
