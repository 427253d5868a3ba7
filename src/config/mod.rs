//! Configuration: redis.conf's grammar, the command line, CONFIG GET / SET / REWRITE, and the values that the server reads.
//!
//! One table (`table.rs`) says everything on each directive; nothing else lists them. A value is changed only through
//! `Config`, which keeps it valid, copies it to `base::Limits` where a hot path reads it, and tells whoever asked by
//! `on_change`; a change that anyone refuses is undone as a whole. Reading takes a lock for an instant: hot paths read
//! `Limits`. This folder knows no sockets, and never changes the process's working directory.
pub mod cli;
pub mod commands;
pub mod directive;
mod file;
mod rewrite;
pub mod special;
pub mod table;

use crate::base::glob::glob_match;
use crate::base::limits::Limits;
pub use cli::{Cli, parse_command_line};
use directive::{Directive, Effect, Value};
pub use file::LoadError;
use parking_lot::{Mutex, RwLock};
pub use rewrite::RewriteError;
pub use special::{Buffers, Limit, SavePoint};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use table::TABLE;

/// Called after a directive changed, outside all locks that reading takes. An error undoes the change, and its text is
/// in the reply. It must not set directives itself.
pub type Hook = Box<dyn Fn(&Config) -> Result<(), String> + Send + Sync>;

/// A server's configuration.
pub struct Config {
    limits: Arc<Limits>,
    defaults: Vec<Value>,
    /// A value a row of the table, in its order.
    values: RwLock<Vec<Value>>,
    extras: RwLock<Extras>,
    file: RwLock<Option<PathBuf>>,
    hooks: RwLock<Vec<(Vec<usize>, Arc<Hook>)>>,
    /// One change at a time, from parsing to the last hook.
    changing: Mutex<()>,
}

/// What only a file may say.
#[derive(Clone, Default, Debug)]
pub struct Extras {
    /// Command and new name; an empty one removes it.
    pub renamed_commands: Vec<(Vec<u8>, Vec<u8>)>,
    /// The arguments of each `user` line, `user` itself left out.
    pub users: Vec<Vec<Vec<u8>>>,
    /// The arguments of each `loadmodule` line.
    pub modules: Vec<Vec<Vec<u8>>>,
}

/// Who asks for a change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// The server is loading its data.
    pub loading: bool,
    /// The client is on this machine, for what is allowed locally.
    pub local: bool,
}

/// Why CONFIG SET refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    #[error("LOADING Redis is loading the dataset in memory")]
    Loading,
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Failed { name: String, reason: String },
}

impl Config {
    /// All defaults, which `limits` then has as well.
    pub fn defaults(limits: Arc<Limits>) -> Config {
        let defaults: Vec<Value> = TABLE.iter().map(Directive::default_value).collect();
        let config = Config {
            limits,
            values: RwLock::new(defaults.clone()),
            defaults,
            extras: RwLock::default(),
            file: RwLock::default(),
            hooks: RwLock::default(),
            changing: Mutex::new(()),
        };
        for row in 0..TABLE.len() {
            config.publish(row);
        }
        config
    }

