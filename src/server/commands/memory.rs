//! MEMORY: what keys and the server occupy.
use std::fmt::Write;

use super::help::help;
use super::info::{DbFacts, MemoryFacts, human, percent};
use crate::base::alloc;
use crate::base::num::parse_i64;
use crate::command::row::Locks;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::{Args, eq_nocase};

pub fn commands() -> Vec<Command> {
    let sub = |name, arity, handler| Command::new(name, arity, handler).since("4.0.0");
    vec![
        Command::container(
            "memory",
            vec![
                sub("doctor", Arity::exactly(2), doctor)
                    .locks(Locks::Walk)
                    .doc("Explains what is wrong with the memory, if anything.")
                    .complexity("O(1)"),
                sub("help", Arity::exactly(2), show_help)
                    .loading()
                    .stale()
                    .doc("Explains the subcommands.")
                    .complexity("O(1)"),
                sub("malloc-stats", Arity::exactly(2), malloc_stats)
                    .doc("Answers the allocator's figures.")
                    .complexity("O(1)"),
                sub("purge", Arity::exactly(2), purge)
                    .doc("Asks the allocator to give memory back.")
                    .complexity("O(1)"),
                sub("stats", Arity::exactly(2), stats)
                    .locks(Locks::Walk)
                    .doc("Tells what memory is used for.")
                    .complexity("O(N) with N the number of shards and clients"),
                sub("usage", Arity::at_least(3), usage)
                    .readonly()
                    .key(2, "ro")
                    .doc("Tells the bytes that a key and its value occupy.")
                    .complexity("O(1)"),
            ],
        )
        .group(Group::Server)
        .since("4.0.0")
        .doc("Groups the commands on memory.")
        .complexity("Depends on subcommand."),
    ]
}

/// What a key costs in its database's table, on average, and in the expiry heap.
const SLOT_BYTES: usize = 13;
const EXPIRY_SLOT_BYTES: usize = 8;

fn usage(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut rest = args.from(3);
    while !rest.is_empty() {
        // The number of samples makes no difference: values know their exact size.
        let samples = rest.get(1).filter(|_| eq_nocase(&rest[0], "samples"));
        let n = parse_i64(samples.ok_or(CommandError::SYNTAX)?).ok_or(CommandError::NOT_INTEGER)?;
        if n < 0 {
            return Err(CommandError::SYNTAX);
        }
        rest = rest.from(2);
    }
    match ctx.keys.peek(&args[2]) {
        None => ctx.reply.null(),
        Some(cell) => {
            let heaps = [cell.expire_ms(), cell.field_expire_ms()];
            let slots = SLOT_BYTES + heaps.into_iter().flatten().count() * EXPIRY_SLOT_BYTES;
            ctx.reply.int((cell.mem_bytes() + slots) as i64);
        }
    }
    Ok(())
}

