//! Level 4: publish and subscribe. Must not know the network.
mod commands;

pub use commands::commands;
