//! SUBSCRIBE and its kin.
use super::{Kind, PubSub, names_mut, note_counts};
use crate::command::session::ReplyMode;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, Session};
use crate::resp::args::Args;
use crate::resp::reply::Reply;

pub fn commands() -> Vec<Command> {
    let subscribing = |name, arity, handler| {
        Command::new(name, arity, handler).pubsub().noscript().loading().stale().in_subscribe()
    };
    let publishing = |name, handler| {
        Command::new(name, Arity::exactly(3), handler).pubsub().loading().stale().fast().may_replicate()
    };
    let asking = |name, arity, handler| Command::new(name, arity, handler).pubsub().loading().stale();
    let all = vec![
        subscribing("subscribe", Arity::at_least(2), subscribe)
            .sentinel()
            .since("2.0.0")
            .doc("Starts listening for messages on channels.")
            .complexity("O(N) with N the number of channels"),
        subscribing("unsubscribe", Arity::at_least(1), unsubscribe)
            .sentinel()
            .since("2.0.0")
            .doc("Stops listening on channels, or on all of them.")
            .complexity("O(N) with N the number of channels"),
        subscribing("psubscribe", Arity::at_least(2), psubscribe)
            .sentinel()
            .since("2.0.0")
            .doc("Starts listening for messages on the channels that patterns match.")
            .complexity("O(N) with N the number of patterns"),
        subscribing("punsubscribe", Arity::at_least(1), punsubscribe)
            .sentinel()
            .since("2.0.0")
            .doc("Stops listening on patterns, or on all of them.")
            .complexity("O(N) with N the number of patterns"),
        subscribing("ssubscribe", Arity::at_least(2), ssubscribe)
            .range(1, -1, 1, "not_key")
            .since("7.0.0")
            .doc("Starts listening for messages on shard channels.")
            .complexity("O(N) with N the number of channels"),
        subscribing("sunsubscribe", Arity::at_least(1), sunsubscribe)
            .range(1, -1, 1, "not_key")
            .since("7.0.0")
            .doc("Stops listening on shard channels, or on all of them.")
            .complexity("O(N) with N the number of channels"),
        publishing("publish", publish)
            .sentinel()
            .since("2.0.0")
            .doc("Sends a message to a channel's listeners.")
            .complexity("O(N+M) with N the channel's listeners and M the patterns in use"),
        publishing("spublish", spublish)
            .key(1, "not_key")
            .since("7.0.0")
            .doc("Sends a message to a shard channel's listeners.")
            .complexity("O(N) with N the channel's listeners"),
        Command::container(
            "pubsub",
            vec![
                asking("channels", Arity::at_least(2), channels)
                    .since("2.8.0")
                    .doc("Lists the channels that someone listens to.")
                    .complexity("O(N) with N the number of such channels"),
                asking("numsub", Arity::at_least(2), numsub)
                    .since("2.8.0")
                    .doc("Counts the listeners of channels.")
                    .complexity("O(N) with N the number of channels asked for"),
                asking("numpat", Arity::exactly(2), numpat)
                    .since("2.8.0")
                    .doc("Counts the distinct patterns that someone listens to.")
                    .complexity("O(1)"),
                asking("shardchannels", Arity::at_least(2), shard_channels)
                    .since("7.0.0")
                    .doc("Lists the shard channels that someone listens to.")
                    .complexity("O(N) with N the number of such channels"),
                asking("shardnumsub", Arity::at_least(2), shard_numsub)
                    .since("7.0.0")
                    .doc("Counts the listeners of shard channels.")
                    .complexity("O(N) with N the number of channels asked for"),
                Command::new("help", Arity::exactly(2), help)
                    .loading()
                    .stale()
                    .since("6.2.0")
                    .doc("Explains the subcommands.")
                    .complexity("O(1)"),
            ],
        )
        .since("2.8.0")
        .doc("Commands on the state of publish and subscribe.")
        .complexity("Depends on subcommand"),
    ];
    all.into_iter().map(|c| c.group(Group::PubSub)).collect()
}

fn subscribe(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    add(ctx, args, Kind::Channel, "subscribe");
    Ok(())
}

fn psubscribe(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    add(ctx, args, Kind::Pattern, "psubscribe");
    Ok(())
}

