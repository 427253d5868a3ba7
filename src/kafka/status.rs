//! What is to be seen of a running pipeline: INFO, KAFKA INFO, LAG and ERRORS read this, its thread writes it.
use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// What a pipeline is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Finding its topic and positions.
    #[default]
    Starting,
    Running,
    /// Stands still until KAFKA RESUME.
    Paused,
    /// Held up by something on this side: no memory, CLIENT PAUSE, a full disk. Goes on by itself.
    Waiting,
    /// Held up by the brokers. Goes on by itself.
    Retrying,
    Stopped,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Paused => "paused",
            State::Waiting => "waiting",
            State::Retrying => "retrying",
            State::Stopped => "stopped",
        }
    }
}

/// One partition; offsets are of the next record, -1 where unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    pub applied: i64,
    pub end: i64,
    /// As far as the append-only file is synced; -1 without one.
    pub durable: i64,
    /// Of the last record applied, Unix milliseconds.
    pub timestamp: i64,
}

impl Partition {
    pub fn at(offset: i64) -> Self {
        Partition { applied: offset, end: -1, durable: -1, timestamp: -1 }
    }

    pub fn lag(&self) -> i64 {
        (self.end - self.applied).max(0)
    }

    /// Age of the last record applied while there are more to come, 0 when there are none.
    pub fn lag_ms(&self, now_ms: u64) -> i64 {
        match self.lag() {
            0 => 0,
            _ if self.timestamp < 0 => 0,
            _ => (now_ms as i64 - self.timestamp).max(0),
        }
    }
}

/// Why a record was not applied, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It does not fit the templates: no JSON, a path that is missing.
    Record,
    /// A command refused it: WRONGTYPE, not an integer.
    Command,
    /// The brokers.
    Broker,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Class::Record => "record",
            Class::Command => "command",
            Class::Broker => "broker",
        }
    }
}

/// A record that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    pub at_ms: u64,
    pub class: Class,
    pub partition: i32,
    pub offset: i64,
    pub text: String,
}

/// The failures that KAFKA ERRORS can show.
const FAILURES_MAX: usize = 128;

/// The figures of a pipeline.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub state: State,
    pub reason: String,
    pub since_ms: u64,
    pub partitions: BTreeMap<i32, Partition>,
    pub records: u64,
    pub commands: u64,
    pub filtered: u64,
    pub tombstones: u64,
    pub skipped: u64,
    pub dead: u64,
    /// Dead letters that KAFKA RETRY applied.
    pub retried: u64,
    pub steps: u64,
    pub buffered: u64,
    /// Records a second, over about the last one.
    pub rate: u64,
    pub errors: BTreeMap<Class, u64>,
    pub failures: VecDeque<Failure>,
}

#[derive(Debug, Default)]
pub struct Status(Mutex<Figures>);

impl Status {
    pub fn with<R>(&self, f: impl FnOnce(&mut Figures) -> R) -> R {
        f(&mut self.0.lock())
    }

    pub fn figures(&self) -> Figures {
        self.0.lock().clone()
    }

    /// Enters a state; one log line a change.
    pub fn enter(&self, name: &str, state: State, reason: &str, now_ms: u64) {
        let mut figures = self.0.lock();
        if figures.state == state && figures.reason == reason {
            return;
        }
        let again = figures.state == state && state == State::Retrying;
        (figures.state, figures.reason) = (state, reason.to_owned());
        figures.since_ms = now_ms;
        drop(figures);
        match state {
            // Brokers word the same trouble in many ways.
            _ if again => tracing::debug!("kafka: pipeline {name}: {}: {reason}", state.name()),
            State::Running | State::Starting | State::Stopped => {
                tracing::info!("kafka: pipeline {name}: {}", state.name());
            }
            _ => tracing::warn!("kafka: pipeline {name}: {}: {reason}", state.name()),
        }
    }

    pub fn fail(&self, failure: Failure) {
        let mut figures = self.0.lock();
        *figures.errors.entry(failure.class).or_default() += 1;
        if figures.failures.len() == FAILURES_MAX {
            figures.failures.pop_front();
        }
        figures.failures.push_back(failure);
    }
}
