//! The latency monitor: for each kind of event, the moments at which it took longer than `latency-monitor-threshold`.
//! Bounded: a fixed number of samples an event, and the events are named by the server itself.
use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use crate::command::env::Env;

/// Samples kept an event.
const SAMPLES_MAX: usize = 160;

/// The worst latency within one second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Unix time.
    pub time_s: u64,
    pub ms: u64,
}

/// What is known of one kind of event.
#[derive(Clone, Default, Debug)]
pub struct Event {
    /// Oldest first.
    pub samples: VecDeque<Sample>,
    /// The worst since the last reset, milliseconds.
    pub max_ms: u64,
}

/// Events by name.
#[derive(Default)]
pub struct LatencyMonitor(Mutex<BTreeMap<&'static str, Event>>);

impl LatencyMonitor {
    /// Notes that `event` took `ms`; the caller has compared that with the threshold.
    pub fn add(&self, event: &'static str, time_s: u64, ms: u64) {
        let mut events = self.0.lock();
        let event = events.entry(event).or_default();
        event.max_ms = event.max_ms.max(ms);
        if let Some(last) = event.samples.back_mut()
            && last.time_s == time_s
        {
            last.ms = last.ms.max(ms);
            return;
        }
        if event.samples.len() == SAMPLES_MAX {
            event.samples.pop_front();
        }
        event.samples.push_back(Sample { time_s, ms });
    }

    pub fn get(&self, event: &[u8]) -> Option<Event> {
        let name = std::str::from_utf8(event).ok()?;
        self.0.lock().get(name).cloned()
    }

    /// Every event with its name.
    pub fn all(&self) -> Vec<(&'static str, Event)> {
        self.0.lock().iter().map(|(name, event)| (*name, event.clone())).collect()
    }

    /// Forgets these events, or with none named every one; tells how many there were.
    pub fn reset(&self, names: &[&[u8]]) -> usize {
        let mut events = self.0.lock();
        if names.is_empty() {
            let n = events.len();
            events.clear();
            return n;
        }
        let names = names.iter().filter_map(|n| std::str::from_utf8(n).ok());
        names.filter(|n| events.remove(*n).is_some()).count()
    }
}

/// Notes an event of the server's own if it took longer than the threshold.
pub fn note(env: &Env, event: &'static str, nanos: u64) {
    let (threshold, ms) = (env.limits.latency_monitor_threshold.get(), nanos / 1_000_000);
    if threshold > 0 && ms >= threshold {
        env.service::<LatencyMonitor>().add(event, env.clock.now_ms() / 1000, ms);
    }
}

/// An event's samples in a few figures, for LATENCY DOCTOR.
#[derive(Default, Debug, PartialEq)]
pub struct Summary {
    pub samples: usize,
    pub min_ms: u64,
    pub max_ms: u64,
    pub average_ms: f64,
    pub deviation_ms: f64,
    /// Seconds between two samples, on average.
    pub period_s: f64,
}

impl Event {
    pub fn summary(&self) -> Summary {
        let n = self.samples.len();
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return Summary::default();
        };
        let all = || self.samples.iter().map(|s| s.ms);
        let average = all().sum::<u64>() as f64 / n as f64;
        Summary {
            samples: n,
            min_ms: all().min().unwrap_or(0),
            max_ms: all().max().unwrap_or(0),
            average_ms: average,
            deviation_ms: all().map(|ms| (ms as f64 - average).abs()).sum::<f64>() / n as f64,
            period_s: last.time_s.saturating_sub(first.time_s) as f64 / (n - 1).max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_keeps_its_worst() {
        let m = LatencyMonitor::default();
        for (t, ms) in [(10, 5), (10, 9), (10, 2), (12, 4)] {
            m.add("command", t, ms);
        }
        let e = m.get(b"command").unwrap();
        assert_eq!(e.samples, [Sample { time_s: 10, ms: 9 }, Sample { time_s: 12, ms: 4 }]);
        assert_eq!(e.max_ms, 9);
        let s = e.summary();
        assert_eq!((s.samples, s.min_ms, s.max_ms, s.average_ms, s.period_s), (2, 4, 9, 6.5, 2.0));
        assert_eq!(m.reset(&[b"fork"]), 0);
        assert_eq!(m.reset(&[]), 1);
        assert!(m.all().is_empty());
    }

    #[test]
    fn samples_are_bounded() {
        let m = LatencyMonitor::default();
        (0..1000).for_each(|t| m.add("command", t, 1));
        let e = m.get(b"command").unwrap();
        assert_eq!((e.samples.len(), e.samples[0].time_s), (SAMPLES_MAX, 840));
    }
}
