//! The KAFKA command: pipelines are made, changed, looked at and held here. What runs them is `service`.
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::definition::{Definition, OnError, Start};
use super::fetch::{Fetched, Source};
use super::record::{Record, RecordError, Rendered, Verdict};
use super::runner::RECORD_BYTES_MAX;
use super::service::{Kafka, define};
use super::store;
use crate::base::num::parse_i64;
use crate::base::split;
use crate::command::row::Locks;
use crate::command::{Arity, Block, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::{Args, eq_nocase};
use crate::server::slow;

pub fn commands() -> Vec<Command> {
    let sub = |name, arity, handler| {
        Command::new(name, arity, handler).group(Group::Server).since("7.2.4").noscript().complexity("O(1)")
    };
    // They touch the pipeline's keys, which are no arguments of theirs.
    let write = |name, arity, handler| sub(name, arity, handler).write().admin().locks(Locks::All);
    let read = |name, arity, handler| sub(name, arity, handler).admin().locks(Locks::Walk);
    vec![
        Command::container(
            "kafka",
            vec![
                write("create", Arity::at_least(7), create).denyoom().doc("Makes a pipeline and starts it."),
                write("alter", Arity::at_least(4), alter)
                    .denyoom()
                    .doc("Changes parts of a pipeline's definition."),
                write("drop", Arity::at_least(3), drop_pipeline).doc("Ends a pipeline and forgets it."),
                write("pause", Arity::exactly(3), pause).doc("Has a pipeline stand still."),
                write("resume", Arity::at_least(3), resume)
                    .doc("Has a pipeline go on, from where it is or elsewhere."),
                sub("wait", Arity::exactly(6), wait)
                    .blocking()
                    .locks(Locks::All)
                    .doc("Waits until a record has been applied."),
                read("list", Arity::exactly(2), list).doc("Names the pipelines."),
                read("info", Arity::at_least(2), info)
                    .doc("Describes a pipeline, or all, with their partitions."),
                read("lag", Arity::at_least(2), lag).doc("Tells how many records are yet to be applied."),
                read("errors", Arity::at_least(3), errors).doc("Shows records that failed lately."),
                sub("retry", Arity::at_least(3), retry)
                    .write()
                    .denyoom()
                    .admin()
                    .no_multi()
                    .waits_outside()
                    .doc("Applies a pipeline's dead letters once more."),
                read("test", Arity::at_least(3), test)
                    .no_multi()
                    .waits_outside()
                    .doc("Shows what a pipeline would do with records, and does nothing."),
                sub("help", Arity::exactly(2), help).loading().stale().doc("Explains the subcommands."),
            ],
        )
        .group(Group::Server)
        .since("7.2.4")
        .doc("A container for commands on pipelines that bring Kafka topics into keys.")
        .complexity("Depends on the subcommand"),
    ]
}

fn kafka<'a>(ctx: &Context<'a>) -> &'a Arc<Kafka> {
    ctx.service::<Arc<Kafka>>()
}

fn refuse(text: impl std::fmt::Display) -> CommandError {
    CommandError::new(format!("ERR {text}"))
}

fn name_of(arg: &[u8]) -> Result<&str, CommandError> {
    std::str::from_utf8(arg).map_err(|_| refuse("a pipeline's name is text"))
}

/// The pipeline's state as stored.
fn stored(ctx: &mut Context<'_>, name: &str) -> Result<store::Stored, CommandError> {
    store::read(ctx, &store::key_of(name))?.ok_or_else(|| refuse(format!("there is no pipeline '{name}'")))
}

fn done(ctx: &mut Context<'_>) -> Outcome {
    // What ran inside is in the journal already.
    ctx.keys.effects_only();
    kafka(ctx).poke();
    ctx.reply.ok();
    Ok(())
}

