//! INFO: the server's figures, under Redis 7.2's names.
use std::collections::HashSet;
use std::fmt::{Arguments, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::latency::Histogram;
use super::server::ReplicationId;
use crate::base::alloc;
use crate::command::client::{Client, flag};
use crate::command::env::{Env, REDIS_VERSION};
use crate::command::row::Locks;
use crate::command::stats::{Counter, WorkerStats};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::config::Config;
use crate::pubsub::{Kind, PubSub};
use crate::resp::args::Args;
use crate::server::meter::{Meter, Rate};
use crate::server::migrate::Links;
use crate::server::persist::{Kind as Job, Persistence};
use crate::server::process::{self, Cpu, Whose};

pub fn commands() -> Vec<Command> {
    vec![
        Command::new("info", Arity::at_least(1), info)
            .group(Group::Server)
            .loading()
            .stale()
            .sentinel()
            .categories(&["dangerous"])
            .locks(Locks::Walk)
            .since("1.0.0")
            .doc("Answers figures on the server, by section.")
            .complexity("O(N) with N the number of shards and clients"),
    ]
}

type Section = fn(&Facts<'_>, &mut Text);

/// The sections in the order in which they are printed, and whether they come by default.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("server", true, server),
    ("clients", true, clients),
    ("memory", true, memory),
    ("persistence", true, persistence),
    ("stats", true, stats),
    ("replication", true, replication),
    ("cpu", true, cpu),
    ("modules", true, modules),
    ("commandstats", false, commandstats),
    ("errorstats", true, errorstats),
    ("latencystats", false, latencystats),
    ("cluster", true, cluster),
    ("keyspace", true, keyspace),
];

fn info(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let asked = |name: &str| args.from(1).iter().any(|a| a.eq_ignore_ascii_case(name.as_bytes()));
    let all = asked("all") || asked("everything");
    let default = args.len() == 1 || asked("default");
    let wanted =
        |&(name, by_default, _): &(&str, bool, Section)| all || (default && by_default) || asked(name);
    let sections: Vec<_> = SECTIONS.iter().copied().filter(wanted).collect();
    let walks = sections.iter().any(|(name, ..)| matches!(*name, "memory" | "keyspace"));
    let dbs = if walks { DbFacts::gather(ctx)? } else { Vec::new() };
    let facts = Facts::new(ctx.env, ctx.now(), dbs);
    let mut text = Text(String::with_capacity(8 << 10));
    for (name, _, write) in sections {
        if !text.0.is_empty() {
            text.0.push_str("\r\n");
        }
        let mut title = name.to_owned();
        title[..1].make_ascii_uppercase();
        if name == "cpu" {
            title.make_ascii_uppercase();
        }
        let _ = write!(text.0, "# {title}\r\n");
        write(&facts, &mut text);
    }
    if let Some((name, write)) = ctx.env.more_info.get()
        && (all || default || asked(name))
    {
        let mut title = (*name).to_owned();
        title[..1].make_ascii_uppercase();
        let gap = if text.0.is_empty() { "" } else { "\r\n" };
        let _ = write!(text.0, "{gap}# {title}\r\n{}", write());
    }
    ctx.reply.verbatim("txt", text.0.as_bytes());
    Ok(())
}

/// `name:value` lines.
struct Text(String);

impl Text {
    fn line(&mut self, name: &str, value: Arguments<'_>) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(name, format_args!("{value}"));
    }

    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.put(name, 0));
    }

    /// A number of bytes, as it is and for people.
    fn bytes(&mut self, name: &str, bytes: usize) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), human(bytes));
    }
}

/// Bytes in the largest unit that fits: `1.50M`.
pub fn human(bytes: usize) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes}B") } else { format!("{value:.2}{unit}") }
}

/// One database.
#[derive(Clone, Copy, Default, Debug)]
pub struct DbFacts {
    pub keys: usize,
    pub expires: usize,
    /// Hashes with fields that expire.
    pub field_expires: usize,
    /// Bytes of tables and indexes, without the keys and values.
    pub overhead: usize,
    ttl_sum_ms: u64,
    ttl_samples: u64,
}

/// Samples of the average TTL, a database.
const TTL_SAMPLES_MAX: u64 = 64;

