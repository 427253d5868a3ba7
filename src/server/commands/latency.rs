//! LATENCY: the monitor of slow events and the histograms of all commands.
use std::fmt::Write;

use super::help::help;
use crate::command::env::Env;
use crate::command::stats::{LATENCY_BUCKETS, latency_bucket_end};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::Args;
use crate::server::latency::{Event, LatencyMonitor};

pub fn commands() -> Vec<Command> {
    let sub = |name, arity, handler| {
        Command::new(name, arity, handler).admin().noscript().loading().stale().since("2.8.13")
    };
    vec![
        Command::container(
            "latency",
            vec![
                sub("doctor", Arity::exactly(2), doctor)
                    .doc("Explains the latency spikes that were seen.")
                    .complexity("O(1)"),
                sub("graph", Arity::exactly(3), graph)
                    .doc("Draws the latency of an event over time.")
                    .complexity("O(1)"),
                sub("histogram", Arity::at_least(2), histogram)
                    .since("7.0.0")
                    .doc("Tells how many calls of each command took how long.")
                    .complexity("O(N) with N the number of commands"),
                sub("history", Arity::exactly(3), history)
                    .doc("Lists the samples of an event.")
                    .complexity("O(1)"),
                sub("latest", Arity::exactly(2), latest)
                    .doc("Lists the latest sample of each event.")
                    .complexity("O(1)"),
                sub("reset", Arity::at_least(2), reset)
                    .doc("Forgets the samples of some events or of all.")
                    .complexity("O(1)"),
                Command::new("help", Arity::exactly(2), show_help)
                    .loading()
                    .stale()
                    .since("2.8.13")
                    .doc("Explains the subcommands.")
                    .complexity("O(1)"),
            ],
        )
        .group(Group::Server)
        .since("2.8.13")
        .doc("Groups the commands of the latency monitor.")
        .complexity("Depends on subcommand."),
    ]
}

fn latest(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let all = ctx.service::<LatencyMonitor>().all();
    ctx.reply.array(all.len());
    for (name, event) in all {
        let last = event.samples.back();
        ctx.reply.array(4);
        ctx.reply.bulk_str(name);
        ctx.reply.int(last.map_or(0, |s| s.time_s as i64));
        ctx.reply.int(last.map_or(0, |s| s.ms as i64));
        ctx.reply.int(event.max_ms as i64);
    }
    Ok(())
}

fn history(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let event = ctx.service::<LatencyMonitor>().get(&args[2]).unwrap_or_default();
    ctx.reply.array(event.samples.len());
    for s in event.samples {
        ctx.reply.array(2);
        ctx.reply.int(s.time_s as i64);
        ctx.reply.int(s.ms as i64);
    }
    Ok(())
}

fn reset(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let n = ctx.service::<LatencyMonitor>().reset(&args.from(2).iter().collect::<Vec<_>>());
    ctx.reply.int(n as i64);
    Ok(())
}

/// Lines of the drawing.
const GRAPH_HEIGHT: u64 = 4;

