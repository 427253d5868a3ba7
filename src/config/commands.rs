//! CONFIG.
use super::{Caller, Config};
use std::sync::atomic::Ordering;

use crate::command::env::bar;
use crate::command::row::{Arity, Command, Group};
use crate::command::{CommandError, Context, Outcome};
use crate::resp::args::Args;

pub fn commands() -> Vec<Command> {
    let sub = |name, arity, handler, since, doc| {
        Command::new(name, arity, handler).loading().stale().since(since).doc(doc)
    };
    let admin = |c: Command| c.admin().noscript();
    vec![
        Command::container(
            "config",
            vec![
                admin(sub(
                    "get",
                    Arity::at_least(3),
                    get,
                    "2.0.0",
                    "Tells the values of the directives that patterns match.",
                ))
                .complexity("O(N*M) for N directives and M patterns"),
                sub("help", Arity::exactly(2), help, "5.0.0", "Tells what CONFIG can do.").complexity("O(1)"),
                admin(sub(
                    "resetstat",
                    Arity::exactly(2),
                    reset_stat,
                    "2.0.0",
                    "Sets the statistics of INFO to zero.",
                ))
                .complexity("O(1)"),
                admin(sub(
                    "rewrite",
                    Arity::exactly(2),
                    rewrite,
                    "2.8.0",
                    "Writes the present values into the configuration file.",
                ))
                .complexity("O(1)"),
                admin(sub(
                    "set",
                    Arity::at_least(4),
                    set,
                    "2.0.0",
                    "Changes directives while the server runs.",
                ))
                .complexity("O(N) for N directives"),
            ],
        )
        .group(Group::Server)
        .since("2.0.0")
        .doc("Groups the commands on the configuration.")
        .complexity("Depends on subcommand."),
    ]
}

fn get(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = args.iter().skip(2).collect();
    let found = ctx.service::<Config>().get(&patterns);
    ctx.reply.map(found.len());
    for (name, value) in found {
        ctx.reply.bulk(&name);
        ctx.reply.bulk(&value);
    }
    Ok(())
}

fn set(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(&ctx.command.full_name));
    }
    let words: Vec<&[u8]> = args.iter().skip(2).collect();
    let pairs: Vec<(&[u8], &[u8])> = words.chunks_exact(2).map(|p| (p[0], p[1])).collect();
    let caller = Caller {
        loading: ctx.env.barred.load(Ordering::Relaxed) & bar::LOADING != 0,
        local: is_local(&ctx.session.client.addr),
    };
    ctx.service::<Config>().set_many_as(&pairs, caller).map_err(|e| CommandError::new(e.to_string()))?;
    ctx.reply.ok();
    Ok(())
}

/// Whether a client is on this machine, as `enable-protected-configs local` and its kin mean it.
pub fn is_local(addr: &str) -> bool {
    match addr.parse::<std::net::SocketAddr>() {
        Ok(addr) => addr.ip().to_canonical().is_loopback(),
        // A Unix socket's path, or the embedding program itself.
        Err(_) => true,
    }
}

fn rewrite(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let config = ctx.service::<Config>();
    if let Err(e) = config.rewrite(None) {
        tracing::warn!("CONFIG REWRITE failed: {e}");
        return Err(CommandError::new(e.to_string()));
    }
    tracing::info!("CONFIG REWRITE executed with success.");
    ctx.reply.ok();
    Ok(())
}

fn reset_stat(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.env.stats.reset();
    ctx.env.reclaimer.reset_freed();
    ctx.reply.ok();
    Ok(())
}

fn help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    const LINES: [&str; 13] = [
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern> [<pattern> ...]",
        "    Answer each directive that a glob-like pattern matches, and its value.",
        "SET <directive> <value> [<directive> <value> ...]",
        "    Change directives, all of them or none.",
        "RESETSTAT",
        "    Set the counters that INFO shows to zero.",
        "REWRITE",
        "    Bring the configuration file up to date with the present values.",
        "    Its comments and its order are kept.",
        "    Without a configuration file this is an error.",
        "HELP",
        "    Print this help.",
    ];
    ctx.reply.array(LINES.len());
    LINES.iter().for_each(|line| ctx.reply.simple(line));
    Ok(())
}