fn create(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let definition = Definition::parse(args.from(2)).map_err(refuse)?;
    kafka(ctx).compiled(ctx.env, &definition).map_err(refuse)?;
    if store::read(ctx, &store::key_of(&definition.name))?.is_some() {
        return Err(refuse(format!("pipeline '{}' is there already", definition.name)));
    }
    define(ctx, &definition)?;
    kafka(ctx).announce(&definition);
    done(ctx)
}

fn alter(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = name_of(&args[2])?;
    let mut definition = Definition::parse_line(&stored(ctx, name)?.definition).map_err(refuse)?;
    definition.alter(args.from(3)).map_err(refuse)?;
    kafka(ctx).compiled(ctx.env, &definition).map_err(refuse)?;
    define(ctx, &definition)?;
    done(ctx)
}

fn drop_pipeline(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let keep = match args.get(3) {
        None => false,
        Some(word) if eq_nocase(word, "keepoffsets") && args.len() == 4 => true,
        _ => return Err(CommandError::SYNTAX),
    };
    let name = name_of(&args[2])?;
    stored(ctx, name)?;
    let key = store::key_of(name);
    if keep {
        store::nested(ctx, [b"hdel".as_slice(), &key, b"definition", b"paused"])?;
    } else {
        store::nested(ctx, [b"del".as_slice(), &key])?;
    }
    store::nested(ctx, [b"srem".as_slice(), store::REGISTRY, name.as_bytes()])?;
    done(ctx)
}

fn pause(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = name_of(&args[2])?;
    if stored(ctx, name)?.paused.is_none() {
        store::nested(ctx, [b"hset".as_slice(), &store::key_of(name), b"paused", b"by KAFKA PAUSE"])?;
    }
    done(ctx)
}

/// RESUME name [FROM earliest|latest|<Unix ms>|<partition>:<offset>[,...]]
fn resume(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = name_of(&args[2])?;
    let stored = stored(ctx, name)?;
    let key = store::key_of(name);
    let topic = Definition::parse_line(&stored.definition).map_err(refuse)?.topic;
    match args.get(3) {
        None => {}
        Some(word) if eq_nocase(word, "from") && args.len() == 5 => {
            let place = String::from_utf8_lossy(args.at(4)).to_ascii_lowercase();
            if place.contains(':') {
                let mut hset: Vec<Vec<u8>> = vec![b"hset".to_vec(), key.clone()];
                for pair in place.split(',') {
                    let parsed =
                        pair.split_once(':').and_then(|(p, at)| Some((p.parse().ok()?, at.parse().ok()?)));
                    let (p, at): (i32, u64) =
                        parsed.ok_or_else(|| refuse("offsets are <partition>:<offset>[,...]"))?;
                    hset.push(store::offset_field(&topic, p).into());
                    hset.push(at.to_string().into());
                }
                store::nested(ctx, &hset)?;
            } else {
                if !["earliest", "latest"].contains(&place.as_str()) && place.parse::<u64>().is_err() {
                    return Err(refuse(
                        "FROM takes earliest, latest, Unix milliseconds or <partition>:<offset>[,...]",
                    ));
                }
                let fields =
                    stored.fields.iter().filter(|(field, _)| field.starts_with(&format!("{topic}:")));
                let fields: Vec<&str> = fields.map(|(field, _)| field.as_str()).collect();
                if !fields.is_empty() {
                    store::nested(
                        ctx,
                        [b"hdel".as_slice(), &key].into_iter().chain(fields.iter().map(|f| f.as_bytes())),
                    )?;
                }
                store::nested(ctx, [b"hset".as_slice(), &key, store::FROM.as_bytes(), place.as_bytes()])?;
            }
            store::nested(ctx, [b"hdel".as_slice(), &key, store::id_field(&topic).as_bytes()])?;
        }
        _ => return Err(CommandError::SYNTAX),
    }
    store::nested(ctx, [b"hdel".as_slice(), &key, b"paused"])?;
    done(ctx)
}

