//! Level 4: the RDB format, in and out: dump files, DUMP and RESTORE. Must not know the network, nor who saves when.
//!
//! - `encode` writes values into a `Sink`, a few bytes at a time; `decode` reads them back from an `Input`.
//! - `skim` passes over a value without decoding it, so that one thread can cut a file up and others decode.
//! - `read::Reader` takes a whole file apart, from anything that is `Read`, holding a buffer of it at a time.
//! - `check` is the tool that examines a file.
//!
//! What is read may be hostile: every length is checked against the bytes that are really there before anything is
//! allocated for it, every packed encoding is validated whole, and an error says at which byte what was found. What is
//! written is the lowest version that holds the data, 10 wherever Redis 7.0 can read it.
#![allow(unexpected_cfgs, reason = "cargo-fuzz sets `fuzzing`")]

pub mod check;
pub mod commands;
pub mod decode;
pub mod encode;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod input;
pub mod lzf;
mod old;
pub mod read;
pub mod skim;
mod stream;
pub mod types;

#[cfg(test)]
mod tests;

pub use error::{ErrorKind, RdbError};

/// The version that is written unless the data needs a later one.
pub const VERSION: u32 = 10;
/// What fields with a time to live need: Redis 7.4's.
pub const VERSION_FIELD_TTL: u32 = 12;
/// The last of Redis's versions that can be read.
pub const VERSION_REDIS_MAX: u32 = 12;
/// Valkey's own numbering starts here.
pub const VERSION_VALKEY: u32 = 80;

/// Whether a file or payload of this version can be read.
pub fn can_read(version: u32) -> bool {
    (1..=VERSION_REDIS_MAX).contains(&version) || version == VERSION_VALKEY
}

/// What stands where a value's type could.
pub mod opcode {
    pub const SLOT_IMPORT: u8 = 243;
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    pub const FUNCTION_PRE_GA: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE_DB: u8 = 251;
    pub const EXPIRE_MS: u8 = 252;
    pub const EXPIRE_S: u8 = 253;
    pub const SELECT_DB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// The parts of a module's value.
mod module {
    pub const EOF: u64 = 0;
    pub const SINT: u64 = 1;
    pub const UINT: u64 = 2;
    pub const FLOAT: u64 = 3;
    pub const DOUBLE: u64 = 4;
    pub const STRING: u64 = 5;

    /// The name in a module type's id: nine characters of six bits each, above ten bits of version.
    pub fn name(id: u64) -> String {
        const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        (0..9).map(|i| char::from(CHARS[(id >> (58 - 6 * i)) as usize & 63])).collect()
    }
}

/// How a quicklist's node holds its elements.
mod container {
    pub const PLAIN: u64 = 1;
    pub const PACKED: u64 = 2;
}
