//! Tidewater: a Redis-protocol in-memory server.
pub mod base;
pub mod resp;
pub mod value;