/// WAIT name partition offset timeout-ms: 1 once the record at that offset has been applied, 0 when time is up.
fn wait(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = name_of(&args[2])?;
    let number = |i: usize| parse_i64(args.at(i)).filter(|&n| n >= 0).ok_or(CommandError::NOT_INTEGER);
    let (partition, offset, timeout) = (number(3)?, number(4)?, number(5)?);
    let stored = stored(ctx, name)?;
    let topic = Definition::parse_line(&stored.definition).map_err(refuse)?.topic;
    let partition = i32::try_from(partition).map_err(|_| CommandError::NOT_INTEGER)?;
    if stored.number(&store::offset_field(&topic, partition)).is_some_and(|next| next > offset) {
        ctx.reply.int(1);
        return Ok(());
    }
    let deadline_ms = (timeout > 0).then(|| ctx.now().saturating_add(timeout as u64));
    ctx.block(Block {
        keys: vec![store::key_of(name).into()],
        wants: None,
        deadline_ms,
        on_timeout: |reply| reply.int(0),
    })
}

fn list(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let names = kafka(ctx).names();
    ctx.reply.array(names.len());
    names.iter().for_each(|name| ctx.reply.bulk_str(name));
    Ok(())
}

fn info(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match args.get(2) {
        Some(name) if args.len() == 3 => describe(ctx, name_of(name)?),
        None => {
            let names = kafka(ctx).names();
            ctx.reply.array(names.len());
            names.iter().try_for_each(|name| describe(ctx, name))
        }
        _ => Err(CommandError::SYNTAX),
    }
}

fn describe(ctx: &mut Context<'_>, name: &str) -> Outcome {
    let (line, f) =
        kafka(ctx).figures(name).ok_or_else(|| refuse(format!("there is no pipeline '{name}'")))?;
    let now = ctx.now();
    let journaled = ctx.env.journal.is_on();
    let reply = &mut *ctx.reply;
    let lag: i64 = f.partitions.values().map(|p| p.lag()).sum();
    let numbers = [
        ("since-ms", f.since_ms as i64),
        ("records", f.records as i64),
        ("commands", f.commands as i64),
        ("filtered", f.filtered as i64),
        ("tombstones", f.tombstones as i64),
        ("skipped", f.skipped as i64),
        ("dead-letters", f.dead as i64),
        ("retried", f.retried as i64),
        ("steps", f.steps as i64),
        ("rate", f.rate as i64),
        ("buffer-bytes", f.buffered as i64),
        ("lag", lag),
    ];
    reply.map(6 + numbers.len());
    for (field, text) in [("name", name), ("state", f.state.name()), ("reason", &f.reason)] {
        reply.bulk_str(field);
        reply.bulk_str(text);
    }
    reply.bulk_str("definition");
    reply.bulk(&line);
    for (field, n) in numbers {
        reply.bulk_str(field);
        reply.int(n);
    }
    reply.bulk_str("errors");
    reply.map(f.errors.len());
    for (class, n) in &f.errors {
        reply.bulk_str(class.name());
        reply.int(*n as i64);
    }
    reply.bulk_str("partitions");
    reply.array(f.partitions.len());
    for (p, at) in &f.partitions {
        let durable = if journaled { at.durable } else { -1 };
        let fields = [
            ("partition", i64::from(*p)),
            ("applied", at.applied),
            ("end", at.end),
            ("durable", durable),
            ("lag", at.lag()),
            ("lag-ms", at.lag_ms(now)),
        ];
        reply.map(fields.len());
        for (field, n) in fields {
            reply.bulk_str(field);
            reply.int(n);
        }
    }
    Ok(())
}

fn lag(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let one = args.get(2).map(name_of).transpose()?;
    let names = match one {
        Some(name) => vec![name.to_owned()],
        None => kafka(ctx).names(),
    };
    ctx.reply.map(names.len());
    for name in names {
        let (_, f) =
            kafka(ctx).figures(&name).ok_or_else(|| refuse(format!("there is no pipeline '{name}'")))?;
        ctx.reply.bulk_str(&name);
        ctx.reply.int(f.partitions.values().map(|p| p.lag()).sum());
    }
    Ok(())
}

