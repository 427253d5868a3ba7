//! DEBUG: what tests and people who look into the server use. Allowed by `enable-debug-command`.
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::help::help;
use super::server::ReplicationId;
use crate::base::glob::glob_match;
use crate::base::num::{parse_f64, parse_i64, parse_memory};
use crate::command::env::Env;
use crate::command::object::encoding_name;
use crate::command::row::Locks;
use crate::command::view::lru_clock;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::config::Config;
use crate::config::commands::is_local;
use crate::resp::args::{Args, eq_nocase};
use crate::server::cron;
use crate::server::digest::{self, Digest};
use crate::server::meter::Meter;
use crate::server::persist::Persistence;
use crate::server::process;
use crate::server::rehearsal::Rehearsal;
use crate::value::cell::{Cell, Kind};
use crate::value::deque::ChunkView;

pub fn commands() -> Vec<Command> {
    vec![
        Command::new("debug", Arity::at_least(2), debug)
            .group(Group::Server)
            .admin()
            .noscript()
            .loading()
            .stale()
            .locks(Locks::All)
            .locks_for(locks)
            .since("1.0.0")
            .doc("Groups commands for testing and looking into the server.")
            .complexity("Depends on subcommand."),
    ]
}

/// A subcommand: its word, how many arguments (as in `Arity`, DEBUG and the word included), its function.
type Sub = (&'static str, i32, fn(&mut Context<'_>, Args<'_>) -> Outcome);

const SUBCOMMANDS: &[Sub] = &[
    ("help", 2, show_help),
    ("sleep", 3, sleep),
    ("object", -3, object),
    ("digest", 2, digest_all),
    ("digest-value", -2, digest_values),
    ("set-active-expire", 3, set_active_expire),
    ("quicklist-packed-threshold", 3, packed_threshold),
    ("stringmatch-len", 4, string_match),
    ("change-repl-id", 2, change_repl_id),
    ("jmap", -2, nothing),
    ("populate", -3, populate),
    ("protocol", 3, protocol),
    ("htstats", -3, htstats),
    ("htstats-key", -3, htstats_key),
    ("listpack", 3, listpack),
    ("sdslen", 3, sdslen),
    ("config-rewrite-force-all", 2, rewrite_all),
    ("replybuffer", 4, reply_buffer),
    ("pause-cron", 3, pause_cron),
    ("error", 3, error),
    ("log", 3, log),
    ("segfault", 2, |_, _| process::crash()),
    ("panic", 2, |_, _| abort("DEBUG PANIC")),
    ("assert", 2, |_, _| abort("DEBUG ASSERT")),
    ("oom", 2, |_, _| abort("DEBUG OOM")),
    ("reload", -2, reload),
    ("loadaof", 2, load_aof),
    ("restart", -2, not_here),
    ("crash-and-recover", -2, not_here),
    ("set-skip-checksum-validation", 3, skip_checksums),
    ("aof-flush-sleep", 3, aof_flush_sleep),
    ("clock", 4, clock),
    ("fault", -3, fault),
];

fn debug(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let config = ctx.env.services.find::<Config>();
    if config.is_some_and(|c| !c.allows("enable-debug-command", is_local(&ctx.client().addr))) {
        return Err(CommandError::new(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
             from a local connection, otherwise you need to set this option in the configuration file, and then \
             restart the server.",
        ));
    }
    let fits = |(word, arity, _): &&Sub| eq_nocase(&args[1], word) && Arity(*arity).accepts(args.len());
    match SUBCOMMANDS.iter().find(fits) {
        Some((_, _, handler)) => handler(ctx, args),
        None => Err(CommandError::new(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
            String::from_utf8_lossy(&args[1][..args[1].len().min(128)])
        ))),
    }
}

fn nothing(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.reply.ok();
    Ok(())
}

fn skip_checksums(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.limits().skip_checksum_validation.set(args[2] != *b"0");
    ctx.reply.ok();
    Ok(())
}

/// Those that take everything down and up again lock for themselves.
fn locks(args: Args<'_>) -> Locks {
    match args.get(1) {
        Some(word) if ["reload", "loadaof", "clock", "fault"].iter().any(|w| eq_nocase(word, w)) => {
            Locks::Walk
        }
        _ => Locks::All,
    }
}