impl DbFacts {
    /// Every database, a shard at a time.
    pub fn gather(ctx: &mut Context<'_>) -> Result<Vec<DbFacts>, CommandError> {
        let env = ctx.env;
        let now = ctx.now();
        let mut all = vec![DbFacts::default(); env.keyspace.databases()];
        for shard in 0..env.keyspace.shards() as u32 {
            ctx.keys.walk_databases(shard, |i, part| {
                let Some(db) = all.get_mut(i) else { return };
                let volatile = part.volatile_len();
                db.keys += part.len();
                db.expires += volatile;
                db.field_expires += part.field_volatile_len();
                db.overhead += part.overhead_bytes();
                if volatile > 0 && db.ttl_samples < TTL_SAMPLES_MAX {
                    // The heap's order says nothing beyond its first places, so any place is as good as a random one.
                    let key = part.volatile_key(shard.wrapping_mul(0x9e37_79b9) as usize % volatile);
                    let cell = key.and_then(|key| part.get(env.keyspace.hash(key), key));
                    if let Some(at) = cell.and_then(|c| c.expire_ms()) {
                        db.ttl_sum_ms += at.saturating_sub(now);
                        db.ttl_samples += 1;
                    }
                }
            })?;
        }
        Ok(all)
    }

    fn average_ttl_ms(&self) -> u64 {
        self.ttl_sum_ms.checked_div(self.ttl_samples).unwrap_or(0)
    }
}

/// What memory is used for, bytes.
pub struct MemoryFacts {
    pub used: usize,
    pub peak: usize,
    pub resident: usize,
    pub startup: usize,
    pub clients: usize,
    pub overhead: usize,
    pub dataset: usize,
}

impl MemoryFacts {
    pub fn new(env: &Env, dbs: &[DbFacts]) -> Self {
        let resident = process::resident_bytes();
        // Embedded without our allocator around the application's, nothing is counted; the next best is the system.
        let used = if alloc::installed() { alloc::used() } else { resident };
        let peak = if alloc::installed() { alloc::peak() } else { resident };
        let startup = env.services.find::<Meter>().map_or(0, |m| m.startup_bytes.load(Ordering::Relaxed));
        let startup = startup.min(used);
        let clients = env.clients.list().iter().map(|c| c.memory()).sum();
        let overhead = startup + clients + dbs.iter().map(|d| d.overhead).sum::<usize>();
        MemoryFacts {
            used,
            peak,
            resident,
            startup,
            clients,
            overhead,
            dataset: used.saturating_sub(overhead),
        }
    }

    /// The dataset's share of what was allocated since the start, percent.
    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset, self.used.saturating_sub(self.startup))
    }
}

/// `part` of `whole`, percent.
pub fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

fn ratio(a: usize, b: usize) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// What the sections draw on.
struct Facts<'e> {
    env: &'e Env,
    config: Option<&'e Config>,
    clients: Vec<Arc<Client>>,
    dbs: Vec<DbFacts>,
    memory: MemoryFacts,
    now: u64,
}

impl<'e> Facts<'e> {
    fn new(env: &'e Env, now: u64, dbs: Vec<DbFacts>) -> Self {
        let memory = MemoryFacts::new(env, &dbs);
        Facts { env, config: env.services.find(), clients: env.clients.list(), dbs, memory, now }
    }

    fn sum(&self, f: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.env.stats.sum(f)
    }

    fn rate(&self, rate: Rate) -> u64 {
        self.env.services.find::<Meter>().map_or(0, |m| m.rate(rate))
    }
}

fn load(n: &AtomicU64) -> u64 {
    n.load(Ordering::Relaxed)
}

