//! SLOWLOG.
use super::help::help;
use crate::base::num::parse_i64;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::Args;
use crate::server::slowlog::SlowLog;

/// Entries that GET answers unless told otherwise.
const GET_DEFAULT: usize = 10;

pub fn commands() -> Vec<Command> {
    let sub =
        |name, arity, handler| Command::new(name, arity, handler).admin().loading().stale().since("2.2.12");
    vec![
        Command::container(
            "slowlog",
            vec![
                sub("get", Arity::at_least(2), get)
                    .doc("Lists the latest slow commands.")
                    .complexity("O(N) with N the number of entries returned"),
                sub("len", Arity::exactly(2), len)
                    .doc("Counts the entries of the slow log.")
                    .complexity("O(1)"),
                sub("reset", Arity::exactly(2), reset)
                    .doc("Empties the slow log.")
                    .complexity("O(N) with N the number of entries"),
                Command::new("help", Arity::exactly(2), show_help)
                    .loading()
                    .stale()
                    .since("6.2.0")
                    .doc("Explains the subcommands.")
                    .complexity("O(1)"),
            ],
        )
        .group(Group::Server)
        .since("2.2.12")
        .doc("Groups the commands of the slow log.")
        .complexity("Depends on subcommand."),
    ]
}

fn get(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(CommandError::new(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try SLOWLOG HELP.",
            String::from_utf8_lossy(&args[1])
        )));
    }
    let count = match args.get(2) {
        None => GET_DEFAULT,
        Some(arg) => match parse_i64(arg).filter(|&n| n >= -1) {
            None => return Err(CommandError::new("ERR count should be greater than or equal to -1")),
            Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
        },
    };
    let entries = ctx.service::<SlowLog>().get(count);
    ctx.reply.array(entries.len());
    for e in entries {
        ctx.reply.array(6);
        ctx.reply.int(e.id as i64);
        ctx.reply.int(e.time_s as i64);
        ctx.reply.int(e.micros as i64);
        ctx.reply.array(e.args.len());
        e.args.iter().for_each(|a| ctx.reply.bulk(a));
        ctx.reply.bulk_str(&e.peer);
        ctx.reply.bulk(&e.name);
    }
    Ok(())
}

fn len(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let n = ctx.service::<SlowLog>().len();
    ctx.reply.int(n as i64);
    Ok(())
}

fn reset(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.service::<SlowLog>().reset();
    ctx.reply.ok();
    Ok(())
}

fn show_help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    help(
        ctx.reply,
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    List the newest <count> slow commands (10 unless given, -1 for all): id, Unix time,",
            "    microseconds, arguments, client address, client name.",
            "LEN",
            "    Count the entries.",
            "RESET",
            "    Forget all entries.",
        ],
    );
    Ok(())
}
