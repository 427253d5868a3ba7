//! PING, ECHO, SELECT, QUIT, RESET, HELLO, AUTH, CLIENT.
use std::sync::atomic::Ordering;

use crate::base::num::parse_i64;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::Args;

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::Connection);
    vec![
        c("ping", Arity::at_least(1), ping).fast().in_subscribe().doc("Answers PONG, or the given message."),
        c("echo", Arity::exactly(2), echo).loading().stale().fast().doc("Answers the given message."),
        c("select", Arity::exactly(2), select)
            .loading()
            .stale()
            .fast()
            .doc("Changes the connection's database."),
    ]
}

fn ping(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 2 {
        return Err(CommandError::wrong_arity("ping"));
    }
    if !ctx.session.resp3 && ctx.session.subscriptions() > 0 {
        ctx.reply.array(2);
        ctx.reply.bulk(b"pong");
        ctx.reply.bulk(args.get(1).unwrap_or_default());
    } else {
        match args.get(1) {
            Some(message) => ctx.reply.bulk(message),
            None => ctx.reply.simple("PONG"),
        }
    }
    Ok(())
}

fn echo(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.reply.bulk(&args[1]);
    Ok(())
}

fn select(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let db = parse_i64(&args[1]).ok_or(CommandError::new("ERR invalid DB index"))?;
    let db = usize::try_from(db).ok().filter(|&db| db < ctx.env.keyspace.databases());
    let db = db.ok_or(CommandError::DB_OUT_OF_RANGE)?;
    if !ctx.is_nested() {
        ctx.env.keyspace.open(db);
    }
    ctx.session.db = db;
    ctx.client().db.store(db, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}