fn server(f: &Facts<'_>, out: &mut Text) {
    let (env, config) = (f.env, f.config);
    let uptime = f.now.saturating_sub(env.started_ms) / 1000;
    let path = |p: Option<std::path::PathBuf>| p.map(|p| p.display().to_string()).unwrap_or_default();
    out.put("redis_version", REDIS_VERSION);
    out.put("server_name", "tidewater");
    out.put("tidewater_version", env!("CARGO_PKG_VERSION"));
    out.put("redis_git_sha1", "00000000");
    out.put("redis_git_dirty", 0);
    out.put("redis_build_id", "0");
    out.put("redis_mode", "standalone");
    out.put("os", process::system());
    out.put("arch_bits", usize::BITS);
    out.put("monotonic_clock", if env.clock.is_manual() { "manual" } else { "system" });
    out.put("multiplexing_api", "tokio");
    out.put("process_id", std::process::id());
    out.put("process_supervised", "no");
    out.put("run_id", &env.run_id);
    out.put("tcp_port", config.map_or(0, |c| c.int("port")));
    out.put("server_time_usec", env.clock.now_us());
    out.put("uptime_in_seconds", uptime);
    out.put("uptime_in_days", uptime / 86_400);
    out.put("hz", env.limits.hz.get());
    out.put("configured_hz", env.limits.hz.get());
    out.put("lru_clock", crate::command::view::lru_clock(f.now));
    out.put("executable", path(std::env::current_exe().ok()));
    out.put("config_file", path(config.and_then(Config::config_file)));
    out.put("io_threads_active", 0);
    let Some(config) = config else { return };
    let mut listeners = 0;
    let port = config.int("port");
    if port > 0 {
        let bind: String = config.bind().iter().map(|b| format!("bind={b},")).collect();
        out.line("listener0", format_args!("name=tcp,{bind}port={port}"));
        listeners += 1;
    }
    if let Some(socket) = config.opt_str("unixsocket") {
        out.line(&format!("listener{listeners}"), format_args!("name=unix,bind={socket}"));
    }
}

fn clients(f: &Facts<'_>, out: &mut Text) {
    let waiters: Vec<_> = f.clients.iter().filter_map(|c| c.waiter.lock().clone()).collect();
    let keys: HashSet<_> = waiters.iter().flat_map(|w| w.keys.iter().map(|k| (w.db, k))).collect();
    let meter = f.env.services.find::<Meter>();
    let peak = |of: fn(&Meter) -> usize| meter.map_or(0, of);
    out.put("connected_clients", f.clients.iter().filter(|c| !c.has_flag(flag::LOCAL)).count());
    out.put("cluster_connections", 0);
    out.put("maxclients", f.env.limits.maxclients.get());
    out.put("client_recent_max_input_buffer", peak(|m| m.input_buffer_max.load(Ordering::Relaxed)));
    out.put("client_recent_max_output_buffer", peak(|m| m.output_buffer_max.load(Ordering::Relaxed)));
    out.put("blocked_clients", f.env.gauges.blocked.load(Ordering::Relaxed));
    out.put("tracking_clients", 0);
    out.put("clients_in_timeout_table", waiters.iter().filter(|w| w.deadline_ms.is_some()).count());
    out.put("total_blocking_keys", keys.len());
    out.put("total_blocking_keys_on_nokey", 0);
}

fn memory(f: &Facts<'_>, out: &mut Text) {
    let m = &f.memory;
    let limits = &f.env.limits;
    out.bytes("used_memory", m.used);
    out.bytes("used_memory_rss", m.resident);
    out.bytes("used_memory_peak", m.peak);
    out.line("used_memory_peak_perc", format_args!("{:.2}%", percent(m.used, m.peak)));
    out.put("used_memory_overhead", m.overhead);
    out.put("used_memory_startup", m.startup);
    out.put("used_memory_dataset", m.dataset);
    out.line("used_memory_dataset_perc", format_args!("{:.2}%", m.dataset_percent()));
    // Our allocator does not tell what it holds beyond what is in use, so the resident size stands for it.
    out.put("allocator_allocated", m.used);
    out.put("allocator_active", m.resident);
    out.put("allocator_resident", m.resident);
    out.bytes("total_system_memory", process::total_memory_bytes());
    out.zeros(&["used_memory_lua", "used_memory_vm_eval"]);
    out.put("used_memory_lua_human", human(0));
    out.zeros(&["used_memory_scripts_eval", "number_of_cached_scripts", "number_of_functions"]);
    out.zeros(&["number_of_libraries", "used_memory_vm_functions"]);
    out.bytes("used_memory_vm_total", 0);
    out.put("used_memory_functions", 0);
    out.bytes("used_memory_scripts", 0);
    out.bytes("maxmemory", limits.maxmemory.get());
    out.put("maxmemory_policy", limits.policy().name());
    let fragmentation = ratio(m.resident, m.used);
    let beyond = m.resident as i64 - m.used as i64;
    out.line("allocator_frag_ratio", format_args!("{fragmentation:.2}"));
    out.put("allocator_frag_bytes", beyond);
    out.put("allocator_rss_ratio", "1.00");
    out.put("allocator_rss_bytes", 0);
    out.put("rss_overhead_ratio", "1.00");
    out.put("rss_overhead_bytes", 0);
    out.line("mem_fragmentation_ratio", format_args!("{fragmentation:.2}"));
    out.put("mem_fragmentation_bytes", beyond);
    out.zeros(&["mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers"]);
    out.put("mem_clients_slaves", 0);
    out.put("mem_clients_normal", m.clients);
    out.zeros(&["mem_cluster_links", "mem_aof_buffer"]);
    out.put("mem_allocator", alloc::name());
    out.put("active_defrag_running", 0);
    out.put("lazyfree_pending_objects", f.env.reclaimer.pending());
    out.put("lazyfreed_objects", f.env.reclaimer.freed());
}

