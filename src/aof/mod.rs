//! Level 4: the append-only file: its directory, manifest, reading, writing and checks. Must not know the network, nor what
//! the commands in it mean.
//!
//! The files are Redis 7's: in `appenddirname` a manifest that names a base (a snapshot, as an RDB file or as commands) and
//! the incremental files that go on from it, read in that order. Of several files only the last may end in the middle of a
//! command.
//!
//! - `layout`: where everything is and how it is called.
//! - `manifest`: the manifest's text; `store`: the manifest on disk and what changes it.
//! - `writer`: appends, and the steps of a rewrite, such that after a crash between any two operations what was said to be
//!   durable is there, in order.
//! - `sync_log`: what makes the last of the file durable sooner than the file itself can be.
//! - `reader`: commands out of one file, whole transactions at a time; `load`: all files in order.
//! - `encode`: a key as commands, for a base that is no RDB file.
//! - `check`: the tool that examines the files.
//!
//! Nothing here has a thread or a policy (`appendfsync`): a thread of the server drives it. A format that others read (RDB)
//! comes in as a callback.
#![allow(unexpected_cfgs, reason = "cargo-fuzz sets `fuzzing`")]

pub mod check;
pub mod encode;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod layout;
pub mod load;
pub mod manifest;
pub mod reader;
pub mod store;
pub mod sync_log;
pub mod writer;

#[cfg(test)]
mod tests;

pub use layout::{BaseFormat, Layout};
pub use manifest::Manifest;
pub use store::Store;
pub use writer::Writer;