/// DEBUG CLOCK ADVANCE milliseconds
fn clock(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if !eq_nocase(&args[2], "advance") {
        return Err(CommandError::SYNTAX);
    }
    let ms = parse_i64(&args[3]).and_then(|n| u64::try_from(n).ok()).filter(|ms| *ms <= ADVANCE_MS_MAX);
    ctx.env.clock.advance(Duration::from_millis(ms.ok_or(CommandError::NOT_INTEGER)?));
    if let Some(engine) = ctx.service::<Persistence>().engine() {
        cron::end_due_waits(&engine);
    }
    ctx.reply.ok();
    Ok(())
}

/// About a century at once.
const ADVANCE_MS_MAX: u64 = 100 * 365 * 86_400_000;

/// DEBUG FAULT DELAY command milliseconds | ERROR command text | DROP commands | CLEAR
fn fault(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (env, faults) = (ctx.env, ctx.service::<Rehearsal>());
    let text = |i: usize| String::from_utf8_lossy(args.at(i)).into_owned();
    let number =
        |i: usize| parse_i64(args.at(i)).and_then(|n| u64::try_from(n).ok()).ok_or(CommandError::NOT_INTEGER);
    match (text(2).to_ascii_lowercase().as_str(), args.len()) {
        ("delay", 5) => faults.delay(env, &text(3), Duration::from_millis(number(4)?.min(ADVANCE_MS_MAX)))?,
        ("error", 5) => faults.error(env, &text(3), &text(4))?,
        ("drop", 4) => faults.drop_after(env, number(3)?),
        ("clear", 3) => faults.clear(),
        _ => return Err(CommandError::SYNTAX),
    }
    ctx.reply.ok();
    Ok(())
}

/// Runs `f` with everybody else held back.
fn alone(ctx: &mut Context<'_>, f: impl FnOnce(&Env, &Persistence) -> Result<(), String>) -> Outcome {
    if ctx.is_nested() {
        return Err(CommandError::new("ERR this is not possible inside a transaction"));
    }
    ctx.slow_lane(usize::MAX)?;
    let env = ctx.env;
    let until = ctx.now().saturating_add(ALONE_MS_MAX);
    env.hold(until);
    let result = f(env, ctx.service::<Persistence>());
    env.let_go();
    result.map_err(CommandError::new)?;
    ctx.reply.ok();
    Ok(())
}

/// A pause ends at some time, whatever comes.
const ALONE_MS_MAX: u64 = 3_600_000;