fn persistence(f: &Facts<'_>, out: &mut Text) {
    let p = f.env.service::<Persistence>();
    let (figures, running) = (&p.figures, p.running());
    let flag = |on: bool| u8::from(on);
    let status = |ok: &AtomicBool| if ok.load(Relaxed) { "ok" } else { "err" };
    let is = |kind| running.filter(|job| job.kind == kind);
    let seconds = |kind| is(kind).map_or(-1, |job| (f.now.saturating_sub(job.began_ms) / 1000) as i64);
    let (save_scheduled, rewrite_scheduled) = p.scheduled();
    let loading = &p.loading;
    out.put("loading", flag(loading.active.load(Relaxed)));
    // Nothing is forked and copied: what a snapshot takes is what waits for it.
    out.zeros(&["async_loading"]);
    out.put("current_cow_peak", figures.waiting_peak.load(Relaxed));
    out.zeros(&["current_cow_size", "current_cow_size_age"]);
    out.put("current_fork_perc", "0.00");
    out.put("current_save_keys_processed", running.map_or(0, |job| job.keys));
    out.put("current_save_keys_total", running.map_or(0, |job| job.keys_total));
    out.put("rdb_changes_since_last_save", load(&f.env.gauges.dirty));
    out.put("rdb_bgsave_in_progress", flag(is(Job::Save).is_some()));
    out.put("rdb_bgsave_scheduled", flag(save_scheduled));
    out.put("rdb_last_save_time", load(&figures.last_save_s));
    out.put("rdb_last_bgsave_status", status(&figures.last_save_ok));
    out.put("rdb_last_bgsave_time_sec", figures.save_seconds.load(Relaxed));
    out.put("rdb_current_bgsave_time_sec", seconds(Job::Save));
    out.put("rdb_saves", load(&figures.saves));
    out.put("rdb_last_cow_size", figures.waiting_peak.load(Relaxed));
    out.put("rdb_last_load_keys_expired", load(&figures.loaded_expired));
    out.put("rdb_last_load_keys_loaded", load(&figures.loaded_keys));
    let aof = &p.aof.state;
    out.put("aof_enabled", flag(aof.enabled.load(Relaxed)));
    out.put("aof_rewrite_in_progress", flag(is(Job::Rewrite).is_some()));
    out.put("aof_rewrite_scheduled", flag(rewrite_scheduled));
    out.put("aof_last_rewrite_time_sec", figures.rewrite_seconds.load(Relaxed));
    out.put("aof_current_rewrite_time_sec", seconds(Job::Rewrite));
    out.put("aof_last_bgrewrite_status", status(&figures.rewrite_ok));
    out.put("aof_rewrites", load(&figures.rewrites));
    out.put("aof_rewrites_consecutive_failures", load(&figures.rewrite_failures));
    out.put("aof_last_write_status", if aof.write_failed.load(Relaxed) { "err" } else { "ok" });
    out.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if aof.enabled.load(Relaxed) {
        out.put("aof_current_size", load(&aof.size));
        out.put("aof_base_size", load(&aof.base_size));
        out.zeros(&["aof_pending_rewrite"]);
        out.put("aof_buffer_length", f.env.journal.waiting_bytes());
        out.zeros(&["aof_pending_bio_fsync"]);
        out.put("aof_delayed_fsync", load(&aof.delayed_syncs));
    }
    if loading.active.load(Relaxed) {
        let (done, total) = (load(&loading.bytes), load(&loading.bytes_total));
        let began_ms = load(&loading.started_ms);
        let spent_s = f.now.saturating_sub(began_ms) as f64 / 1000.0;
        let share = if total == 0 { 1.0 } else { done as f64 / total as f64 };
        let left_s = if share > 0.0 { (spent_s / share - spent_s).max(0.0) } else { 1.0 };
        out.put("loading_start_time", began_ms / 1000);
        out.put("loading_total_bytes", total);
        out.put("loading_rdb_used_mem", load(&loading.used_at_start));
        out.put("loading_loaded_bytes", done);
        out.put("loading_loaded_perc", format!("{:.2}", share * 100.0));
        out.put("loading_eta_seconds", left_s.ceil() as u64);
    }
}