    /// Where hot paths read the values.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// What CONFIG GET answers: each name that a pattern matches and its value. A name without glob characters also
    /// finds hidden directives, and is printed as it was asked for; no directive is answered twice under one name.
    pub fn get<P: AsRef<[u8]>>(&self, patterns: &[P]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let values = self.values.read();
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |name: &[u8], row: usize| {
            if !found.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
                found.push((name.to_vec(), TABLE[row].format(&values[row])));
            }
        };
        for pattern in patterns.iter().map(AsRef::as_ref) {
            if !pattern.iter().any(|b| b"[*?".contains(b)) {
                if let Some(row) = find(pattern) {
                    add(pattern, row);
                }
                continue;
            }
            for (row, directive) in TABLE.iter().enumerate().filter(|(_, d)| !d.hidden) {
                for name in [Some(directive.name), directive.alias].into_iter().flatten() {
                    if glob_match(pattern, name.as_bytes(), true) {
                        add(name.as_bytes(), row);
                    }
                }
            }
        }
        found
    }

    /// CONFIG SET by the server itself.
    pub fn set_many<N: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(N, V)]) -> Result<(), SetError> {
        self.set_many_as(pairs, Caller { loading: false, local: true })
    }

    /// CONFIG SET: all of the pairs or, with an error, none.
    pub fn set_many_as<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: &[(N, V)],
        caller: Caller,
    ) -> Result<(), SetError> {
        let _one_at_a_time = self.changing.lock();
        let names: Vec<&[u8]> = pairs.iter().map(|(name, _)| name.as_ref()).collect();
        let rows = self.admit(&names, caller)?;
        let before = self.values.read().clone();
        let mut after = before.clone();
        for (&row, (_, text)) in rows.iter().zip(pairs) {
            let parsed = TABLE[row].parse_set(text.as_ref(), &before[row]);
            after[row] = parsed.map_err(|reason| failed(TABLE[row].name, reason))?;
        }
        let changed: Vec<usize> = rows.into_iter().filter(|&row| before[row] != after[row]).collect();
        self.store(&after, &changed);
        let hooks = self.hooks_of(&changed);
        for (done, (row, hook)) in hooks.iter().enumerate() {
            if let Err(reason) = hook(self) {
                self.store(&before, &changed);
                for (_, hook) in &hooks[..=done] {
                    // The old settings worked until now; if they no longer do, there is nothing better to go back to.
                    let _ = hook(self);
                }
                return Err(failed(TABLE[*row].name, reason));
            }
        }
        Ok(())
    }

    /// Calls `hook` after every change of `name` by CONFIG SET.
    ///
    /// # Panics
    /// If there is no such directive, as do all that take a name from the code.
    pub fn on_change(&self, name: &str, hook: Hook) {
        self.on_change_of(&[name], hook);
    }

    /// Calls `hook` once after a CONFIG SET that changed any of `names`.
    pub fn on_change_of(&self, names: &[&str], hook: Hook) {
        let rows = names.iter().map(|name| row_of(name)).collect();
        self.hooks.write().push((rows, Arc::new(hook)));
    }

    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(v) => v,
            other => unreachable!("{name} is no yes or no but {other:?}"),
        }
    }

    /// A number, a set of flags or an enum's value.
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(v) => v,
            Value::Bool(v) => i64::from(v),
            other => unreachable!("{name} is no number but {other:?}"),
        }
    }

    /// Bytes; 0 where a percentage is set instead.
    pub fn mem(&self, name: &str) -> u64 {
        u64::try_from(self.int(name)).unwrap_or(0)
    }

    /// The value as CONFIG GET prints it; for enums their name.
    pub fn str(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.bytes(name)).into_owned()
    }

    /// The same where it need not be UTF-8, as passwords and paths.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let row = row_of(name);
        TABLE[row].format(&self.values.read()[row])
    }

    /// Text that may be unset.
    pub fn opt_str(&self, name: &str) -> Option<String> {
        Some(self.str(name)).filter(|v| !v.is_empty())
    }

    /// The arguments of a directive that takes several.
    pub fn words(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::Words(words) => words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect(),
            other => unreachable!("{name} is no list but {other:?}"),
        }
    }

    pub fn save_points(&self) -> Vec<SavePoint> {
        match self.value("save") {
            Value::Save(points) => points,
            other => unreachable!("save is {other:?}"),
        }
    }

    /// Of normal clients, replicas and subscribers.
    pub fn client_output_buffer_limits(&self) -> Buffers {
        match self.value("client-output-buffer-limit") {
            Value::Buffers(limits) => limits,
            other => unreachable!("client-output-buffer-limit is {other:?}"),
        }
    }

    /// The addresses to listen on; a leading '-' allows one to be unavailable.
    pub fn bind(&self) -> Vec<String> {
        self.words("bind")
    }

    /// Host and port of the primary.
    pub fn replicaof(&self) -> Option<(String, u16)> {
        match self.words("replicaof").as_slice() {
            [host, port] => Some((host.clone(), port.parse().ok()?)),
            _ => None,
        }
    }

    pub fn latency_percentiles(&self) -> Vec<f64> {
        self.words("latency-tracking-info-percentiles").iter().filter_map(|w| w.parse().ok()).collect()
    }

    /// What only the file may say: renamed commands, users, modules.
    pub fn extras(&self) -> Extras {
        self.extras.read().clone()
    }

    /// REPLICAOF changes what the directive says; it is no CONFIG SET, which refuses.
    pub fn set_replicaof(&self, primary: Option<(&str, u16)>) {
        let words = primary.map(|(host, port)| vec![host.into(), port.to_string().into()]);
        self.values.write()[row_of("replicaof")] = Value::Words(words.unwrap_or_default());
    }

    /// The port that was listened on where the file said 0 and CONFIG GET should tell.
    pub fn set_listening_port(&self, name: &str, port: u16) {
        self.values.write()[row_of(name)] = Value::Int(i64::from(port));
    }

    /// Directives that are set to something but mean nothing here, for one line in the log.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let values = self.values.read();
        let rows = TABLE.iter().zip(values.iter().zip(&self.defaults));
        rows.filter(|(d, (v, default))| d.effect == Effect::None && v != default)
            .map(|(d, _)| d.name)
            .collect()
    }

    /// Checks names and permissions, as the errors' precedence demands: loading first, then the first fault.
    fn admit(&self, names: &[&[u8]], caller: Caller) -> Result<Vec<usize>, SetError> {
        let mut rows = Vec::new();
        for &name in names {
            let text = || String::from_utf8_lossy(name).into_owned();
            let row = find(name).ok_or_else(|| SetError::Unknown(text()))?;
            let directive = &TABLE[row];
            let refused = if directive.immutable {
                "can't set immutable config"
            } else if directive.protected && !self.allows("enable-protected-configs", caller.local) {
                "can't set protected config"
            } else if caller.loading && directive.deny_loading {
                return Err(SetError::Loading);
            } else if rows.contains(&row) {
                "duplicate parameter"
            } else {
                rows.push(row);
                continue;
            };
            return Err(SetError::Failed { name: text(), reason: refused.into() });
        }
        Ok(rows)
    }

    /// Whether a directive of `no`, `yes` and `local` allows its action.
    pub fn allows(&self, name: &str, local: bool) -> bool {
        match self.int(name) {
            0 => false,
            1 => true,
            _ => local,
        }
    }

    fn value(&self, name: &str) -> Value {
        self.values.read()[row_of(name)].clone()
    }

    fn store(&self, from: &[Value], changed: &[usize]) {
        for &row in changed {
            self.values.write()[row].clone_from(&from[row]);
            self.publish(row);
        }
    }

    /// Copies a value to where hot paths read it.
    fn publish(&self, row: usize) {
        let value = match &self.values.read()[row] {
            Value::Int(v) => *v,
            Value::Bool(v) => i64::from(*v),
            _ => return,
        };
        if let Some(bind) = TABLE[row].bind {
            bind(&self.limits, value);
        }
    }

    /// Each hook of these rows once, with the first of them.
    fn hooks_of(&self, changed: &[usize]) -> Vec<(usize, Arc<Hook>)> {
        let hooks = self.hooks.read();
        let first = |rows: &[usize]| changed.iter().copied().find(|row| rows.contains(row));
        hooks.iter().filter_map(|(rows, hook)| Some((first(rows)?, Arc::clone(hook)))).collect()
    }
}

