//! PING, ECHO, SELECT, QUIT, RESET, HELLO, AUTH.
use std::sync::atomic::Ordering;

use crate::base::num::parse_i64;
use crate::command::client::flag;
use crate::command::env::REDIS_VERSION;
use crate::command::row::Locks;
use crate::command::session::ReplyMode;
use crate::command::{Arity, Command, CommandError, Context, Env, Group, Outcome};
use crate::resp::args::Args;

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::Connection);
    let unauthenticated = |name, arity, handler| {
        c(name, arity, handler).noscript().loading().stale().fast().no_auth().allow_busy().complexity("O(1)")
    };
    vec![
        c("ping", Arity::at_least(1), ping)
            .fast()
            .sentinel()
            .in_subscribe()
            .doc("Answers PONG, or the given message.")
            .complexity("O(1)"),
        c("echo", Arity::exactly(2), echo)
            .loading()
            .stale()
            .fast()
            .doc("Answers the given message.")
            .complexity("O(1)"),
        c("select", Arity::exactly(2), select)
            .loading()
            .stale()
            .fast()
            .doc("Changes the connection's database.")
            .complexity("O(1)"),
        unauthenticated("auth", Arity::at_least(2), auth).sentinel().doc("Logs the connection in."),
        unauthenticated("hello", Arity::at_least(1), hello)
            .sentinel()
            .since("6.0.0")
            .doc("Chooses the protocol version and, if asked, logs in and names the connection."),
        unauthenticated("quit", Arity::at_least(1), quit)
            .unqueued()
            .in_subscribe()
            .deprecated("7.2.0", "just closing the connection")
            .doc("Closes the connection."),
        unauthenticated("reset", Arity::exactly(1), reset)
            .unqueued()
            .in_subscribe()
            .locks(Locks::Queue)
            .since("6.2.0")
            .doc("Puts the connection into the state of a new one."),
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
    let db = parse_i64(&args[1]).ok_or(CommandError::NOT_INTEGER)?;
    let db = i32::try_from(db).map_err(|_| CommandError::INT_OUT_OF_RANGE)?;
    let db = usize::try_from(db).ok().filter(|&db| db < ctx.env.keyspace.databases());
    select_db(ctx, db.ok_or(CommandError::DB_OUT_OF_RANGE)?);
    ctx.reply.ok();
    Ok(())
}

fn select_db(ctx: &mut Context<'_>, db: usize) {
    if !ctx.is_nested() {
        ctx.env.keyspace.open(db);
    }
    ctx.session.db = db;
    ctx.client().db.store(db, Ordering::Relaxed);
}

fn auth(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (user, password) = match args.len() {
        2 if ctx.env.requirepass.read().is_empty() => {
            return Err(CommandError::new(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        2 => (&b"default"[..], &args[1]),
        3 => (&args[1], &args[2]),
        _ => return Err(CommandError::SYNTAX),
    };
    log_in(ctx, user, password)?;
    ctx.reply.ok();
    Ok(())
}

fn log_in(ctx: &mut Context<'_>, user: &[u8], password: &[u8]) -> Outcome {
    if user != b"default" || !password_fits(ctx.env, password) {
        ctx.env.stats.acl_denied_auth.fetch_add(1, Ordering::Relaxed);
        return Err(CommandError::new("WRONGPASS invalid username-password pair or user is disabled."));
    }
    set_user(ctx, true);
    Ok(())
}

fn set_user(ctx: &mut Context<'_>, authenticated: bool) {
    ctx.session.authenticated = authenticated;
    ctx.session.user = "default".into();
    ctx.client().labels.lock().user = "default".into();
}

/// Looks at every byte whatever the first ones are, so that the time taken tells nothing about the password. Without
/// one, any fits.
fn password_fits(env: &Env, given: &[u8]) -> bool {
    let password = env.requirepass.read();
    if password.is_empty() {
        return true;
    }
    let byte = |i: usize| password.get(i).copied().unwrap_or(0);
    let differences = given.iter().enumerate().fold(0, |all, (i, b)| all | (b ^ byte(i)));
    differences == 0 && given.len() == password.len()
}

fn hello(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let version = match args.get(1) {
        Some(arg) => {
            let version = parse_i64(arg)
                .ok_or(CommandError::new("ERR Protocol version is not an integer or out of range"))?;
            if !(2..=3).contains(&version) {
                return Err(CommandError::new("NOPROTO unsupported protocol version"));
            }
            Some(version)
        }
        None => None,
    };
    let mut credentials = None;
    let mut name = None;
    let mut i = 2;
    while i < args.len() {
        let more = args.len() - 1 - i;
        if args[i].eq_ignore_ascii_case(b"auth") && more >= 2 {
            credentials = Some((args.at(i + 1), args.at(i + 2)));
            i += 3;
        } else if args[i].eq_ignore_ascii_case(b"setname") && more >= 1 {
            super::client::check_name(args.at(i + 1))?;
            name = Some(args.at(i + 1));
            i += 2;
        } else {
            return Err(CommandError::new(format!(
                "ERR Syntax error in HELLO option '{}'",
                String::from_utf8_lossy(&args[i])
            )));
        }
    }
    if let Some((user, password)) = credentials {
        log_in(ctx, user, password)?;
    }
    if !ctx.session.authenticated && !ctx.env.requirepass.read().is_empty() {
        return Err(CommandError::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    if let Some(name) = name {
        ctx.client().labels.lock().name = name.to_vec();
    }
    if let Some(version) = version {
        set_protocol(ctx, version == 3);
    }
    let id = ctx.client().id;
    let reply = &mut *ctx.reply;
    reply.map(7);
    reply.bulk_str("server");
    reply.bulk_str("redis");
    reply.bulk_str("version");
    reply.bulk_str(REDIS_VERSION);
    reply.bulk_str("proto");
    reply.int(if ctx.session.resp3 { 3 } else { 2 });
    reply.bulk_str("id");
    reply.int(id as i64);
    reply.bulk_str("mode");
    reply.bulk_str("standalone");
    reply.bulk_str("role");
    reply.bulk_str("master");
    reply.bulk_str("modules");
    reply.array(0);
    Ok(())
}

fn set_protocol(ctx: &mut Context<'_>, resp3: bool) {
    ctx.session.resp3 = resp3;
    ctx.reply.set_resp3(resp3);
    ctx.client().resp.store(if resp3 { 3 } else { 2 }, Ordering::Relaxed);
}

fn quit(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.session.quit = true;
    ctx.reply.ok();
    Ok(())
}

fn reset(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    crate::txn::reset(ctx);
    crate::pubsub::end_session(ctx.env, ctx.session);
    super::monitor::leave(ctx);
    ctx.client().set_flag(flag::NO_EVICT | flag::NO_TOUCH | flag::READONLY, false);
    ctx.session.no_touch = false;
    ctx.session.reply_mode = ReplyMode::On;
    ctx.client().labels.lock().name.clear();
    select_db(ctx, 0);
    set_protocol(ctx, false);
    let open = ctx.env.requirepass.read().is_empty();
    set_user(ctx, open);
    ctx.reply.simple("RESET");
    Ok(())
}
