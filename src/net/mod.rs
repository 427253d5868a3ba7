//! Level 7: RESP over TCP and Unix sockets. Worker threads, each with a tokio runtime of its own; a connection lives on
//! one worker. Everything that a client says goes through `Engine::call`.
mod bell;
mod connection;
mod listen;
mod worker;

pub use listen::{Doorman, GuardedDoor, Listeners, Net, NetConfig, OpenDoor};