fn count_of(args: Args<'_>, at: usize, default: usize) -> Result<usize, CommandError> {
    match (args.get(at), args.get(at + 1)) {
        (None, _) => Ok(default),
        (Some(word), Some(n)) if eq_nocase(word, "count") && args.len() == at + 2 => {
            parse_i64(n).and_then(|n| usize::try_from(n).ok()).ok_or(CommandError::NOT_INTEGER)
        }
        _ => Err(CommandError::SYNTAX),
    }
}

fn errors(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = name_of(&args[2])?;
    let count = count_of(args, 3, 10)?;
    let (_, f) = kafka(ctx).figures(name).ok_or_else(|| refuse(format!("there is no pipeline '{name}'")))?;
    let latest: Vec<_> = f.failures.iter().rev().take(count).collect();
    ctx.reply.array(latest.len());
    for failure in latest {
        ctx.reply.map(5);
        for (field, n) in [
            ("time-ms", failure.at_ms as i64),
            ("partition", failure.partition.into()),
            ("offset", failure.offset),
        ] {
            ctx.reply.bulk_str(field);
            ctx.reply.int(n);
        }
        for (field, text) in [("class", failure.class.name()), ("error", &failure.text)] {
            ctx.reply.bulk_str(field);
            ctx.reply.bulk_str(text);
        }
    }
    Ok(())
}

/// How long the thread of an altered pipeline may take to be replaced.
const RESTART_TIME: Duration = Duration::from_secs(5);

