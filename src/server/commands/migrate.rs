//! MIGRATE: keys go to another server, and are deleted here once they are there.
//!
//! Redis stands still meanwhile. Here the keys are pinned and watched, their shards let go, and the values sent from the
//! pins, so that nobody waits for the network but the client that asked. With the acknowledgements at hand the shards are
//! locked again, and a key is deleted if nobody has changed it since it was pinned. One that was changed is sent again as
//! it is now, over the copy that is there (or deleted there, if it is gone here), a few times; if it still changes, it
//! stays here, and the reply is an error that says so. No write that was acknowledged here is ever lost by the move.
//!
//! Inside a transaction the shards stay locked, and all that needs them waits, as it does in Redis.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::num::{fmt_u64, parse_i64};
use crate::command::row::{Begin, Find};
use crate::command::{Arity, Command, CommandError, Context, Env, Group, Outcome, notify};
use crate::config::Config;
use crate::keyspace::{ShardSet, Watch};
use crate::rdb::commands::payload;
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::server::migrate::{Link, Links, Target, is_timeout};
use crate::server::slow;
use crate::value::cell::Cell;

/// How often keys that change on the way are sent again.
const ROUNDS_MAX: usize = 8;
/// Where the client gives no timeout.
const TIMEOUT_MS: u64 = 1000;

pub fn commands() -> Vec<Command> {
    let keys = Find::Range { last: -1, step: 1, limit: 0 };
    vec![
        Command::new("migrate", Arity::at_least(6), migrate)
            .group(Group::Generic)
            .since("2.6.0")
            .write()
            .categories(&["keyspace", "dangerous"])
            .key(3, "rw|access|delete")
            .spec(Begin::Keyword("keys", -2), keys, "rw|access|delete|incomplete")
            .finder(|args, found| keys_of(args).for_each(|i| found(i, "rw|access|delete")))
            .waits_outside()
            .doc("Moves keys to another server, each all at once.")
            .complexity("O(N) with N the bytes of the values, here and there"),
    ]
}

/// What the client asks for.
#[derive(Default)]
struct Order<'a> {
    copy: bool,
    replace: bool,
    /// The words after AUTH.
    auth: Vec<&'a [u8]>,
    /// Where the keys stand among the arguments.
    keys: std::ops::Range<usize>,
}

impl<'a> Order<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut order = Order { keys: 3..4, ..Order::default() };
        let mut i = 6;
        while let Some(word) = args.get(i) {
            let mut secrets = |n: usize| {
                let words: Option<Vec<_>> = (1..=n).map(|k| args.get(i + k)).collect();
                order.auth = words.ok_or(CommandError::SYNTAX)?;
                i += n;
                Ok::<_, CommandError>(())
            };
            if eq_nocase(word, "copy") {
                order.copy = true;
            } else if eq_nocase(word, "replace") {
                order.replace = true;
            } else if eq_nocase(word, "auth") {
                secrets(1)?;
            } else if eq_nocase(word, "auth2") {
                secrets(2)?;
            } else if eq_nocase(word, "keys") {
                if !args.at(3).is_empty() {
                    return Err(CommandError::new(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                order.keys = i + 1..args.len();
                break;
            } else {
                return Err(CommandError::SYNTAX);
            }
            i += 1;
        }
        Ok(order)
    }
}

/// The keys' places among the arguments, whatever else is wrong with these.
fn keys_of(args: Args<'_>) -> std::ops::Range<usize> {
    Order::parse(args).map_or(3..4.min(args.len()), |order| order.keys)
}

/// A key on its way.
struct Item<'a> {
    key: &'a [u8],
    /// Its value when it was pinned, and when it expires; `None` once it is gone here.
    pin: Option<(Cell, Option<u64>)>,
    watch: Arc<Watch>,
    is_there: bool,
}