fn ssubscribe(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if ctx.is_nested() {
        return Err(CommandError::new("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    add(ctx, args, Kind::ShardChannel, "ssubscribe");
    Ok(())
}

fn unsubscribe(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    remove(ctx, args, Kind::Channel, "unsubscribe");
    Ok(())
}

fn punsubscribe(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    remove(ctx, args, Kind::Pattern, "punsubscribe");
    Ok(())
}

fn sunsubscribe(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    remove(ctx, args, Kind::ShardChannel, "sunsubscribe");
    Ok(())
}

fn add(ctx: &mut Context<'_>, args: Args<'_>, kind: Kind, word: &str) {
    let pubsub: &PubSub = ctx.service();
    for name in args.iter().skip(1) {
        if names_mut(ctx.session, kind).insert(name.into()) {
            pubsub.subscribe(kind, name, &ctx.session.client);
        }
        confirm(ctx, kind, word, Some(name));
    }
    note_counts(ctx.session);
}

fn remove(ctx: &mut Context<'_>, args: Args<'_>, kind: Kind, word: &str) {
    let pubsub: &PubSub = ctx.service();
    let id = ctx.session.client.id;
    if args.len() == 1 {
        let all = std::mem::take(names_mut(ctx.session, kind));
        if all.is_empty() {
            confirm(ctx, kind, word, None);
        }
        let mut left = all.len();
        for name in &all {
            pubsub.unsubscribe(kind, name, id);
            left -= 1;
            let count = count(ctx.session, kind) + left;
            confirm_count(ctx, word, Some(name), count);
        }
    }
    for name in args.iter().skip(1) {
        if names_mut(ctx.session, kind).remove(name) {
            pubsub.unsubscribe(kind, name, id);
        }
        confirm(ctx, kind, word, Some(name));
    }
    note_counts(ctx.session);
}

/// What a confirmation counts: shard channels by themselves, channels and patterns together.
fn count(session: &Session, kind: Kind) -> usize {
    match kind {
        Kind::ShardChannel => session.shard_channels.len(),
        Kind::Channel | Kind::Pattern => session.channels.len() + session.patterns.len(),
    }
}

fn confirm(ctx: &mut Context<'_>, kind: Kind, word: &str, name: Option<&[u8]>) {
    let count = count(ctx.session, kind);
    confirm_count(ctx, word, name, count);
}

/// Confirmations are messages rather than replies: CLIENT REPLY does not hold them back, so then they take the
/// messages' way.
fn confirm_count(ctx: &mut Context<'_>, word: &str, name: Option<&[u8]>, count: usize) {
    let write = |out: &mut Reply| {
        out.push(3);
        out.bulk_str(word);
        match name {
            Some(name) => out.bulk(name),
            None => out.null(),
        }
        out.int(count as i64);
    };
    if ctx.session.reply_mode == ReplyMode::On {
        write(ctx.reply);
    } else {
        let resp3 = ctx.session.resp3;
        ctx.client().push(|out| {
            let was = out.resp3();
            out.set_resp3(resp3);
            write(out);
            out.set_resp3(was);
        });
    }
}

fn publish(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let receivers = ctx.service::<PubSub>().publish(ctx.env, Kind::Channel, &args[1], &args[2]);
    ctx.reply.int(receivers as i64);
    Ok(())
}

fn spublish(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let receivers = ctx.service::<PubSub>().publish(ctx.env, Kind::ShardChannel, &args[1], &args[2]);
    ctx.reply.int(receivers as i64);
    Ok(())
}

fn channels(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    list(ctx, args, Kind::Channel)
}

fn shard_channels(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    list(ctx, args, Kind::ShardChannel)
}

fn list(ctx: &mut Context<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    if args.len() > 3 {
        return Err(wrong_subcommand(args));
    }
    let pubsub: &PubSub = ctx.service();
    ctx.slow_lane(pubsub.channel_count(kind))?;
    let names = pubsub.active(kind, args.get(2));
    ctx.reply.array(names.len());
    names.iter().for_each(|name| ctx.reply.bulk(name));
    Ok(())
}

fn wrong_subcommand(args: Args<'_>) -> CommandError {
    let (before, after) =
        ("ERR unknown subcommand or wrong number of arguments for '", "'. Try PUBSUB HELP.");
    CommandError::quoting(before, &args[1][..args[1].len().min(128)], after)
}

fn numsub(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    count_listeners(ctx, args, Kind::Channel)
}

fn shard_numsub(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    count_listeners(ctx, args, Kind::ShardChannel)
}

fn count_listeners(ctx: &mut Context<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let pubsub: &PubSub = ctx.service();
    ctx.reply.array((args.len() - 2) * 2);
    for name in args.iter().skip(2) {
        ctx.reply.bulk(name);
        ctx.reply.int(pubsub.subscribers(kind, name) as i64);
    }
    Ok(())
}

fn numpat(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let n = ctx.service::<PubSub>().channel_count(Kind::Pattern);
    ctx.reply.int(n as i64);
    Ok(())
}

fn help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.help(&[
        "CHANNELS [<pattern>]",
        "    The channels that someone listens to.",
        "NUMPAT",
        "    How many patterns someone listens to.",
        "NUMSUB [<channel> ...]",
        "    Each channel and how many listen to it, patterns left out.",
        "SHARDCHANNELS [<pattern>]",
        "    The shard channels that someone listens to.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Each shard channel and how many listen to it.",
    ]);
    Ok(())
}
