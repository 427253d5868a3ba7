//! Level 1: RESP2 and RESP3. Requests in, replies out; synchronous, over byte slices. Must not know tokio or keys.
//!
//! - [`Parser`] finds one request in a read buffer and remembers only where its arguments lie; [`Args`] lends them out.
//! - [`OwnedArgs`] keeps a request beyond its read buffer (MULTI, blocked clients, rewritten commands).
//! - [`Reply`] is the output: RESP written once, in the protocol version that the connection speaks.
//!
//! Nothing here panics on bytes from outside, and no allocation is sized by a number that a client merely claims.
pub mod args;
pub mod reply;
pub mod request;

pub use args::{Args, OwnedArgs, eq_nocase};
pub use reply::Reply;
pub use request::{ParseLimits, Parser, ProtocolError, Status};