fn migrate(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let order = Order::parse(args)?;
    let number = |i: usize| parse_i64(args.at(i)).ok_or(CommandError::NOT_INTEGER);
    let (timeout, db) = (number(5)?, number(4)?);
    ctx.slow_lane(usize::MAX)?;
    let limits = ctx.limits();
    let errand = Errand {
        env: ctx.env,
        // A port that is none leads nowhere, and that is what the client is told.
        target: Target {
            host: String::from_utf8_lossy(args.at(1)).into_owned(),
            port: parse_i64(args.at(2)).and_then(|n| n.try_into().ok()).unwrap_or(0),
        },
        timeout: Duration::from_millis(match u64::try_from(timeout) {
            Ok(0) | Err(_) => TIMEOUT_MS,
            Ok(ms) => ms.min(u64::from(u32::MAX)),
        }),
        db,
        auth: &order.auth,
        compress: limits.rdb_compression.get(),
        restore: match ctx.env.services.find::<Config>().is_some_and(|c| c.bool("cluster-enabled")) {
            true => b"RESTORE-ASKING",
            false => b"RESTORE",
        },
    };
    let mut items = Vec::new();
    let mut shards = ShardSet::None;
    for i in order.keys.clone() {
        let key = args.at(i);
        if let Some(pin) = ctx.keys.get(key).map(pinned) {
            shards.add(ctx.env.keyspace.shard_of(ctx.env.keyspace.hash(key)));
            items.push(Item { key, pin: Some(pin), watch: Arc::default(), is_there: false });
        }
    }
    if items.is_empty() {
        ctx.reply.simple("NOKEY");
        return Ok(());
    }
    shards.seal();
    if !order.copy {
        items.iter().for_each(|item| watch(ctx, item));
    }
    ctx.release_keys();
    let mut result = slow::outside(|| errand.run(&mut items.iter_mut().collect::<Vec<_>>(), order.replace));
    if order.copy {
        // The locks that a command ends with have nothing to protect.
        return result.map(|()| ctx.reply.ok());
    }
    for round in 0.. {
        ctx.lock_again(&shards);
        let mut changed: Vec<_> = items.iter_mut().filter(|i| i.is_there && i.watch.broken()).collect();
        if result.is_err() || changed.is_empty() {
            break;
        }
        if round == ROUNDS_MAX {
            result = Err(CommandError::new(
                "ERR some keys changed time and again while they were moved. They stay here; what the target has of \
                 them is out of date.",
            ));
            break;
        }
        for item in &mut changed {
            unwatch(ctx, item);
            item.watch = Arc::default();
            item.is_there = false;
            item.pin = ctx.keys.peek(item.key).map(pinned);
            watch(ctx, item);
        }
        ctx.release_keys();
        result = slow::outside(|| errand.run(&mut changed, true));
    }
    let moved: Vec<_> =
        items.iter().filter(|i| i.is_there && i.pin.is_some() && !i.watch.broken()).map(|i| i.key).collect();
    items.iter().for_each(|item| unwatch(ctx, item));
    delete(ctx, &moved);
    result.map(|()| ctx.reply.ok())
}

fn pinned(cell: &Cell) -> (Cell, Option<u64>) {
    (cell.copied(b""), cell.expire_ms())
}

fn watch(ctx: &mut Context<'_>, item: &Item<'_>) {
    let (db, hash) = (ctx.keys.db, ctx.env.keyspace.hash(item.key));
    ctx.keys.locked().db_mut(db, hash).watch(item.key, &item.watch);
}

fn unwatch(ctx: &mut Context<'_>, item: &Item<'_>) {
    let (db, hash) = (ctx.keys.db, ctx.env.keyspace.hash(item.key));
    ctx.keys.locked().db_mut(db, hash).unwatch(item.key, &item.watch);
}

fn delete(ctx: &mut Context<'_>, keys: &[&[u8]]) {
    let mut gone = Vec::with_capacity(keys.len());
    for &key in keys {
        if ctx.keys.delete(key) {
            ctx.keys.notify(notify::GENERIC, "del", key);
            gone.push(key);
        }
    }
    if !gone.is_empty() {
        ctx.keys.effect(|| OwnedArgs::from_iter([&b"DEL"[..]].into_iter().chain(gone)));
    }
}

/// Everything about the way there.
struct Errand<'a> {
    env: &'a Env,
    target: Target,
    timeout: Duration,
    db: i64,
    auth: &'a [&'a [u8]],
    compress: bool,
    restore: &'static [u8],
}

