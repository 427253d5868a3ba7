//! Rates for INFO: the cron notes how far the counters have come, and a rate is the average over the last 1.6 seconds.
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::command::env::Env;

/// Samples kept, and how far apart they are taken.
const SAMPLES: usize = 16;
const PERIOD_MS: u64 = 100;

/// What is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rate {
    Commands,
    NetIn,
    NetOut,
    CronRounds,
}

const RATES: usize = 4;

#[derive(Default)]
struct Samples {
    last_ms: u64,
    last: [u64; RATES],
    /// Per second.
    ring: [[u64; SAMPLES]; RATES],
    at: usize,
}

/// The rates, and figures that only the cron can know.
#[derive(Default)]
pub struct Meter {
    samples: Mutex<Samples>,
    rounds: AtomicU64,
    /// `used_memory` when the server had just been built.
    pub startup_bytes: AtomicUsize,
    /// Largest query and output buffers seen lately.
    pub input_buffer_max: AtomicUsize,
    pub output_buffer_max: AtomicUsize,
    /// DEBUG PAUSE-CRON.
    pub cron_paused: AtomicBool,
}

impl Meter {
    /// One round of the cron.
    pub fn tick(&self, env: &Env) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let now = env.clock.now_ms();
        let mut s = self.samples.lock();
        let elapsed = now.saturating_sub(s.last_ms);
        if elapsed < PERIOD_MS {
            return;
        }
        let counters = [
            env.stats.sum(|w| &w.processed),
            env.stats.sum(|w| &w.net_in),
            env.stats.sum(|w| &w.net_out),
            self.rounds.load(Ordering::Relaxed),
        ];
        let first = s.last_ms == 0;
        let at = s.at;
        for (i, &counter) in counters.iter().enumerate() {
            // Below the last one after CONFIG RESETSTAT.
            let grown = counter.saturating_sub(s.last[i]);
            s.ring[i][at] = if first { 0 } else { grown * 1000 / elapsed };
            s.last[i] = counter;
        }
        s.at = (at + 1) % SAMPLES;
        s.last_ms = now;
        drop(s);
        if at == 0 {
            self.note_buffers(env);
        }
    }

    /// A look at the clients' buffers; their peak fades over some seconds. Once in `SAMPLES` rounds, as it visits every
    /// client.
    fn note_buffers(&self, env: &Env) {
        let (mut input, mut output) = (0, 0);
        for client in env.clients.list() {
            input = input.max(client.query_capacity.load(Ordering::Relaxed));
            output = output.max(client.output_bytes.load(Ordering::Relaxed) + client.mail_bytes());
        }
        for (peak, now) in [(&self.input_buffer_max, input), (&self.output_buffer_max, output)] {
            let faded = peak.load(Ordering::Relaxed) * 7 / 8;
            peak.store(faded.max(now), Ordering::Relaxed);
        }
    }

    /// Per second.
    pub fn rate(&self, rate: Rate) -> u64 {
        let s = self.samples.lock();
        s.ring[rate as usize].iter().sum::<u64>() / SAMPLES as u64
    }
}
