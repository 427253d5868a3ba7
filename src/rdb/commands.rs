//! DUMP and RESTORE: a value as bytes that another server takes.
use super::decode::{self, Decoded};
use super::{can_read, encode, types};
use crate::base::crc::crc64;
use crate::base::limits::MaxmemoryPolicy;
use crate::base::num::{fmt_u64, parse_i64};
use crate::command::view::lru_clock;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, SLOW_LANE_COST, notify};
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::value::cell::Cell;

pub fn commands() -> Vec<Command> {
    let restore_row = |name, since| {
        Command::new(name, Arity::at_least(4), restore)
            .write()
            .denyoom()
            .categories(&["keyspace", "dangerous"])
            .key(1, "ow|update")
            .since(since)
            .complexity(
                "O(1) to make the key and O(N*M) for its value, with N elements of M bytes on average; O(N*M*log(N)) \
                 for sorted sets",
            )
    };
    vec![
        Command::new("dump", Arity::exactly(2), dump)
            .group(Group::Generic)
            .readonly()
            .categories(&["keyspace"])
            .key(1, "ro|access")
            .since("2.6.0")
            .doc("Returns the value of a key as bytes that `RESTORE` takes.")
            .complexity(
                "O(1) to find the key and O(N*M) for its value, with N elements of M bytes on average",
            ),
        restore_row("restore", "2.6.0")
            .group(Group::Generic)
            .doc("Makes a key from the bytes that `DUMP` returned."),
        restore_row("restore-asking", "3.0.0")
            .group(Group::Server)
            .asking()
            .doc("`RESTORE` as a node of a cluster sends it while slots are moved."),
    ]
}

/// Version (two bytes) and CRC-64 (eight) after the value.
const FOOTER: usize = 10;
/// Bytes that are written or checked in about the time that one element of a command's cost stands for.
const BYTES_PER_COST: usize = 1 << 10;

fn dump(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let compress = ctx.limits().rdb_compression.get();
    let cost = ctx.keys.peek(&args[1]).map_or(0, |c| c.free_effort().max(c.mem_bytes() / BYTES_PER_COST));
    ctx.slow_lane(cost)?;
    let Some(cell) = ctx.keys.get(&args[1]) else {
        ctx.reply.null();
        return Ok(());
    };
    if cost <= SLOW_LANE_COST {
        ctx.reply.bulk(&payload(cell, compress));
        return Ok(());
    }
    // A pin, so that the shard is free while the bytes are made.
    let pin = cell.copied(b"");
    ctx.release_keys();
    ctx.reply.bulk(&payload(&pin, compress));
    Ok(())
}

/// The value as DUMP returns it.
pub fn payload(cell: &Cell, compress: bool) -> Vec<u8> {
    let mut out = vec![encode::type_of(cell)];
    encode::value(&mut out, cell, &encode::Options { compress });
    out.extend_from_slice(&(encode::version_needed(cell) as u16).to_le_bytes());
    let crc = crc64(0, &out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// RESTORE's options.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_s: Option<u64>,
    freq: Option<u8>,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut o = Self::default();
        let mut i = 0;
        while let Some(word) = args.get(i) {
            let number = |i: usize| args.get(i).map(|n| parse_i64(n).ok_or(CommandError::NOT_INTEGER));
            if eq_nocase(word, "replace") {
                o.replace = true;
            } else if eq_nocase(word, "absttl") {
                o.absolute = true;
            } else if eq_nocase(word, "idletime")
                && o.freq.is_none()
                && let Some(seconds) = number(i + 1)
            {
                let bad = || CommandError::new("ERR Invalid IDLETIME value, must be >= 0");
                o.idle_s = Some(u64::try_from(seconds?).map_err(|_| bad())?);
                i += 1;
            } else if eq_nocase(word, "freq")
                && o.idle_s.is_none()
                && let Some(freq) = number(i + 1)
            {
                let bad = || CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255");
                o.freq = Some(u8::try_from(freq?).map_err(|_| bad())?);
                i += 1;
            } else {
                return Err(CommandError::SYNTAX);
            }
            i += 1;
        }
        Ok(o)
    }
}

