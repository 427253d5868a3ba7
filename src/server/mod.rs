//! Level 6: `Engine` builds the command table and wires the services; admission, cron, the slow lane, INFO, shutdown.
//! Must not know sockets.
pub mod assemble;
pub mod commands;
pub mod cron;
pub mod digest;
pub mod engine;
pub mod evict;
pub mod latency;
pub mod log;
pub mod meter;
pub mod migrate;
pub mod observer;
pub mod persist;
pub mod places;
pub mod process;
pub mod rehearsal;
pub mod shutdown;
pub mod slow;
pub mod slowlog;

pub use assemble::assemble;
pub use commands::all_commands;
pub use engine::{Called, Engine, Worker};
