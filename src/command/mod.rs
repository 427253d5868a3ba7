//! Level 3: the command table and the handlers. A file a family: row and handler side by side; a row is all that a
//! new command needs. Handlers are plain synchronous functions over a locked view of their keys; they never lock,
//! never await, never see a socket. Must not know sockets or tokio.
mod call;
pub mod client;
mod context;
pub mod env;
pub mod error;
pub mod notify;
pub mod row;
pub mod session;
pub mod stats;
pub mod syntax;
pub mod table;
pub mod view;

pub mod bitmap;
pub mod database;
pub mod expire;
pub mod generic;
pub mod geo;
pub mod hash;
pub mod hash_ttl;
pub mod hyperloglog;
pub mod list;
pub mod object;
pub mod scan;
pub mod set;
pub mod sort;
pub mod stream;
pub mod stream_group;
pub mod string;
pub mod wait;
pub mod zset;

pub use call::{
    Known, Ran, Request, Runner, count_unblocked, end_wait, forget_waiter, run, run_step, run_waiter,
    with_shard,
};
pub use context::{Block, Context, Lane, SLOW_LANE_COST};
pub use env::Env;
pub use error::CommandError;
pub use row::{Arity, Command, Flags, Group, Handler};
pub use session::Session;
pub use view::View;

/// What a handler returns: the reply is in the context.
pub type Outcome = Result<(), CommandError>;

/// Every command of this level.
pub fn commands() -> Vec<Command> {
    let families = [
        string::commands,
        bitmap::commands,
        list::commands,
        set::commands,
        zset::commands,
        hash::commands,
        generic::commands,
        database::commands,
        object::commands,
        wait::commands,
        expire::commands,
        scan::commands,
        geo::commands,
        hash_ttl::commands,
        hyperloglog::commands,
        stream::commands,
        stream_group::commands,
        sort::commands,
    ];
    families.iter().flat_map(|f| f()).collect()
}