fn reload(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (mut save, mut flush, mut merge) = (true, true, false);
    for word in args.iter().skip(2) {
        match word.to_ascii_lowercase().as_slice() {
            b"nosave" => save = false,
            b"noflush" => flush = false,
            b"merge" => merge = true,
            _ => {
                return Err(CommandError::new(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    alone(ctx, |env, persistence| persistence.reload(env, save, flush, merge))?;
    tracing::warn!("DB reloaded by DEBUG RELOAD");
    Ok(())
}

fn aof_flush_sleep(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let us = parse_i64(&args[2]).and_then(|us| u64::try_from(us).ok()).ok_or(CommandError::NOT_INTEGER)?;
    ctx.service::<Persistence>().aof.state.flush_sleep_us.store(us, Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}

fn load_aof(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    alone(ctx, |env, persistence| persistence.load_append_only(env))?;
    tracing::warn!("Append Only File loaded by DEBUG LOADAOF");
    Ok(())
}

fn not_here(_: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let word = String::from_utf8_lossy(&args[1]).to_ascii_uppercase();
    Err(CommandError::new(format!("ERR DEBUG {word} is not possible here")))
}

fn abort(why: &str) -> Outcome {
    process::log_stack(why);
    std::process::abort()
}

/// Longest sleep, seconds.
const SLEEP_MAX_S: f64 = 1e6;

/// How much longer commands are held back, should nobody tell of the end of a sleep.
const SLEEP_GRACE_MS: u64 = 1000;

/// Holds every shard meanwhile, and every command that comes, from the moment it is seen. All that wait go on at one time,
/// when the shards are free.
fn sleep(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let seconds = parse_f64(&args[2]).unwrap_or(0.0).clamp(0.0, SLEEP_MAX_S);
    let time = Duration::from_secs_f64(seconds);
    if ctx.env.clock.is_manual() {
        ctx.slow_lane(usize::MAX)?;
        ctx.env.clock.advance(time);
    } else {
        let now = ctx.env.clock.now_ms();
        let until = now.saturating_add(time.as_millis() as u64);
        ctx.env.hold(until.saturating_add(SLEEP_GRACE_MS));
        ctx.slow_lane(usize::MAX)?;
        std::thread::sleep(time);
        ctx.release_keys();
        ctx.env.let_go();
    }
    ctx.reply.ok();
    Ok(())
}

fn object(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cell = ctx.keys.peek(&args[2]).ok_or(CommandError::NO_SUCH_KEY)?;
    let idle = lru_clock(ctx.keys.now).wrapping_sub(cell.access()) & 0xff_ffff;
    let mut text = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{idle}",
        cell.key().as_ptr(),
        encoding_name(cell, ctx.limits()),
        serialized_len(cell),
        cell.access(),
    );
    if cell.kind() == Kind::ListDeque {
        let (nodes, len, bytes) = list_shape(cell);
        let average = len as f64 / nodes.max(1) as f64;
        let max = ctx.limits().list_max_listpack_size.get();
        text += &format!(
            " ql_nodes:{nodes} ql_avg_node:{average:.2} ql_listpack_max:{max} ql_compressed:0 \
             ql_uncompressed_size:{bytes}"
        );
    }
    ctx.reply.simple(&text);
    Ok(())
}

/// Roughly what the value takes in a file: exact for what is stored as one block, the memory for larger values.
fn serialized_len(cell: &Cell) -> usize {
    match cell.kind() {
        Kind::StrInt => cell.as_int().map_or(0, |n| n.to_string().len().min(5)),
        Kind::StrBig => cell.big().map_or(0, |v| v.len() + 5),
        _ => cell.as_large().map_or(cell.body().len() + 1, |large| large.mem_bytes()),
    }
}

/// Nodes, elements and bytes of a large list.
fn list_shape(cell: &Cell) -> (usize, usize, usize) {
    let Some(deque) = digest::large_list(cell) else { return (1, 0, cell.mem_bytes()) };
    let bytes_of = |chunk| match chunk {
        ChunkView::Packed(bytes) | ChunkView::Plain(bytes) => bytes.len(),
    };
    let (nodes, bytes) = deque.chunks().map(bytes_of).fold((0, 0), |(n, sum), bytes| (n + 1, sum + bytes));
    (nodes, deque.len(), bytes)
}

fn digest_all(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.slow_lane(usize::MAX)?;
    let databases = ctx.env.keyspace.databases();
    let mut all = Digest::default();
    for db in 0..databases {
        let number = Digest::of(&(db as u64).to_le_bytes());
        ctx.keys.in_db(db, |keys| {
            for cell in keys.parts().flat_map(|part| part.table().iter()) {
                if cell.expire_ms().is_none_or(|at| at > keys.horizon) {
                    all = all.with(number.then(Digest::of(cell.key())).then(digest::value(cell)));
                }
            }
        });
    }
    ctx.reply.simple(&all.to_string());
    Ok(())
}

fn digest_values(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(usize::MAX)?;
    let keys = args.from(2);
    ctx.reply.array(keys.len());
    for key in keys.iter() {
        let digest = ctx.keys.peek(key).map(digest::value).unwrap_or_default();
        ctx.reply.simple(&digest.to_string());
    }
    Ok(())
}

fn flag_of(arg: &[u8]) -> bool {
    parse_i64(arg).is_some_and(|n| n != 0)
}

fn set_active_expire(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.env.active_expire.store(flag_of(&args[2]), Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}

fn packed_threshold(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let bytes = parse_memory(&args[2]).and_then(|n| usize::try_from(n).ok()).filter(|&n| n < 4 << 30);
    let bytes = bytes
        .ok_or(CommandError::new("ERR argument must be a memory value bigger than 1 and smaller than 4gb"))?;
    ctx.limits().quicklist_packed_threshold.set(if bytes == 0 { 1 << 30 } else { bytes });
    ctx.reply.ok();
    Ok(())
}

fn string_match(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let matches = glob_match(&args[2], &args[3], false);
    ctx.reply.int(i64::from(matches));
    Ok(())
}

fn change_repl_id(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if let Some(id) = ctx.env.services.find::<ReplicationId>() {
        id.renew(ctx.keys.rng);
    }
    ctx.reply.ok();
    Ok(())
}

fn populate(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let number =
        |i: usize| args.get(i).map(|a| parse_i64(a).filter(|&n| n >= 0).ok_or(CommandError::OUT_OF_RANGE));
    let count = number(2).transpose()?.unwrap_or(0);
    let size = number(4).transpose()?.unwrap_or(0) as usize;
    if args.len() > 5 || size > ctx.limits().proto_max_bulk_len.get() {
        return Err(CommandError::SYNTAX);
    }
    ctx.slow_lane(count as usize)?;
    let prefix = args.get(3).unwrap_or(b"key");
    let mut key = Vec::new();
    for i in 0..count {
        key.clear();
        key.extend_from_slice(prefix);
        key.extend_from_slice(format!(":{i}").as_bytes());
        if ctx.keys.exists(&key) {
            continue;
        }
        let mut value = format!("value:{i}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        ctx.keys.put(Cell::raw_string(&key, &value));
        ctx.keys.changed(&key);
    }
    ctx.reply.ok();
    Ok(())
}

#[allow(clippy::approx_constant)]
fn protocol(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let reply = &mut *ctx.reply;
    let kind = String::from_utf8_lossy(&args[2]).to_ascii_lowercase();
    match kind.as_str() {
        "string" => reply.bulk_str("Hello World"),
        "integer" => reply.int(12345),
        "double" => reply.double(3.141),
        "null" => reply.null(),
        "array" => {
            reply.array(3);
            (0..3).for_each(|i| reply.int(i));
        }
        "set" => {
            reply.set(3);
            (0..3).for_each(|i| reply.int(i));
        }
        "map" => {
            reply.map(3);
            (0..3).for_each(|i| {
                reply.int(i);
                reply.bool(i == 1);
            });
        }
        "attrib" => {
            if reply.attribute(1) {
                reply.bulk_str("key-popularity");
                reply.array(2);
                reply.bulk_str("key:123");
                reply.int(90);
            }
            reply.bulk_str("Some real reply following the attribute");
        }
        "push" if !ctx.session.resp3 => {
            return Err(CommandError::new("ERR RESP2 is not supported by this command"));
        }
        "push" => {
            // A push is no reply: what follows is.
            reply.push(2);
            reply.bulk_str("server-cpu-usage");
            reply.int(42);
            reply.bulk_str("Some real reply following the push reply");
        }
        "true" => reply.bool(true),
        "false" => reply.bool(false),
        "verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        "bignum" => reply.big_number("1234567999999999999999999999999999999"),
        _ => {
            return Err(CommandError::new(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

fn htstats(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let db = parse_i64(&args[2]).and_then(|n| usize::try_from(n).ok());
    let db = db
        .filter(|&n| n < ctx.env.keyspace.databases())
        .ok_or(CommandError::new("ERR Out of range database"))?;
    let (mut shards, mut keys, mut expires, mut bytes) = (0, 0, 0, 0);
    ctx.keys.in_db(db, |view| {
        for part in view.parts() {
            shards += 1;
            keys += part.len();
            expires += part.volatile_len();
            bytes += part.overhead_bytes();
        }
    });
    let text = format!(
        "[Dictionary HT]\n shards: {shards}\n number of elements: {keys}\n bytes: {bytes}\n[Expires HT]\n number of \
         elements: {expires}\n"
    );
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn htstats_key(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cell = ctx.keys.peek(&args[2]).ok_or(CommandError::NO_SUCH_KEY)?;
    if !matches!(cell.kind(), Kind::SetTable | Kind::HashTable | Kind::ZSetTree) {
        return Err(CommandError::new(
            "ERR The value stored at the specified key is not represented using an hash table",
        ));
    }
    let text = format!("Hash table 0 stats (main hash table):\n bytes: {}\n", cell.mem_bytes());
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn listpack(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cell = ctx.keys.peek(&args[2]).ok_or(CommandError::NO_SUCH_KEY)?;
    if encoding_name(cell, ctx.limits()) != "listpack" {
        return Err(CommandError::new("ERR Not a listpack encoded object."));
    }
    let list = crate::value::listpack::Listpack::new(cell.body());
    tracing::warn!("Listpack of {} bytes with {} entries", list.bytes_len(), list.len());
    ctx.reply.simple("Listpack structure printed on stdout");
    Ok(())
}

fn sdslen(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cell = ctx.keys.peek(&args[2]).ok_or(CommandError::NO_SUCH_KEY)?;
    let len = match cell.kind() {
        Kind::StrRaw => cell.body().len(),
        Kind::StrBig => cell.big().map_or(0, Vec::len),
        _ => return Err(CommandError::new("ERR Not an sds encoded string.")),
    };
    let text = format!(
        "key_sds_len:{}, key_sds_avail:0, key_zmalloc: 0, val_sds_len:{len}, val_sds_avail:0, val_zmalloc: {}",
        args[2].len(),
        cell.mem_bytes()
    );
    ctx.reply.simple(&text);
    Ok(())
}

fn rewrite_all(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let config = ctx.env.services.find::<Config>();
    let config = config.ok_or(CommandError::new("ERR The server is running without a config file"))?;
    config
        .rewrite_all()
        .map_err(|e| CommandError::new(format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {e}")))?;
    ctx.reply.ok();
    Ok(())
}

/// Reply buffers shrink by themselves as soon as they are sent: there is nothing to set.
fn reply_buffer(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if !eq_nocase(&args[2], "peak-reset-time") && !eq_nocase(&args[2], "resizing") {
        return Err(CommandError::SYNTAX);
    }
    ctx.reply.ok();
    Ok(())
}

fn pause_cron(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if let Some(meter) = ctx.env.services.find::<Meter>() {
        meter.cron_paused.store(flag_of(&args[2]), Ordering::Relaxed);
    }
    ctx.reply.ok();
    Ok(())
}

fn error(_: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let text: String = String::from_utf8_lossy(&args[2]).replace(['\r', '\n'], " ");
    Err(CommandError::new(text))
}

fn log(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(&args[2]));
    ctx.reply.ok();
    Ok(())
}

fn show_help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    help(
        ctx.reply,
        "DEBUG",
        &[
            "CHANGE-REPL-ID",
            "    Take a new replication id.",
            "CLOCK ADVANCE <milliseconds>",
            "    Move the server's clock on.",
            "CONFIG-REWRITE-FORCE-ALL",
            "    CONFIG REWRITE with every directive, defaults included.",
            "DIGEST",
            "    A digest of the whole dataset; equal contents have equal digests.",
            "DIGEST-VALUE <key> [<key> ...]",
            "    A digest of each of these values.",
            "ERROR <text>",
            "    Answer this error.",
            "FAULT DELAY <command> <milliseconds> | ERROR <command> <text> | DROP <commands> | CLEAR",
            "    Have a command run late or answer an error, or a connection end after so many commands.",
            "HTSTATS <db>",
            "    Figures on a database's tables.",
            "HTSTATS-KEY <key>",
            "    Figures on the table of a large value.",
            "LISTPACK <key>",
            "    Log figures on a value kept as a listpack.",
            "LOG <text>",
            "    Write a line to the log.",
            "OBJECT <key>",
            "    How a value is stored.",
            "PANIC | ASSERT | OOM | SEGFAULT",
            "    Crash.",
            "PAUSE-CRON <0|1>",
            "    Stop what the server does by itself, or go on.",
            "POPULATE <count> [<prefix>] [<size>]",
            "    Create string keys <prefix>:<n> (prefix \"key\" unless given).",
            "PROTOCOL <type>",
            "    Answer an example of: string, integer, double, bignum, null, array, set, map, attrib, push,",
            "    verbatim, true, false.",
            "QUICKLIST-PACKED-THRESHOLD <size>",
            "    From this size on, a list element has a node of its own; 0 for the default.",
            "REPLYBUFFER PEAK-RESET-TIME <time> | RESIZING <0|1>",
            "    Accepted; reply buffers need no such setting here.",
            "SDSLEN <key>",
            "    The lengths of a key and its string.",
            "SET-ACTIVE-EXPIRE <0|1>",
            "    Whether expired keys are removed in the background.",
            "SLEEP <seconds>",
            "    Hold every key for so long.",
            "STRINGMATCH-LEN <pattern> <text>",
            "    Whether the pattern matches.",
        ],
    );
    Ok(())
}