/// Whether a directive's value must not appear in logs; `name` as a client sent it.
pub fn is_sensitive(name: &[u8]) -> bool {
    find(name).is_some_and(|row| TABLE[row].sensitive)
}

/// The row of a name or alias in any case.
fn find(name: &[u8]) -> Option<usize> {
    static ROWS: OnceLock<HashMap<&'static [u8], usize>> = OnceLock::new();
    let rows = ROWS.get_or_init(|| {
        let names = |d: &'static Directive| [Some(d.name), d.alias].into_iter().flatten();
        let rows = TABLE.iter().enumerate();
        rows.flat_map(|(row, d)| names(d).map(move |name| (name.as_bytes(), row))).collect()
    });
    rows.get(name.to_ascii_lowercase().as_slice()).copied()
}

fn row_of(name: &str) -> usize {
    find(name.as_bytes()).unwrap_or_else(|| panic!("no directive '{name}'"))
}

fn failed(name: &str, reason: String) -> SetError {
    SetError::Failed { name: name.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    pub(super) fn config() -> Config {
        Config::defaults(Arc::new(Limits::new()))
    }

    pub(super) fn get(c: &Config, name: &str) -> String {
        let found = c.get(&[name]);
        String::from_utf8_lossy(&found[0].1).into_owned()
    }

    pub(super) fn all(c: &Config) -> Vec<(Vec<u8>, Vec<u8>)> {
        c.get(&["*"])
    }

    /// A directory that goes with its test.
    pub(super) struct TempDir(PathBuf);

    impl TempDir {
        pub(super) fn new() -> TempDir {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("tidewater-config-{}-{n}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            TempDir(path.canonicalize().unwrap())
        }

        pub(super) fn path(&self) -> &Path {
            &self.0
        }

        pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn set(c: &Config, pairs: &[(&str, &str)]) -> Result<(), String> {
        c.set_many(pairs).map_err(|e| e.to_string())
    }

    /// `CONFIG GET *` of a Redis 7.0.15 that was started with no arguments, less `port` and `dir`.
    const ORACLE: &str = include_str!("oracle_defaults.tsv");

    #[test]
    fn defaults_are_those_of_redis() {
        const DIFFERENT: &[(&str, &str, &str)] = &[];
        let c = config();
        let mut checked = 0;
        for line in ORACLE.lines() {
            let (name, want) = line.split_once('\t').unwrap();
            let found = c.get(&[name]);
            let got = found.first().map(|(_, v)| String::from_utf8_lossy(v).into_owned());
            let intended = DIFFERENT.iter().find(|(n, _, _)| *n == name).map(|(_, ours, _)| *ours);
            assert_eq!(got.as_deref(), Some(intended.unwrap_or(want)), "{name}");
            checked += 1;
        }
        assert_eq!(checked, 190);
    }

    #[test]
    fn names_are_unique() {
        let names: Vec<&str> = TABLE.iter().flat_map(|d| [Some(d.name), d.alias]).flatten().collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        assert!(names.iter().all(|n| *n == n.to_ascii_lowercase()));
    }

    #[test]
    fn defaults_reach_the_limits() {
        let limits = Arc::new(Limits::new());
        let c = Config::defaults(Arc::clone(&limits));
        assert_eq!(limits.hash_max_listpack_entries.get(), 512);
        set(&c, &[("hash-max-ziplist-entries", "7"), ("maxmemory-policy", "ALLKEYS-LFU")]).unwrap();
        assert_eq!(limits.hash_max_listpack_entries.get(), 7);
        assert_eq!(limits.policy().name(), "allkeys-lfu");
        set(&c, &[("notify-keyspace-events", "KEx"), ("lazyfree-lazy-expire", "YES")]).unwrap();
        assert_eq!(limits.notify_flags.get(), 0b1_0000_0011);
        assert!(limits.lazyfree_lazy_expire.get());
    }

    #[test]
    fn every_value_sets_itself() {
        let c = config();
        for d in TABLE.iter().filter(|d| !d.immutable && !d.protected) {
            let before = get(&c, d.name);
            set(&c, &[(d.name, &before)]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(get(&c, d.name), before);
        }
    }

    #[test]
    fn get_by_name_alias_and_pattern() {
        let c = config();
        let names = |patterns: &[&str]| -> Vec<String> {
            c.get(patterns).into_iter().map(|(n, _)| String::from_utf8(n).unwrap()).collect()
        };
        assert_eq!(names(&["MaxMemory", "maxmemory"]), ["MaxMemory"]);
        assert_eq!(names(&["save", "SAVE", "s?ve"]), ["save"]);
        assert_eq!(names(&["slave-priority"]), ["slave-priority"]);
        assert_eq!(names(&["HASH-max-zip*"]), ["hash-max-ziplist-entries", "hash-max-ziplist-value"]);
        assert_eq!(names(&["rdb-key-save-delay"]).len(), 1);
        assert!(names(&["rdb-key-save-*", "nothing", "nothing*"]).is_empty());
    }

    #[test]
    fn set_and_get_print_as_redis() {
        let c = config();
        for (name, value, printed) in [
            ("maxmemory", "1gb", "1073741824"),
            ("hash-max-listpack-value", "1k", "1000"),
            ("maxmemory-clients", "50%", "50%"),
            ("hz", "1000", "500"),
            ("notify-keyspace-events", "KEg$lshzxetdmn", "AKEm"),
            ("notify-keyspace-events", "Kmn", "nKm"),
            ("notify-keyspace-events", "tlx$", "$lxt"),
            ("shutdown-on-sigint", "now save force", "save now force"),
            ("latency-tracking-info-percentiles", "3 99.99 99.9999", "3 99.99 99.9999"),
            ("latency-tracking-info-percentiles", "", ""),
            ("oom-score-adj", "relative", "yes"),
            ("oom-score-adj-values", "3 2 +1", "3 2 1"),
            ("save", "1 2 3 4", "1 2 3 4"),
            ("save", "", ""),
            (
                "client-output-buffer-limit",
                "slave 1mb 0 0",
                "normal 0 0 0 slave 1048576 0 0 pubsub 33554432 8388608 60",
            ),
            ("bind", "127.0.0.1 -::1", "127.0.0.1 -::1"),
            ("bind", "", ""),
        ] {
            set(&c, &[(name, value)]).unwrap();
            assert_eq!(get(&c, name), printed, "{name} {value}");
        }
    }

    #[test]
    fn refusals_are_the_texts_of_redis() {
        let c = config();
        for (name, value, reason) in [
            ("port", "1x", "argument couldn't be parsed into an integer"),
            ("port", "99999", "argument must be between 0 and 65535 inclusive"),
            ("databases", "9", "can't set immutable config"),
            ("dir", "/tmp", "can't set protected config"),
            ("save", "1 2 3", "Invalid save parameters"),
            ("save", "a b", "Invalid save parameters"),
            ("save", "1  2", "Invalid save parameters"),
            ("client-output-buffer-limit", "a b", "Wrong number of arguments in buffer limit configuration."),
            (
                "client-output-buffer-limit",
                "foo 1 1 2",
                "Invalid client class specified in buffer limit configuration.",
            ),
            (
                "client-output-buffer-limit",
                "normal 1 -1 2",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
            ("maxmemory", "-1", "argument must be a memory value"),
            ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
            ("maxmemory-clients", "-1", "argument must be a memory or percent value"),
            ("appendonly", "x", "argument must be 'yes' or 'no'"),
            ("appendfsync", "x", "argument(s) must be one of the following: everysec, always, no"),
            ("notify-keyspace-events", "KEAy", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
            (
                "shutdown-on-sigint",
                "save nosave",
                "shutdown options SAVE and NOSAVE can't be used simultaneously",
            ),
            ("oom-score-adj-values", "1 2", "wrong number of arguments"),
            (
                "oom-score-adj-values",
                "1 2 9999",
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
            ),
            (
                "latency-tracking-info-percentiles",
                "3 101",
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
            (
                "latency-tracking-info-percentiles",
                "x",
                "Invalid latency-tracking-info-percentiles parameters",
            ),
            ("proc-title-template", "{x}", "template format is invalid or contains unknown variables"),
            (
                "active-defrag-max-scan-fields",
                "0",
                "argument must be between 1 and 9223372036854775807 inclusive",
            ),
            (
                "cluster-announce-hostname",
                "a_b",
                "Hostnames may only contain alphanumeric characters, hyphens or dots",
            ),
            ("tcp-keepalive", " 1", "argument couldn't be parsed into an integer"),
        ] {
            let want = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}");
            assert_eq!(set(&c, &[(name, value)]), Err(want));
        }
        assert_eq!(
            set(&c, &[("foo", "9")]).unwrap_err(),
            "ERR Unknown option or number of arguments for CONFIG SET - 'foo'"
        );
        assert_eq!(
            set(&c, &[("slave-priority", "1"), ("replica-priority", "2")]).unwrap_err(),
            "ERR CONFIG SET failed (possibly related to argument 'replica-priority') - duplicate parameter"
        );
        assert_eq!(all(&c), all(&config()));
    }

    #[test]
    fn what_needs_permission() {
        let c = config();
        let remote = Caller { loading: false, local: false };
        let loading = Caller { loading: true, local: true };
        assert!(c.set_many_as(&[("dbfilename", "x")], loading).is_err());
        assert_eq!(c.set_many_as(&[("appendonly", "yes")], loading), Err(SetError::Loading));
        c.load_lines("test", b"enable-protected-configs local").unwrap();
        assert!(c.set_many_as(&[("dbfilename", "x")], remote).is_err());
        c.set_many(&[("dbfilename", "x")]).unwrap();
        assert!(is_sensitive(b"RequirePass") && is_sensitive(b"masterauth") && !is_sensitive(b"port"));
    }

    #[test]
    fn one_refusal_undoes_all() {
        let limits = Arc::new(Limits::new());
        let c = Config::defaults(Arc::clone(&limits));
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&calls);
        c.on_change_of(
            &["timeout", "hz"],
            Box::new(move |c| {
                seen.fetch_add(usize::try_from(c.int("hz")).unwrap(), Ordering::Relaxed);
                Ok(())
            }),
        );
        c.on_change(
            "port",
            Box::new(|c| if c.int("port") == 1 { Err("no such port".into()) } else { Ok(()) }),
        );
        set(&c, &[("hz", "20"), ("timeout", "5")]).unwrap();
        assert_eq!(calls.swap(0, Ordering::Relaxed), 20, "once for both");
        set(&c, &[("hz", "20")]).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 0, "nothing changed");
        let e = set(&c, &[("hz", "30"), ("maxmemory", "1"), ("port", "1")]).unwrap_err();
        assert_eq!(e, "ERR CONFIG SET failed (possibly related to argument 'port') - no such port");
        assert_eq!(calls.load(Ordering::Relaxed), 50, "told of the change and of its end");
        assert_eq!(
            (c.int("hz"), c.mem("maxmemory"), c.int("port"), limits.maxmemory.get()),
            (20, 0, 6379, 0)
        );
        assert!(set(&c, &[("hz", "40"), ("port", "x")]).is_err());
        assert_eq!((c.int("hz"), limits.hz.get()), (20, 20));
    }

    #[test]
    fn accessors() {
        let c = config();
        c.load_lines("t", b"replicaof h 1\nbind a -b\nactivedefrag yes\nio-threads 4\nshards 8").unwrap();
        assert_eq!(c.replicaof(), Some(("h".into(), 1)));
        assert_eq!(c.bind(), ["a", "-b"]);
        assert_eq!(c.without_effect(), ["io-threads", "activedefrag"]);
        assert_eq!(c.latency_percentiles(), [50.0, 99.0, 99.9]);
        assert_eq!((c.str("loglevel"), c.opt_str("unixsocket")), ("notice".into(), None));
        c.set_replicaof(None);
        assert_eq!((c.replicaof(), get(&c, "slaveof")), (None, String::new()));
        assert!(c.load_lines("t", b"shards 3").is_err());
    }

    #[test]
    fn the_annotated_file_changes_nothing() {
        let c = config();
        c.load_lines("tidewater.conf", include_bytes!("../../conf/tidewater.conf")).unwrap();
        assert_eq!(all(&c), all(&config()));
        // What it shows as `#name value` must be good as well, once its files exist.
        let shown = include_str!("../../conf/tidewater.conf").lines().filter_map(|l| l.strip_prefix('#'));
        for shown in shown.filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase())) {
            if !shown.starts_with("include") && !shown.starts_with("dir ") {
                config().load_lines("shown", shown.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
}
