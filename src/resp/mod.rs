//! Level 1: RESP2 and RESP3. Requests in, replies out; synchronous, over byte slices. Must not know tokio or keys.
pub mod args;
pub mod reply;
pub mod request;