fn graph(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = String::from_utf8_lossy(&args[2]).into_owned();
    let Some(event) = ctx.service::<LatencyMonitor>().get(&args[2]) else {
        return Err(CommandError::new(format!("ERR No samples available for event '{name}'")));
    };
    let text = draw(&name, &event, ctx.now() / 1000);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// One column a sample, oldest left; below each, its age, written downwards.
fn draw(name: &str, event: &Event, now_s: u64) -> String {
    let low = event.samples.iter().map(|s| s.ms).min().unwrap_or(0);
    let high = event.samples.iter().map(|s| s.ms).max().unwrap_or(0);
    let mut out = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", event.max_ms);
    out.push_str(&"-".repeat(80));
    out.push('\n');
    let level = |ms: u64| (ms - low) * (GRAPH_HEIGHT * 2 - 1) / (high - low).max(1);
    for row in (0..GRAPH_HEIGHT).rev() {
        for s in &event.samples {
            out.push(match level(s.ms).checked_sub(row * 2) {
                None => ' ',
                Some(0) => '_',
                Some(1) => 'o',
                Some(_) => '|',
            });
        }
        out.push('\n');
    }
    let ages: Vec<String> = event.samples.iter().map(|s| age(now_s.saturating_sub(s.time_s))).collect();
    let height = ages.iter().map(String::len).max().unwrap_or(0);
    out.push('\n');
    for row in 0..height {
        out.extend(ages.iter().map(|a| a.as_bytes().get(row).map_or(' ', |&b| char::from(b))));
        out.push('\n');
    }
    out
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn doctor(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let threshold = ctx.limits().latency_monitor_threshold.get();
    let all = ctx.service::<LatencyMonitor>().all();
    let mut out = String::new();
    if threshold == 0 {
        out.push_str(
            "The latency monitor is off. Switch it on with CONFIG SET latency-monitor-threshold <milliseconds>, let \
             the server work for a while, and ask again.\n",
        );
    } else if all.is_empty() {
        let _ = writeln!(out, "Nothing has taken {threshold} ms or longer since the monitor's last reset.");
    } else {
        let _ = writeln!(out, "Events that took {threshold} ms or longer:\n");
        for (name, event) in &all {
            let s = event.summary();
            let _ = writeln!(
                out,
                "{name}: {} samples, {:.0} ms on average (mean deviation {:.0} ms), one every {:.1} s, worst {} ms.",
                s.samples, s.average_ms, s.deviation_ms, s.period_s, event.max_ms
            );
        }
        out.push_str("\nWhat to look at:\n");
        for (name, _) in &all {
            out.push_str(advice(name));
        }
    }
    ctx.reply.verbatim("txt", out.as_bytes());
    Ok(())
}

fn advice(event: &str) -> &'static str {
    match event {
        "command" => {
            "- command: SLOWLOG GET names the slow commands. Other clients were served meanwhile unless they needed \
             the same keys.\n"
        }
        "fast-command" => {
            "- fast-command: commands of constant cost were slow, so the machine was busy elsewhere: look for \
             swapping, noisy neighbours and a lack of cores (CPU steal).\n"
        }
        "expire-cycle" => {
            "- expire-cycle: very many keys expired at one moment; spread their expiry times.\n"
        }
        "eviction-cycle" | "eviction-del" => {
            "- eviction: memory is at its limit and keys have to go; raise maxmemory or store less.\n"
        }
        _ => "",
    }
}

fn histogram(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let env = ctx.env;
    let table = &env.commands;
    let mut ids: Vec<usize> = Vec::new();
    if args.len() == 2 {
        ids.extend(table.rows().iter().map(|c| c.id));
    } else {
        for arg in args.from(2).iter() {
            // Unknown names are passed over; a container stands for all its subcommands.
            let Some(command) = super::command::find(table, arg) else { continue };
            ids.push(command.id);
            if command.parent.is_none() {
                ids.extend(table.subcommands(command).map(|c| c.id));
            }
        }
    }
    let at = ctx.reply.defer();
    let mut n = 0;
    for id in ids {
        let h = Histogram::new(env, id);
        if h.calls == 0 {
            continue;
        }
        n += 1;
        ctx.reply.bulk_str(&table.get(id).full_name);
        ctx.reply.map(2);
        ctx.reply.bulk_str("calls");
        ctx.reply.int(h.calls as i64);
        ctx.reply.bulk_str("histogram_usec");
        let steps = h.steps();
        ctx.reply.map(steps.len());
        for (micros, calls) in steps {
            ctx.reply.int(micros as i64);
            ctx.reply.int(calls as i64);
        }
    }
    ctx.reply.finish_map(at, n);
    Ok(())
}

/// How long the calls of one command took.
pub struct Histogram {
    pub calls: u64,
    buckets: [u64; LATENCY_BUCKETS],
}

impl Histogram {
    pub fn new(env: &Env, command: usize) -> Self {
        let mut h = Histogram { calls: 0, buckets: [0; LATENCY_BUCKETS] };
        env.stats.each(|w| {
            for (sum, bucket) in h.buckets.iter_mut().zip(&w.commands[command].latency) {
                *sum += bucket.get();
            }
        });
        h.calls = h.buckets.iter().sum();
        h
    }

    /// Calls up to each power of two, where the number grows: (microseconds, calls so far).
    fn steps(&self) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        let (mut so_far, mut shown) = (0, 0);
        for (i, n) in self.buckets.iter().enumerate() {
            so_far += n;
            let end = latency_bucket_end(i);
            // The lowest bucket also holds all that is quicker than it.
            if (end.is_power_of_two() || i == 0 || i + 1 == LATENCY_BUCKETS) && so_far > shown {
                let power = if i == 0 { 1024 } else { end.next_power_of_two() };
                // The highest value that a histogram of two significant digits does not tell from this power.
                out.push(((power + (power >> 7) - 1) / 1000, so_far));
                shown = so_far;
            }
        }
        out
    }

    /// The time that this share (0 to 100) of the calls did not exceed, microseconds.
    pub fn percentile(&self, percent: f64) -> f64 {
        let wanted = ((percent / 100.0 * self.calls as f64).ceil() as u64).max(1);
        let mut so_far = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            so_far += n;
            if so_far >= wanted {
                return (latency_bucket_end(i) - 1) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn show_help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    help(
        ctx.reply,
        "LATENCY",
        &[
            "DOCTOR",
            "    Explain the latency spikes seen so far.",
            "GRAPH <event>",
            "    Draw the samples of <event>.",
            "HISTORY <event>",
            "    List the samples of <event>: Unix time and milliseconds.",
            "LATEST",
            "    List the latest and the worst sample of each event.",
            "RESET [<event> ...]",
            "    Forget the samples of these events, or of all.",
            "HISTOGRAM [<command> ...]",
            "    How many calls of these commands, or of all, took up to how many microseconds.",
        ],
    );
    Ok(())
}
