//! WAIT and WAITAOF. There are no replicas yet: what is asked of them ends by its timeout.
use crate::base::num::{fmt_u64, parse_i64};
use crate::command::context::{Block, Resume};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::reply::Reply;

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| {
        Command::new(name, arity, handler).group(Group::Generic).blocking().categories(&["connection"])
    };
    vec![
        c("wait", Arity::exactly(3), wait)
            .since("3.0.0")
            .doc("Waits until this client's writes have reached a number of replicas.")
            .complexity("O(1)"),
        c("waitaof", Arity::exactly(4), waitaof)
            .since("7.2.0")
            .doc("Waits until this client's writes are on disk here and on a number of replicas.")
            .complexity("O(1)"),
    ]
}

/// A deadline from a timeout in milliseconds; 0 waits forever.
fn deadline(ctx: &Context<'_>, arg: &[u8]) -> Result<Option<u64>, CommandError> {
    let ms =
        parse_i64(arg).ok_or_else(|| CommandError::new("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| CommandError::TIMEOUT_NEGATIVE)?;
    if ms == 0 {
        return Ok(None);
    }
    let at = ctx.now().checked_add(ms).filter(|at| i64::try_from(*at).is_ok());
    at.map(Some).ok_or(CommandError::TIMEOUT_OUT_OF_RANGE)
}

fn wait(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let replicas = parse_i64(&args[1]).ok_or(CommandError::NOT_INTEGER)?;
    let deadline_ms = deadline(ctx, &args[2])?;
    if replicas <= 0 {
        ctx.reply.int(0);
        return Ok(());
    }
    let on_timeout = |reply: &mut Reply| reply.int(0);
    ctx.block(Block { keys: Vec::new(), wants: None, deadline_ms, on_timeout })
}

fn waitaof(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let local = parse_i64(&args[1]).ok_or(CommandError::NOT_INTEGER)?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::new("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    if replicas < 0 {
        return Err(CommandError::OUT_OF_RANGE);
    }
    let deadline_ms = deadline(ctx, &args[3])?;
    if local > 0 && !ctx.env.journal.is_on() {
        return Err(CommandError::new(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    // Called again, it carries the offset of the time of the call.
    let asked = args.get(4).and_then(parse_i64).and_then(|n| u64::try_from(n).ok());
    let offset = asked.unwrap_or(ctx.session.journaled);
    let durable = ctx.env.journal.is_on() && ctx.env.journal.gate.durable() >= offset;
    if ctx.is_resumed() || (replicas == 0 && (local == 0 || durable)) {
        answer(ctx.reply, durable);
        return Ok(());
    }
    let block =
        Block { keys: Vec::new(), wants: None, deadline_ms, on_timeout: |reply| answer(reply, false) };
    ctx.block_and_resume(block, || {
        let mut resumed = OwnedArgs::from_args(args);
        resumed.push(fmt_u64(&mut [0; 20], offset));
        // There are no replicas that could make up the number asked for: then only the timeout ends it.
        let when_durable = (replicas == 0).then_some(offset);
        Resume { args: Some(resumed), when_gone: false, when_durable }
    })
}

/// How many have it on disk: here, and of the replicas.
fn answer(reply: &mut Reply, durable: bool) {
    reply.array(2);
    reply.int(i64::from(durable));
    reply.int(0);
}
