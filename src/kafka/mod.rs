//! Level 7: topics straight into keys. A pipeline is a topic and templates of write commands; each record becomes
//! commands, run through the engine.
//!
//! `definition` is what KAFKA CREATE says, `template` its compiled form, `filter` the WHERE in it, `path` the places
//! in a document that both name, `format` and `json` how a document is read, `record` what comes in and goes out.
//!
//! `service` keeps a thread (`runner`) for each pipeline that the keyspace holds (`store`); the thread reads from Kafka
//! (`fetch`, the only file with librdkafka's own calls) and writes through `Engine::step`. `dead` is where records go
//! that cannot be applied, `retry` how they come back, `status` what INFO sees, `commands` the KAFKA command.
pub mod commands;
mod dead;
pub mod definition;
mod fetch;
pub mod filter;
pub mod format;
pub mod json;
pub mod path;
pub mod record;
mod retry;
mod runner;
mod service;
mod status;
mod store;
pub mod template;

pub use definition::{Definition, GrammarError};
pub use record::{Record, RecordError, Rendered, Verdict};
pub use service::Kafka;
pub use template::Pipeline;
