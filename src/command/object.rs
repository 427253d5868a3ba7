//! OBJECT: what a key's value looks like inside.
use crate::base::limits::Limits;
use crate::command::view::{lfu_decayed, lru_clock};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::Args;
use crate::value::cell::{Cell, Kind};

pub fn commands() -> Vec<Command> {
    let sub = |name, handler, since: &'static str| {
        Command::new(name, Arity::exactly(3), handler)
            .readonly()
            .key(2, "ro")
            .since(since)
            .categories(&["keyspace"])
            .complexity("O(1)")
    };
    let subcommands = vec![
        sub("encoding", encoding, "2.2.3").doc("Names the encoding of a key's value."),
        sub("freq", freq, "4.0.0").doc("Returns the logarithmic access counter of a key."),
        sub("idletime", idletime, "2.2.3").doc("Returns for how many seconds a key has not been accessed."),
        sub("refcount", refcount, "2.2.3").doc("Returns the number of references to a key's value."),
        Command::new("help", Arity::exactly(2), help)
            .loading()
            .stale()
            .since("6.2.0")
            .categories(&["keyspace"])
            .doc("Lists the subcommands.")
            .complexity("O(1)"),
    ];
    vec![
        Command::container("object", subcommands)
            .group(Group::Generic)
            .since("2.2.3")
            .doc("Groups the commands that look inside a value.")
            .complexity("Depends on the subcommand"),
    ]
}

/// The longest string that Redis keeps together with its object header.
const EMBSTR_MAX: usize = 44;

/// As OBJECT ENCODING names it.
pub fn encoding_name(cell: &Cell, limits: &Limits) -> &'static str {
    match cell.kind() {
        Kind::ListPacked if limits.report_as_7_0.get() => "quicklist",
        Kind::SetPacked if limits.report_as_7_0.get() => "hashtable",
        Kind::StrInt => "int",
        Kind::StrRaw if cell.body().len() <= EMBSTR_MAX && !cell.is_mutated() => "embstr",
        Kind::StrRaw | Kind::StrBig => "raw",
        Kind::ListPacked | Kind::SetPacked | Kind::HashPacked | Kind::ZSetPacked => "listpack",
        Kind::HashPackedTtl => "listpackex",
        Kind::ListDeque => "quicklist",
        Kind::SetInts => "intset",
        Kind::SetTable | Kind::HashTable => "hashtable",
        Kind::ZSetTree => "skiplist",
        Kind::Stream => "stream",
    }
}

/// Runs `f` on the key's cell and answers with the number it gives; with null when there is no such key.
fn answer(ctx: &mut Context<'_>, key: &[u8], f: impl FnOnce(&Cell) -> i64) -> Outcome {
    match ctx.keys.get_untouched(key).map(f) {
        Some(n) => ctx.reply.int(n),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn encoding(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match ctx.keys.get_untouched(&args[2]).map(|cell| encoding_name(cell, &ctx.env.limits)) {
        Some(name) => ctx.reply.bulk_str(name),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// Redis shares the objects of small integers unless eviction needs a clock in each.
fn refcount(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let limits = ctx.limits();
    let clocks = limits.maxmemory.get() > 0 && (limits.policy().is_lru() || limits.policy().is_lfu());
    answer(ctx, &args[2], |cell| match cell.as_int() {
        Some(0..10_000) if !clocks => i64::from(i32::MAX),
        _ => 1,
    })
}

fn idletime(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (lfu, now) = (ctx.limits().policy().is_lfu(), lru_clock(ctx.now()));
    if lfu && ctx.keys.get_untouched(&args[2]).is_some() {
        return Err(CommandError::new(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
             policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    answer(ctx, &args[2], |cell| i64::from(now.wrapping_sub(cell.access()) & 0xff_ffff))
}

fn freq(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (lfu, env, now) = (ctx.limits().policy().is_lfu(), ctx.env, ctx.now());
    if !lfu && ctx.keys.get_untouched(&args[2]).is_some() {
        return Err(CommandError::new(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    answer(ctx, &args[2], |cell| i64::from(lfu_decayed(cell, env, now)))
}

fn help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let lines = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    The encoding of the value that the key holds.",
        "FREQ <key>",
        "    The logarithmic access counter of the key, under an LFU policy.",
        "IDLETIME <key>",
        "    Seconds since the last access to the key.",
        "REFCOUNT <key>",
        "    The number of references to the value.",
        "HELP",
        "    Print this help.",
    ];
    ctx.reply.array(lines.len());
    lines.iter().for_each(|line| ctx.reply.simple(line));
    Ok(())
}
