//! MONITOR.
use std::sync::atomic::Ordering;

use crate::command::client::flag;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::Args;

pub fn commands() -> Vec<Command> {
    vec![
        Command::new("monitor", Arity::exactly(1), monitor)
            .group(Group::Server)
            .admin()
            .noscript()
            .loading()
            .stale()
            .since("1.0.0")
            .doc("Streams every command that the server runs."),
    ]
}

fn monitor(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if ctx.is_nested() {
        return Err(CommandError::new("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    // To ask again changes nothing, and as in Redis is not even answered.
    if !ctx.client().has_flag(flag::MONITOR) {
        ctx.client().set_flag(flag::MONITOR, true);
        ctx.env.clients.monitors().fetch_add(1, Ordering::Relaxed);
        ctx.reply.ok();
    }
    Ok(())
}

/// Ends the client's MONITOR, if it is in one.
pub(super) fn leave(ctx: &mut Context<'_>) {
    if ctx.client().has_flag(flag::MONITOR) {
        ctx.client().set_flag(flag::MONITOR, false);
        ctx.env.clients.monitors().fetch_sub(1, Ordering::Relaxed);
    }
}