fn restore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, bytes) = (&args[1], &args[3]);
    let options = Options::parse(args.from(4))?;
    ctx.slow_lane(bytes.len() / BYTES_PER_COST)?;
    if !options.replace && ctx.keys.present(key) {
        return Err(CommandError::new("BUSYKEY Target key name already exists."));
    }
    let ttl = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    let bad = |_| CommandError::new("ERR Invalid TTL value, must be >= 0");
    let ttl = u64::try_from(ttl).map_err(bad)?;
    let mut cell = decode_payload(ctx, key, bytes)?;
    let now = ctx.now();
    let at = if options.absolute { ttl } else { ttl.saturating_add(now) };
    if ttl > 0 && at <= now {
        // It would be gone at once.
        if ctx.keys.delete(key) {
            ctx.keys.notify(notify::GENERIC, "del", key);
            let word: &[u8] = if ctx.limits().lazyfree_lazy_server_del.get() { b"UNLINK" } else { b"DEL" };
            ctx.keys.effect(|| OwnedArgs::from_iter([word, key]));
        }
        ctx.reply.ok();
        return Ok(());
    }
    if ttl > 0 {
        cell.set_expiry(Some((at, 0)));
    }
    ctx.keys.put(cell);
    if let Some(cell) = ctx.keys.peek(key) {
        set_access(cell, &options, ctx.limits().policy(), now);
    }
    ctx.keys.signal(notify::GENERIC, "restore", key);
    if ttl > 0 && !options.absolute {
        ctx.keys.effect(|| {
            let mut words = OwnedArgs::from_iter([&args[0], key, fmt_u64(&mut [0; 20], at), bytes]);
            args.from(4).iter().for_each(|word| words.push(word));
            words.push(b"ABSTTL");
            words
        });
    }
    ctx.reply.ok();
    Ok(())
}

fn decode_payload(ctx: &Context<'_>, key: &[u8], bytes: &[u8]) -> Result<Cell, CommandError> {
    let limits = ctx.limits();
    let refused = || CommandError::new("ERR DUMP payload version or checksum are wrong");
    let (body, footer) = bytes.split_last_chunk::<FOOTER>().ok_or_else(refused)?;
    let [v0, v1, crc @ ..] = *footer;
    let version = u32::from(u16::from_le_bytes([v0, v1]));
    if !can_read(version) {
        return Err(refused());
    }
    let sum = || crc64(crc64(0, body), &[v0, v1]);
    if !limits.skip_checksum_validation.get() && u64::from_le_bytes(crc) != sum() {
        return Err(refused());
    }
    let options = decode::Options { limits, seed: ctx.env.keyspace.seed(), version, skip_modules: false };
    let bad = || CommandError::new("ERR Bad data format");
    let (&ty, value) = body.split_first().ok_or_else(bad)?;
    match decode::whole_value(ty, key, value, 1, &options) {
        Ok(Decoded::Cell(cell)) => Ok(cell),
        Ok(Decoded::Empty | Decoded::Skipped(_)) => Err(bad()),
        Err(e) => {
            tracing::warn!("Bad payload for RESTORE, {} as version {version}: {e}", types::name(ty, version));
            Err(bad())
        }
    }
}

/// The access clock as told, if the eviction policy has a use for it.
fn set_access(cell: &Cell, options: &Options, policy: MaxmemoryPolicy, now: u64) {
    let lfu = matches!(policy, MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu);
    match (options.freq, options.idle_s) {
        (Some(freq), _) if lfu => cell.set_access(((now / 60_000) as u32 & 0xffff) << 8 | u32::from(freq)),
        (_, Some(idle)) if !lfu => cell.set_access(lru_clock(now.saturating_sub(idle.saturating_mul(1000)))),
        _ => {}
    }
}