/// RETRY name [COUNT n]
fn retry(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = name_of(&args[2])?;
    let most = count_of(args, 3, usize::MAX)?;
    ctx.slow_lane(usize::MAX)?;
    let Some((line, _)) = kafka(ctx).figures(name) else {
        return Err(refuse(format!("there is no pipeline '{name}'")));
    };
    let on_error = Definition::parse_line(&line).map(|d| d.on_error);
    if matches!(on_error, Ok(OnError::Fail | OnError::Skip)) {
        return Err(refuse(format!("pipeline '{name}' keeps no dead letters (ON ERROR DLQ or STREAM)")));
    }
    ctx.release_keys();
    let (kafka, began) = (kafka(ctx), Instant::now());
    let answer = slow::outside(|| {
        loop {
            // Its thread ends with the server, or when the pipeline is altered; then another one begins. What the first
            // has applied is done with.
            let answer = kafka.retry(name, most as u64).and_then(|answer| answer.recv().ok());
            if answer.is_some() || began.elapsed() > RESTART_TIME || kafka.figures(name).is_none() {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let ended = || refuse(format!("pipeline '{name}' has no thread now (KAFKA INFO tells why)"));
    let retried = answer.ok_or_else(ended)?.map_err(refuse)?;
    ctx.reply.map(2);
    for (field, n) in [("applied", retried.applied), ("failed", retried.failed)] {
        ctx.reply.bulk_str(field);
        ctx.reply.int(n as i64);
    }
    Ok(())
}

/// Records that TEST looks at, at most.
const TEST_MAX: usize = 1000;
/// How long it waits for them.
const TEST_TIME: Duration = Duration::from_secs(5);

/// TEST name [COUNT n], or TEST <the arguments of CREATE> [COUNT n].
fn test(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(usize::MAX)?;
    let counted = args.len() > 4 && eq_nocase(args.at(args.len() - 2), "count");
    let count = if counted { count_of(args, args.len() - 2, 10)? } else { 10 }.min(TEST_MAX);
    let words = args.slice(2..if counted { args.len() - 2 } else { args.len() });
    let definition = match words.len() {
        1 => {
            let name = name_of(words.at(0))?;
            let known =
                kafka(ctx).figures(name).ok_or_else(|| refuse(format!("there is no pipeline '{name}'")))?;
            Definition::parse_line(&known.0).map_err(refuse)?
        }
        _ => Definition::parse(words).map_err(refuse)?,
    };
    let (pipeline, config) = kafka(ctx).compiled(ctx.env, &definition).map_err(refuse)?;
    let source = Source::open(&config, &definition.topic).map_err(refuse)?;
    let until = Instant::now() + TEST_TIME;
    let left = || until.saturating_duration_since(Instant::now());
    let there: Vec<i32> =
        source.partitions(left()).map_err(refuse)?.into_iter().filter(|&p| definition.reads(p)).collect();
    let times = match definition.start {
        Start::At(ms) => source.offsets_at(ms, &there, left()).map_err(refuse)?,
        _ => vec![None; there.len()],
    };
    let (mut positions, mut due) = (Vec::new(), 0);
    for (&p, at) in there.iter().zip(times) {
        let (low, high) = source.bounds(p, left()).map_err(refuse)?;
        let from = match definition.start {
            Start::Earliest => low,
            Start::Latest => (high - count as i64).max(low),
            Start::At(_) => at.unwrap_or(high),
        };
        due += high - from;
        positions.push((p, from));
    }
    source.assign(positions.into_iter()).map_err(refuse)?;
    let count = count.min(usize::try_from(due).unwrap_or(0));
    let begin = ctx.reply.defer();
    let (mut shown, mut fetched, mut rendered) = (0, Fetched::default(), Rendered::new(RECORD_BYTES_MAX));
    while shown < count && !left().is_zero() {
        source.fetch(count - shown, left().min(Duration::from_millis(200)), &mut fetched);
        for message in (0..fetched.len()).filter_map(|i| fetched.get(i)?.ok()) {
            rendered.clear();
            let verdict = pipeline.render(&message, &mut rendered);
            show(ctx, &message, &verdict, &rendered);
            shown += 1;
        }
    }
    ctx.reply.finish_array(begin, shown);
    Ok(())
}

fn show(
    ctx: &mut Context<'_>,
    record: &impl Record,
    verdict: &Result<Verdict, RecordError>,
    rendered: &Rendered,
) {
    ctx.reply.array(4);
    ctx.reply.int(record.partition().into());
    ctx.reply.int(record.offset());
    let text = match verdict {
        Ok(Verdict::Apply) => "apply".to_owned(),
        Ok(Verdict::Filtered) => "filtered".to_owned(),
        Ok(Verdict::Ignored) => "ignored".to_owned(),
        Err(e) => format!("error: {e}"),
    };
    ctx.reply.bulk_str(&text);
    ctx.reply.array(rendered.len());
    for (_, args) in rendered.iter() {
        ctx.reply.bulk(&split::join(args.iter()));
    }
}

fn help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.help(&[
        "CREATE <name> [FROM <connection>] TOPIC <topic> [PARTITIONS <ranges>] [START earliest|latest|<unix ms>]",
        "       [KEY raw|json] [VALUE raw|json] [WHERE <condition>] DO <command> [DO <command> ...]",
        "       [TOMBSTONE <command>] [ON ERROR FAIL|SKIP|DLQ <topic>|STREAM <key>] [MAXRATE <records a second>]",
        "    Make a pipeline and start it.",
        "ALTER <name> <clause> ...",
        "    Change parts of its definition.",
        "DROP <name> [KEEPOFFSETS]",
        "    End it and forget it.",
        "PAUSE <name>",
        "    Have it stand still.",
        "RESUME <name> [FROM earliest|latest|<unix ms>|<partition>:<offset>[,...]]",
        "    Have it go on.",
        "WAIT <name> <partition> <offset> <timeout ms>",
        "    Wait until that record has been applied.",
        "LIST",
        "    Name the pipelines.",
        "INFO [<name>]",
        "    Describe them and their partitions.",
        "LAG [<name>]",
        "    Count the records that are yet to be applied.",
        "ERRORS <name> [COUNT <n>]",
        "    Show records that failed lately.",
        "RETRY <name> [COUNT <n>]",
        "    Apply its dead letters once more.",
        "TEST <name>|<definition> [COUNT <n>]",
        "    Show what it would do with records of its topic.",
    ]);
    Ok(())
}
