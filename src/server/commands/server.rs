//! TIME, ROLE, LOLWUT, REPLICAOF, MODULE, ACL WHOAMI.
use std::fmt::Write;

use parking_lot::Mutex;

use super::help::help;
use crate::base::num::parse_i64;
use crate::base::rng::Rng;
use crate::command::env::REDIS_VERSION;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::{Args, eq_nocase};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::Server);
    vec![
        c("time", Arity::exactly(1), time)
            .loading()
            .stale()
            .fast()
            .since("2.6.0")
            .doc("Answers the server's time.")
            .complexity("O(1)"),
        c("role", Arity::exactly(1), role)
            .noscript()
            .loading()
            .stale()
            .fast()
            .sentinel()
            .categories(&["admin", "dangerous"])
            .since("2.8.12")
            .doc("Answers the server's part in replication.")
            .complexity("O(1)"),
        c("lolwut", Arity::at_least(1), lolwut)
            .readonly()
            .fast()
            .since("5.0.0")
            .doc("Draws something, and tells the version."),
        c("replicaof", Arity::exactly(3), replicaof)
            .no_async_loading()
            .admin()
            .noscript()
            .stale()
            .since("5.0.0")
            .doc("Makes the server a replica of another, or a master again.")
            .complexity("O(1)"),
        c("slaveof", Arity::exactly(3), replicaof)
            .no_async_loading()
            .admin()
            .noscript()
            .stale()
            .since("1.0.0")
            .deprecated("5.0.0", "`REPLICAOF`")
            .doc("Makes the server a replica of another, or a master again.")
            .complexity("O(1)"),
        module(),
        acl(),
    ]
}

fn module() -> Command {
    let sub = |name, arity, handler| Command::new(name, arity, handler).admin().noscript().since("4.0.0");
    Command::container(
        "module",
        vec![
            sub("list", Arity::exactly(2), module_list)
                .doc("Lists the loaded modules: none, ever.")
                .complexity("O(1)"),
            sub("load", Arity::at_least(3), no_modules)
                .no_async_loading()
                .doc("Answers that there are no modules here.")
                .complexity("O(1)"),
            sub("loadex", Arity::at_least(3), no_modules)
                .no_async_loading()
                .since("7.0.0")
                .doc("Answers that there are no modules here.")
                .complexity("O(1)"),
            sub("unload", Arity::exactly(3), no_modules)
                .no_async_loading()
                .doc("Answers that there are no modules here.")
                .complexity("O(1)"),
            Command::new("help", Arity::exactly(2), module_help)
                .loading()
                .stale()
                .since("5.0.0")
                .doc("Explains the subcommands.")
                .complexity("O(1)"),
        ],
    )
    .group(Group::Server)
    .since("4.0.0")
    .doc("Groups the commands on modules.")
    .complexity("Depends on subcommand.")
}

fn acl() -> Command {
    let whoami = Command::new("whoami", Arity::exactly(2), acl_whoami)
        .noscript()
        .loading()
        .stale()
        .sentinel()
        .since("6.0.0")
        .doc("Answers the user that the connection is authenticated as.")
        .complexity("O(1)");
    Command::container("acl", vec![whoami])
        .group(Group::Server)
        .sentinel()
        .since("6.0.0")
        .doc("Groups the commands on access control.")
        .complexity("Depends on subcommand.")
}

/// The identity of this server's history, as replicas see it. Changes when the history does.
#[derive(Default)]
pub struct ReplicationId(Mutex<String>);

impl ReplicationId {
    pub fn get(&self) -> String {
        self.0.lock().clone()
    }

    pub fn renew(&self, rng: &mut Rng) {
        *self.0.lock() = String::from_utf8_lossy(&rng.hex_id()).into_owned();
    }
}

fn time(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let us = ctx.env.clock.now_us();
    ctx.reply.array(2);
    ctx.reply.bulk_int((us / 1_000_000) as i64);
    ctx.reply.bulk_int((us % 1_000_000) as i64);
    Ok(())
}

fn role(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.reply.array(3);
    ctx.reply.bulk_str("master");
    ctx.reply.int(0);
    ctx.reply.empty_array();
    Ok(())
}

fn replicaof(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if eq_nocase(&args[1], "no") && eq_nocase(&args[2], "one") {
        ctx.reply.ok();
        return Ok(());
    }
    if parse_i64(&args[2]).is_none_or(|port| !(0..=65535).contains(&port)) {
        return Err(CommandError::new("ERR Invalid master port"));
    }
    Err(CommandError::new("ERR this version of Tidewater cannot be a replica yet"))
}

fn module_list(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.reply.empty_array();
    Ok(())
}

fn no_modules(_: &mut Context<'_>, _: Args<'_>) -> Outcome {
    Err(CommandError::new("ERR Tidewater loads no modules"))
}

fn module_help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    help(
        ctx.reply,
        "MODULE",
        &["LIST", "    List the loaded modules. There are none: Tidewater loads no modules."],
    );
    Ok(())
}

fn acl_whoami(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.reply.bulk_str(&ctx.session.user);
    Ok(())
}

/// Columns and lines of the drawing, unless told otherwise and at most.
const ART_SIZE: (i64, i64) = (60, 12);
const ART_SIZE_MAX: (i64, i64) = (200, 60);

fn lolwut(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let number = |arg: &[u8]| parse_i64(arg).ok_or(CommandError::NOT_INTEGER);
    // Whatever the version asked for, the tide is all that we draw.
    let sizes = match args.get(1) {
        Some(word) if eq_nocase(word, "version") && args.len() > 2 => {
            number(&args[2])?;
            args.from(3)
        }
        _ => args.from(1),
    };
    let width = sizes.get(0).map_or(Ok(ART_SIZE.0), number)?.clamp(1, ART_SIZE_MAX.0);
    let height = sizes.get(1).map_or(Ok(ART_SIZE.1), number)?.clamp(1, ART_SIZE_MAX.1);
    let mut text = tide(width as usize, height as usize, ctx.keys.rng);
    let _ = write!(text, "\nTidewater {} (Redis ver. {REDIS_VERSION})\n", env!("CARGO_PKG_VERSION"));
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Waves rolling in under a few stars, no two alike.
fn tide(width: usize, height: usize, rng: &mut Rng) -> String {
    let waves: Vec<(f64, f64, f64)> = (0..3)
        .map(|_| (0.5 + rng.f64() * 1.5, 0.04 + rng.f64() * 0.12, rng.f64() * std::f64::consts::TAU))
        .collect();
    let surface = |x: usize| waves.iter().map(|(a, f, p)| a * (x as f64 * f + p).sin()).sum::<f64>();
    let sea = height as f64 * 0.55;
    let mut out = String::with_capacity((width + 1) * height);
    for y in 0..height {
        for x in 0..width {
            let depth = y as f64 - sea - surface(x);
            out.push(match depth {
                d if d < -1.0 && rng.below(40) == 0 => ['.', '*', '+'][rng.below(3) as usize],
                d if d < 0.0 => ' ',
                d if d < 1.0 => '~',
                d if d < 2.5 => '=',
                _ => ['-', ' ', '.'][rng.below(3) as usize],
            });
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}