fn stats(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let dbs = DbFacts::gather(ctx)?;
    let m = MemoryFacts::new(ctx.env, &dbs);
    let keys: usize = dbs.iter().map(|d| d.keys).sum();
    let used: Vec<_> = dbs.iter().enumerate().filter(|(_, d)| d.keys > 0).collect();
    let reply = &mut *ctx.reply;
    let int = |reply: &mut crate::resp::reply::Reply, name: &str, n: usize| {
        reply.bulk_str(name);
        reply.int(n as i64);
    };
    reply.map(27 + used.len());
    int(reply, "peak.allocated", m.peak);
    int(reply, "total.allocated", m.used);
    int(reply, "startup.allocated", m.startup);
    int(reply, "replication.backlog", 0);
    int(reply, "clients.slaves", 0);
    int(reply, "clients.normal", m.clients);
    int(reply, "cluster.links", 0);
    int(reply, "aof.buffer", 0);
    int(reply, "lua.caches", 0);
    int(reply, "functions.caches", 0);
    for (i, db) in used {
        reply.bulk_str(&format!("db.{i}"));
        reply.map(2);
        int(reply, "overhead.hashtable.main", db.overhead.saturating_sub(db.expires * EXPIRY_SLOT_BYTES));
        int(reply, "overhead.hashtable.expires", db.expires * EXPIRY_SLOT_BYTES);
    }
    int(reply, "overhead.total", m.overhead);
    int(reply, "keys.count", keys);
    int(reply, "keys.bytes-per-key", m.used.saturating_sub(m.startup).checked_div(keys).unwrap_or(0));
    int(reply, "dataset.bytes", m.dataset);
    reply.bulk_str("dataset.percentage");
    reply.double(m.dataset_percent());
    reply.bulk_str("peak.percentage");
    reply.double(percent(m.used, m.peak));
    int(reply, "allocator.allocated", m.used);
    int(reply, "allocator.active", m.resident);
    int(reply, "allocator.resident", m.resident);
    let fragmentation = m.resident as f64 / m.used.max(1) as f64;
    let beyond = m.resident as i64 - m.used as i64;
    reply.bulk_str("allocator-fragmentation.ratio");
    reply.double(fragmentation);
    reply.bulk_str("allocator-fragmentation.bytes");
    reply.int(beyond);
    reply.bulk_str("allocator-rss.ratio");
    reply.double(1.0);
    int(reply, "allocator-rss.bytes", 0);
    reply.bulk_str("rss-overhead.ratio");
    reply.double(1.0);
    int(reply, "rss-overhead.bytes", 0);
    reply.bulk_str("fragmentation");
    reply.double(fragmentation);
    reply.bulk_str("fragmentation.bytes");
    reply.int(beyond);
    Ok(())
}

/// Below this there is nothing to say.
const DOCTOR_BYTES_MIN: usize = 5 << 20;

fn doctor(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let dbs = DbFacts::gather(ctx)?;
    let m = MemoryFacts::new(ctx.env, &dbs);
    let mut out = String::new();
    if m.used < DOCTOR_BYTES_MIN {
        let _ = write!(out, "Hardly any memory is in use ({}): nothing can be said yet.", human(m.used));
    } else {
        if m.peak as f64 > m.used as f64 * 1.5 {
            let _ = writeln!(
                out,
                "* Peak: at its peak the server used {}, now {}. The allocator may keep the difference; that is no \
                 leak, but the resident size will look large.",
                human(m.peak),
                human(m.used)
            );
        }
        if m.resident as f64 > m.used as f64 * 1.4 && m.resident - m.used > 10 << 20 {
            let _ = writeln!(
                out,
                "* Fragmentation: {} are resident for {} in use. It goes down by itself as freed pages are reused.",
                human(m.resident),
                human(m.used)
            );
        }
        let clients = ctx.env.clients.len().max(1);
        if m.clients / clients > 200 << 10 {
            let _ = writeln!(
                out,
                "* Clients: their buffers take {} each on average. CLIENT LIST shows whose (tot-mem).",
                human(m.clients / clients)
            );
        }
        if out.is_empty() {
            out.push_str("The memory is in good order.");
        }
    }
    ctx.reply.verbatim("txt", out.as_bytes());
    Ok(())
}

fn malloc_stats(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let text = format!(
        "allocator: {}\nin use: {}\npeak: {}\nresident: {}\n",
        alloc::name(),
        alloc::used(),
        alloc::peak(),
        crate::server::process::resident_bytes()
    );
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// As in Redis, it is fine where the allocator does not take orders.
fn purge(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    crate::base::pages::give_back();
    ctx.reply.ok();
    Ok(())
}

fn show_help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    help(
        ctx.reply,
        "MEMORY",
        &[
            "DOCTOR",
            "    Explain what is wrong with the memory, if anything.",
            "MALLOC-STATS",
            "    The allocator's figures.",
            "PURGE",
            "    Give freed memory back to the system. It happens by itself anyway.",
            "STATS",
            "    What memory is used for.",
            "USAGE <key> [SAMPLES <count>]",
            "    Bytes that <key> and its value occupy, always exact.",
        ],
    );
    Ok(())
}
