//! Level 2: the one ordered stream of effects. Must not know who reads it.
//!
//! Under its shard locks a write leaves its *effects* here: deterministic commands in RESP, as Redis propagates them, in
//! one byte stream with one offset. What belongs together (a transaction, a command with several effects) is one
//! MULTI...EXEC, appended whole. As the locks are still held, the order of two effects on one key is the order in which
//! they happened. Nobody reading: nothing is written.
//!
//! Readers take the stream in *chunks*, which are shared, not copied; a chunk is freed when every reader has passed it.
//!
//! **Lock order.** The tail's lock is taken with shards held and held for one copy; nothing else is locked under it.
mod batch;
mod gate;
mod tail;

pub use batch::Batch;
pub use gate::{Gate, Unsure};
pub use tail::{Behind, Chunk, Journal, Patience, Reader};
