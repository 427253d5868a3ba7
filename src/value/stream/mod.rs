//! Streams: entries in packed blocks, and their consumer groups.
pub mod group;
pub mod id;