/// Why keys did not arrive.
enum Failed {
    /// The target said no; the first such word.
    Refused(Vec<u8>),
    Writing(io::Error),
    Reading(io::Error),
}

impl From<Failed> for CommandError {
    fn from(failed: Failed) -> Self {
        let io = |what| CommandError::new(format!("IOERR error or timeout {what} to target instance"));
        match failed {
            Failed::Refused(why) => {
                CommandError::quoting("ERR Target instance replied with error: ", &why, "")
            }
            Failed::Writing(_) => io("writing"),
            Failed::Reading(_) => io("reading"),
        }
    }
}

impl Errand<'_> {
    /// Sends the keys and notes which are there. A kept connection may be found closed: then a new one is tried once.
    fn run(&self, items: &mut [&mut Item<'_>], replace: bool) -> Result<(), CommandError> {
        let links = self.env.service::<Links>();
        loop {
            let mut link = links
                .take(&self.target, self.timeout)
                .map_err(|_| CommandError::new("IOERR error or timeout connecting to the client"))?;
            let failed = match self.deliver(&mut link, items, replace) {
                Ok(()) => {
                    links.keep(self.target.clone(), link);
                    return Ok(());
                }
                Err(failed) => failed,
            };
            match &failed {
                Failed::Refused(_) if link.db.is_some() => {
                    // Every reply has been read.
                    link.db = None;
                    links.keep(self.target.clone(), link);
                }
                Failed::Writing(e) | Failed::Reading(e)
                    if link.reused && !is_timeout(e) && !items.iter().any(|i| i.is_there) =>
                {
                    // What was kept beside it is no younger.
                    links.forget(&self.target);
                    continue;
                }
                _ => {}
            }
            return Err(failed.into());
        }
    }

    fn deliver(&self, link: &mut Link, items: &mut [&mut Item<'_>], replace: bool) -> Result<(), Failed> {
        // Not together with the keys: without it they would go to the wrong place.
        if !self.auth.is_empty() {
            let words: Vec<&[u8]> = [&b"AUTH"[..]].into_iter().chain(self.auth.iter().copied()).collect();
            self.must(link, &words)?;
        }
        if link.db != Some(self.db) {
            link.db = None;
            self.must(link, &[b"SELECT", self.db.to_string().as_bytes()])?;
            link.db = Some(self.db);
        }
        let mut sent = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            if self.send(link, item, replace).map_err(Failed::Writing)? {
                sent.push(i);
            }
        }
        link.flush().map_err(Failed::Writing)?;
        let mut refused = None;
        for i in sent {
            match link.reply().map_err(Failed::Reading) {
                Ok(Ok(())) => items[i].is_there = true,
                Ok(Err(why)) => refused = refused.or(Some(why)),
                // A word from the target tells more than the end of its connection.
                Err(failed) => {
                    link.db = None;
                    return Err(refused.map_or(failed, Failed::Refused));
                }
            }
        }
        refused.map_or(Ok(()), |why| Err(Failed::Refused(why)))
    }

    fn must(&self, link: &mut Link, words: &[&[u8]]) -> Result<(), Failed> {
        link.ask(words).map_err(Failed::Reading)?.map_err(Failed::Refused)
    }

    /// Sends the request for one key; not for one whose time has come meanwhile.
    fn send(&self, link: &mut Link, item: &Item<'_>, replace: bool) -> io::Result<bool> {
        let Some((value, expire_ms)) = &item.pin else { return link.put(&[b"DEL", item.key]).map(|()| true) };
        let ttl = match expire_ms {
            None => 0,
            Some(at) => match at.checked_sub(self.env.clock.now_ms()) {
                None => return Ok(false),
                Some(left) => left.max(1),
            },
        };
        let (value, mut digits) = (payload(value, self.compress), [0; 20]);
        let words: &[&[u8]] = &[self.restore, item.key, fmt_u64(&mut digits, ttl), &value, b"REPLACE"];
        link.put(&words[..if replace { 5 } else { 4 }])?;
        Ok(true)
    }
}
