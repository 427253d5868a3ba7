//! SHUTDOWN.
use crate::command::row::{Arity, Command, Group, Locks};
use crate::command::{CommandError, Context, Outcome};
use crate::resp::args::Args;
use crate::server::persist::Persistence;
use crate::server::shutdown::{Control, Request};

pub fn commands() -> Vec<Command> {
    vec![
        Command::new("shutdown", Arity::at_least(1), shutdown)
            .group(Group::Server)
            .since("1.0.0")
            .admin()
            .noscript()
            .loading()
            .stale()
            .no_multi()
            .locks(Locks::Walk)
            .sentinel()
            .allow_busy()
            .doc("Ends the server, after saving its data if it is configured to.")
            .complexity("O(N) in the number of keys when it saves, O(1) otherwise"),
    ]
}

fn shutdown(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut request = Request::default();
    let mut abort = false;
    for arg in args.iter().skip(1) {
        let (mut save, mut now, mut force) = (None, false, false);
        match arg.to_ascii_lowercase().as_slice() {
            b"save" => save = Some(true),
            b"nosave" => save = Some(false),
            b"now" => now = true,
            b"force" => force = true,
            b"abort" => abort = true,
            _ => return Err(CommandError::SYNTAX),
        }
        if save.is_some() && request.save.is_some_and(|s| Some(s) != save) {
            return Err(CommandError::SYNTAX);
        }
        request.save = save.or(request.save);
        request.now |= now;
        request.force |= force;
    }
    if abort {
        if request != Request::default() {
            return Err(CommandError::SYNTAX);
        }
        // A shutdown does not wait for anything yet, so there is never one to stop.
        return Err(CommandError::new("ERR No shutdown in progress."));
    }
    ctx.slow_lane(usize::MAX)?;
    if ctx.service::<Persistence>().prepare_end(ctx.env, request).is_err() {
        return Err(CommandError::new("ERR Errors trying to SHUTDOWN. Check logs."));
    }
    request.prepared = true;
    // There is no reply to a shutdown: the connection ends.
    ctx.session.quit = true;
    ctx.service::<Control>().request(request);
    Ok(())
}
