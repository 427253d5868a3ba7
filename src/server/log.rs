//! The log in Redis's line format, as a `tracing` subscriber: `PID:ROLE 21 Nov 2026 01:02:03.456 * message`.
//!
//! Levels: `debug` is tracing's TRACE, `verbose` its DEBUG, `notice` INFO, `warning` WARN and ERROR. The file is opened
//! for each line, so that it may be moved away at any time; a line is one write.
#![allow(unsafe_code)]
use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The `loglevel` directive's values, as the configuration numbers them.
static LEVEL: AtomicU8 = AtomicU8::new(2);

/// A line is cut here.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Where the log goes.
pub enum Output {
    Stdout,
    Stderr,
    File(PathBuf),
}

/// Sends this process's log to `output`. Only the first call has an effect.
pub fn install(output: Output) {
    let subscriber = tracing_subscriber::registry().with(RedisLog { output });
    // A second server in the process logs to the first one's subscriber, or to what the embedder installed.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Sets the level: 0 debug, 1 verbose, 2 notice, 3 warning, 4 nothing.
pub fn set_level(level: i64) {
    LEVEL.store(u8::try_from(level).unwrap_or(2), Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

fn rank(level: &Level) -> u8 {
    match *level {
        Level::TRACE => 0,
        Level::DEBUG => 1,
        Level::INFO => 2,
        Level::WARN | Level::ERROR => 3,
    }
}

struct RedisLog {
    output: Output,
}

impl<S: Subscriber> Layer<S> for RedisLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("tidewater") && rank(metadata.level()) >= LEVEL.load(Ordering::Relaxed)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let text = line(SystemTime::now(), rank(event.metadata().level()), &message.0);
        // Nobody is left to tell when the log cannot be written.
        let _ = match &self.output {
            Output::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
            Output::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
            Output::File(path) => OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(|mut f| f.write_all(text.as_bytes())),
        };
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

fn line(at: SystemTime, rank: u8, message: &str) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mark = ['.', '-', '*', '#'][usize::from(rank.min(3))];
    let mut cut = message.len().min(LINE_BYTES_MAX);
    while !message.is_char_boundary(cut) {
        cut -= 1;
    }
    format!(
        "{}:M {}.{:03} {mark} {}\n",
        std::process::id(),
        local_time(since.as_secs() as i64),
        since.subsec_millis(),
        &message[..cut]
    )
}

/// `21 Nov 2026 01:02:03` where this machine is.
fn local_time(unix_s: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // SAFETY: `tm` is plain data, for which all zeroes are valid.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    let time = unix_s as libc::time_t;
    // SAFETY: both point to live values of their types; the call keeps neither.
    #[cfg(unix)]
    unsafe {
        libc::localtime_r(&time, &mut tm)
    };
    // SAFETY: as above.
    #[cfg(windows)]
    unsafe {
        libc::localtime_s(&mut tm, &time)
    };
    format!(
        "{:02} {} {} {:02}:{:02}:{:02}",
        tm.tm_mday,
        MONTHS.get(tm.tm_mon as usize).unwrap_or(&"???"),
        1900 + tm.tm_year,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_line_is_as_redis_writes_it() {
        let at = UNIX_EPOCH + Duration::from_millis(1_763_686_923_056);
        let text = line(at, 2, "Ready");
        let (pid, rest) = text.split_once(":M ").unwrap();
        assert_eq!(pid, std::process::id().to_string());
        // The day and the hour depend on where this runs.
        assert!(rest.contains(" Nov 2025 ") && rest.ends_with(":03.056 * Ready\n"), "{rest}");
        assert!(line(at, 3, "x").ends_with(" # x\n"));
        assert!(line(at, 0, "x").ends_with(" . x\n"));
        assert!(line(at, 1, &"ä".repeat(LINE_BYTES_MAX)).len() < LINE_BYTES_MAX + 64);
    }
}