fn stats(f: &Facts<'_>, out: &mut Text) {
    let s = &f.env.stats;
    let kbps = |rate| format!("{:.2}", f.rate(rate) as f64 / 1024.0);
    out.put("total_connections_received", load(&s.connections));
    out.put("total_commands_processed", f.sum(|w| &w.processed));
    out.put("instantaneous_ops_per_sec", f.rate(Rate::Commands));
    out.put("total_net_input_bytes", f.sum(|w| &w.net_in));
    out.put("total_net_output_bytes", f.sum(|w| &w.net_out));
    out.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    out.put("instantaneous_input_kbps", kbps(Rate::NetIn));
    out.put("instantaneous_output_kbps", kbps(Rate::NetOut));
    out.put("instantaneous_input_repl_kbps", "0.00");
    out.put("instantaneous_output_repl_kbps", "0.00");
    out.put("rejected_connections", load(&s.rejected_connections));
    out.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    out.put("expired_keys", f.sum(|w| &w.expired));
    out.put("expired_stale_perc", format!("{:.2}", load(&s.expire_stale_ppm) as f64 / 10_000.0));
    out.put("expired_time_cap_reached_count", load(&s.expire_time_caps));
    out.put("expire_cycle_cpu_milliseconds", load(&s.time_expired_us) / 1000);
    out.put("evicted_keys", f.sum(|w| &w.evicted));
    out.put("evicted_clients", load(&s.evicted_clients));
    let exceeded_ms = match load(&s.eviction_exceeded_since) {
        0 => 0,
        since => f.env.clock.ticks().saturating_sub(since) / 1_000_000,
    };
    out.put("total_eviction_exceeded_time", load(&s.eviction_exceeded_us) / 1000 + exceeded_ms);
    out.put("current_eviction_exceeded_time", exceeded_ms);
    out.put("keyspace_hits", f.sum(|w| &w.hits));
    out.put("keyspace_misses", f.sum(|w| &w.misses));
    pubsub(f, out);
    out.zeros(&["latest_fork_usec"]);
    out.put("total_forks", load(&f.env.service::<Persistence>().figures.jobs));
    out.put("migrate_cached_sockets", f.env.service::<Links>().len());
    out.zeros(&["slave_expires_tracked_keys"]);
    out.zeros(&[
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
    ]);
    out.zeros(&["total_active_defrag_time", "current_active_defrag_time"]);
    out.zeros(&["tracking_total_keys", "tracking_total_items", "tracking_total_prefixes"]);
    out.put("unexpected_error_replies", load(&s.unexpected_errors));
    out.put("total_error_replies", f.sum(|w| &w.error_replies));
    out.put("dump_payload_sanitizations", 0);
    out.put("total_reads_processed", f.sum(|w| &w.reads));
    out.put("total_writes_processed", f.sum(|w| &w.writes));
    out.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    out.zeros(&["reply_buffer_shrinks", "reply_buffer_expands"]);
    out.zeros(&["eventloop_cycles", "eventloop_duration_sum", "eventloop_duration_cmd_sum"]);
    out.put("instantaneous_eventloop_cycles_per_sec", f.rate(Rate::CronRounds));
    out.put("instantaneous_eventloop_duration_usec", 0);
    out.put("acl_access_denied_auth", load(&s.acl_denied_auth));
    out.zeros(&["acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel"]);
}

