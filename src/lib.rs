//! Tidewater: a Redis-protocol in-memory server.
pub mod base;
pub mod config;
pub mod resp;
pub mod value;
