//! SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF.
use std::sync::atomic::Ordering::Relaxed;

use crate::command::row::Locks;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::{Args, eq_nocase};
use crate::server::persist::{Kind, Persistence, SaveError, started};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| {
        Command::new(name, arity, handler).group(Group::Server).since("1.0.0").locks(Locks::Walk)
    };
    vec![
        c("save", Arity::exactly(1), save)
            .no_async_loading()
            .admin()
            .noscript()
            .no_multi()
            .doc("Writes the data to the dump file, and answers when it is there.")
            .complexity("O(N) where N is the total number of keys in all databases"),
        c("bgsave", Arity::at_least(1), bgsave)
            .no_async_loading()
            .admin()
            .noscript()
            .doc("Writes the data as it is now to the dump file, in the background.")
            .complexity("O(1)"),
        c("bgrewriteaof", Arity::exactly(1), bgrewriteaof)
            .no_async_loading()
            .admin()
            .noscript()
            .doc("Rewrites the append-only file as short as may be, in the background.")
            .complexity("O(1)"),
        c("lastsave", Arity::exactly(1), lastsave)
            .loading()
            .stale()
            .fast()
            .categories(&["admin", "dangerous"])
            .doc("Answers when the data was last written to the dump file, in Unix seconds.")
            .complexity("O(1)"),
    ]
}

fn save(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.slow_lane(usize::MAX)?;
    let persistence = ctx.service::<Persistence>();
    let begun = loop {
        match persistence.begin(ctx.env, Kind::Save, None) {
            Err(SaveError::Rewriting) => persistence.wait_for_job(),
            other => break other?,
        }
    };
    if persistence.finish(ctx.env, begun).is_err() {
        return Err(CommandError::new("ERR"));
    }
    ctx.reply.ok();
    Ok(())
}

/// Begins a job, from a thread that may wait for shards.
fn begin(ctx: &mut Context<'_>, kind: Kind) -> Result<Option<SaveError>, CommandError> {
    ctx.slow_lane(usize::MAX)?;
    let (env, persistence) = (ctx.env, ctx.service::<Persistence>());
    match persistence.begin(env, kind, None) {
        Ok(begun) => {
            if persistence.finish_in_background(env, begun).is_err() {
                return Err(CommandError::new("ERR"));
            }
            tracing::info!("{}", started(kind));
            Ok(None)
        }
        Err(busy) => Ok(Some(busy)),
    }
}

fn bgsave(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let schedule = match args.len() {
        1 => false,
        2 if eq_nocase(&args[1], "schedule") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    if ctx.is_nested() {
        // As in Redis: it begins when the transaction is over.
        ctx.service::<Persistence>().schedule(Kind::Save);
        ctx.reply.simple("Background saving scheduled");
        return Ok(());
    }
    match begin(ctx, Kind::Save)? {
        None => ctx.reply.simple("Background saving started"),
        Some(SaveError::Rewriting) if schedule => {
            ctx.service::<Persistence>().schedule(Kind::Save);
            ctx.reply.simple("Background saving scheduled");
        }
        Some(SaveError::Rewriting) => {
            return Err(CommandError::new(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
                 schedule a BGSAVE whenever possible.",
            ));
        }
        Some(busy) => return Err(busy.into()),
    }
    Ok(())
}

fn bgrewriteaof(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if ctx.is_nested() {
        ctx.service::<Persistence>().schedule(Kind::Rewrite);
        ctx.reply.simple("Background append only file rewriting scheduled");
        return Ok(());
    }
    match begin(ctx, Kind::Rewrite)? {
        None => ctx.reply.simple("Background append only file rewriting started"),
        Some(SaveError::Saving) => {
            ctx.service::<Persistence>().schedule(Kind::Rewrite);
            ctx.reply.simple("Background append only file rewriting scheduled");
        }
        Some(busy) => return Err(busy.into()),
    }
    Ok(())
}

fn lastsave(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let at = ctx.service::<Persistence>().figures.last_save_s.load(Relaxed);
    ctx.reply.int(at as i64);
    Ok(())
}