fn pubsub(f: &Facts<'_>, out: &mut Text) {
    let hub = f.env.services.find::<PubSub>();
    let kinds = [
        ("pubsub_channels", Kind::Channel),
        ("pubsub_patterns", Kind::Pattern),
        ("pubsubshard_channels", Kind::ShardChannel),
    ];
    for (name, kind) in kinds {
        out.put(name, hub.map_or(0, |hub| hub.channel_count(kind)));
    }
}

fn replication(f: &Facts<'_>, out: &mut Text) {
    let id = f.env.services.find::<ReplicationId>().map_or_else(|| f.env.run_id.clone(), ReplicationId::get);
    out.put("role", "master");
    out.put("connected_slaves", 0);
    out.put("master_failover_state", "no-failover");
    out.put("master_replid", id);
    out.put("master_replid2", "0".repeat(40));
    out.put("master_repl_offset", 0);
    out.put("second_repl_offset", -1);
    out.put("repl_backlog_active", 0);
    out.put("repl_backlog_size", f.config.map_or(1 << 20, |c| c.mem("repl-backlog-size")));
    out.zeros(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

fn cpu(_: &Facts<'_>, out: &mut Text) {
    let kinds = [(Whose::Process, ""), (Whose::Children, "_children"), (Whose::Thread, "_main_thread")];
    for (whose, suffix) in kinds {
        let Cpu { user_us, system_us } = process::cpu(whose);
        for (name, us) in [("sys", system_us), ("user", user_us)] {
            let value = format_args!("{}.{:06}", us / 1_000_000, us % 1_000_000);
            out.line(&format!("used_cpu_{name}{suffix}"), value);
        }
    }
}

fn modules(_: &Facts<'_>, _: &mut Text) {}

fn commandstats(f: &Facts<'_>, out: &mut Text) {
    for command in f.env.commands.rows() {
        let of = |get: fn(&crate::command::stats::CommandStats) -> &Counter| {
            f.sum(|w| get(&w.commands[command.id]))
        };
        let (calls, nanos) = (of(|c| &c.calls), of(|c| &c.nanos));
        let (rejected, failed) = (of(|c| &c.rejected), of(|c| &c.failed));
        if calls + rejected + failed == 0 {
            continue;
        }
        let micros = nanos / 1000;
        let each = if calls == 0 { 0.0 } else { nanos as f64 / 1000.0 / calls as f64 };
        out.line(
            &format!("cmdstat_{}", command.full_name),
            format_args!(
                "calls={calls},usec={micros},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

fn errorstats(f: &Facts<'_>, out: &mut Text) {
    let mut errors: Vec<_> = f.env.stats.errors.lock().iter().map(|(code, n)| (code.clone(), *n)).collect();
    errors.sort();
    for (code, n) in errors {
        out.line(&format!("errorstat_{code}"), format_args!("count={n}"));
    }
}

fn latencystats(f: &Facts<'_>, out: &mut Text) {
    if f.config.is_some_and(|c| !c.bool("latency-tracking")) {
        return;
    }
    let percentiles = f.config.map_or_else(|| vec![50.0, 99.0, 99.9], Config::latency_percentiles);
    for command in f.env.commands.rows() {
        let h = Histogram::new(f.env, command.id);
        if h.calls == 0 {
            continue;
        }
        let values: Vec<_> = percentiles.iter().map(|p| format!("p{p}={:.3}", h.percentile(*p))).collect();
        out.put(&format!("latency_percentiles_usec_{}", command.full_name), values.join(","));
    }
}

fn cluster(_: &Facts<'_>, out: &mut Text) {
    out.put("cluster_enabled", 0);
}

fn keyspace(f: &Facts<'_>, out: &mut Text) {
    for (i, db) in f.dbs.iter().enumerate().filter(|(_, db)| db.keys > 0) {
        let mut value = format!("keys={},expires={},avg_ttl={}", db.keys, db.expires, db.average_ttl_ms());
        // Redis 7.4 always says it; a client of 7.2's line is spared it as long as it can be.
        if db.field_expires > 0 {
            value.push_str(&format!(",subexpiry={}", db.field_expires));
        }
        out.line(&format!("db{i}"), format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        let all = [0, 1023, 1024, 1536, 5 << 20, 3 << 40].map(human);
        assert_eq!(all, ["0B", "1023B", "1.00K", "1.50K", "5.00M", "3.00T"]);
    }
}
