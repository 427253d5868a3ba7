//! Every directive, a row each. What is derivable (CONFIG GET, SET and REWRITE, the file's errors, masking in logs) comes from here.
use super::directive::{Directive, Names};
use super::special::{
    self, BIND, BUFFERS, CONNECTIONS, DIR, NOTIFY, OOM_VALUES, PERCENTILES, PIPELINES, REPLICAOF, SAVE,
};
use crate::base::limits::MaxmemoryPolicy as Policy;

const INT: i64 = i32::MAX as i64;
const UINT: i64 = u32::MAX as i64;
const LONG: i64 = i64::MAX;
const MB: i64 = 1 << 20;

pub const MAXMEMORY_POLICIES: Names = &[
    ("volatile-lru", Policy::VolatileLru as i64),
    ("volatile-lfu", Policy::VolatileLfu as i64),
    ("volatile-random", Policy::VolatileRandom as i64),
    ("volatile-ttl", Policy::VolatileTtl as i64),
    ("allkeys-lru", Policy::AllkeysLru as i64),
    ("allkeys-lfu", Policy::AllkeysLfu as i64),
    ("allkeys-random", Policy::AllkeysRandom as i64),
    ("noeviction", Policy::NoEviction as i64),
];
const SYSLOG_FACILITIES: Names = &[
    ("user", 1),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
pub const LOG_LEVELS: Names = &[("debug", 0), ("verbose", 1), ("notice", 2), ("warning", 3), ("nothing", 4)];
/// The Redis whose words OBJECT ENCODING uses.
const COMPAT_VERSIONS: Names = &[("7.0", 0), ("7.2", 1)];
const SUPERVISED: Names = &[("upstart", 3), ("systemd", 2), ("auto", 1), ("no", 0)];
const FSYNC: Names = &[("everysec", 2), ("always", 1), ("no", 0)];
const DISKLESS_LOAD: Names = &[("disabled", 0), ("on-empty-db", 1), ("swapdb", 2)];
const TLS_CLIENTS: Names = &[("no", 0), ("yes", 1), ("optional", 2)];
const OOM_ADJ: Names = &[("no", 0), ("yes", 1), ("relative", 1), ("absolute", 2)];
const PUBSUB_DEFAULT: Names = &[("allchannels", 1), ("resetchannels", 0)];
const SANITIZE: Names = &[("no", 0), ("yes", 1), ("clients", 2)];
pub const PROTECTED_ACTION: Names = &[("no", 0), ("yes", 1), ("local", 2)];
const ENDPOINT: Names = &[("ip", 0), ("hostname", 1), ("unknown-endpoint", 2)];
const PROPAGATION_ERROR: Names = &[("ignore", 0), ("panic", 1), ("panic-on-replicas", 2)];
pub const SHUTDOWN: Names = &[("default", 0), ("save", 1), ("nosave", 2), ("now", 4), ("force", 8)];

const fn d(name: &'static str) -> Directive {
    Directive::new(name)
}

/// What is never negative, as memory counts it.
fn size(v: i64) -> usize {
    usize::try_from(v).unwrap_or(0)
}

fn unsigned(v: i64) -> u64 {
    u64::try_from(v).unwrap_or(0)
}

pub static TABLE: &[Directive] = &[
    // Tidewater's own.
    d("workers").int(0, 1024, "0"),
    d("shards").int(0, 1 << 20, "0").check(special::check_shards),
    d("compat-version").one_of(COMPAT_VERSIONS, "7.2").bind(|l, v| l.report_as_7_0.set(v == 0)),
    d("aof-sync-log").yes_no("yes"),
    // Kafka. A build without it accepts them too, and the server says that it has none.
    d("kafka-connection").special(CONNECTIONS, "").multi_arg().sensitive(),
    d("kafka-pipeline").special(PIPELINES, "").multi_arg().immutable().hidden(),
    d("kafka-batch-records").int(1, 1 << 16, "128").bind(|l, v| l.kafka_batch_records.set(size(v))),
    d("kafka-batch-us").int(1, 1_000_000, "50").bind(|l, v| l.kafka_batch_us.set(unsigned(v))),
    d("kafka-buffer-bytes").memory(1 << 20, LONG, "64mb").bind(|l, v| l.kafka_buffer_bytes.set(size(v))),
    // Network.
    d("bind").special(BIND, "* -::*").multi_arg(),
    d("bind-source-addr").nullable(),
    d("port").int(0, 65535, "6379"),
    d("protected-mode").yes_no("yes"),
    d("tcp-backlog").int(0, INT, "511").immutable(),
    d("unixsocket").nullable().immutable(),
    d("unixsocketperm").octal(0, 0o777, "0").immutable().no_effect_unless(cfg!(unix)),
    d("timeout").int(0, INT, "0").bind(|l, v| l.timeout_s.set(unsigned(v))),
    d("tcp-keepalive").int(0, INT, "300").bind(|l, v| l.tcp_keepalive_s.set(unsigned(v))),
    d("socket-mark-id").int(0, UINT, "0").immutable(),
    d("io-threads").int(1, 128, "1").immutable().no_effect(),
    d("io-threads-do-reads").yes_no("no").immutable().no_effect(),
    // TLS.
    d("tls-port").int(0, 65535, "0"),
    d("tls-cert-file").nullable(),
    d("tls-key-file").nullable(),
    d("tls-key-file-pass").nullable().sensitive(),
    d("tls-client-cert-file").nullable(),
    d("tls-client-key-file").nullable(),
    d("tls-client-key-file-pass").nullable().sensitive(),
    d("tls-dh-params-file").nullable(),
    d("tls-ca-cert-file").nullable(),
    d("tls-ca-cert-dir").nullable(),
    d("tls-auth-clients").one_of(TLS_CLIENTS, "yes"),
    d("tls-replication").yes_no("no"),
    d("tls-cluster").yes_no("no"),
    d("tls-protocols").nullable(),
    d("tls-ciphers").nullable(),
    d("tls-ciphersuites").nullable(),
    d("tls-prefer-server-ciphers").yes_no("no"),
    d("tls-session-caching").yes_no("yes"),
    d("tls-session-cache-size").int(0, INT, "20480"),
    d("tls-session-cache-timeout").int(0, INT, "300"),
    // General.
    d("daemonize").yes_no("no").immutable(),
    d("supervised").one_of(SUPERVISED, "no").immutable().no_effect_unless(cfg!(unix)),
    d("pidfile").nullable().immutable(),
    d("loglevel").one_of(LOG_LEVELS, "notice"),
    d("logfile").immutable(),
    d("syslog-enabled").yes_no("no").immutable(),
    d("syslog-ident").text("redis").immutable(),
    d("syslog-facility").one_of(SYSLOG_FACILITIES, "local0").immutable(),
    d("crash-log-enabled").yes_no("yes"),
    d("crash-memcheck-enabled").yes_no("yes").no_effect(),
    d("use-exit-on-panic").yes_no("no").hidden().no_effect(),
    d("databases").int(1, INT, "16").immutable(),
    d("always-show-logo").yes_no("no").immutable().no_effect(),
    d("set-proc-title").yes_no("yes").immutable(),
    d("proc-title-template")
        .text("{title} {listen-addr} {server-mode}")
        .check(special::check_title)
        .no_effect_unless(cfg!(target_os = "linux")),
    d("locale-collate").no_effect(),
    d("enable-protected-configs").one_of(PROTECTED_ACTION, "no").immutable(),
    d("enable-debug-command").one_of(PROTECTED_ACTION, "no").immutable(),
    d("enable-module-command").one_of(PROTECTED_ACTION, "no").immutable(),
    d("ignore-warnings"),
    d("hz").int(0, INT, "10").clamp(1, 500).bind(|l, v| l.hz.set(size(v))),
    d("dynamic-hz").yes_no("yes").no_effect(),
    d("shutdown-timeout").int(0, INT, "10"),
    d("shutdown-on-sigint").any_of(SHUTDOWN, "default").check(special::check_shutdown),
    d("shutdown-on-sigterm").any_of(SHUTDOWN, "default").check(special::check_shutdown),
    d("watchdog-period").int(0, INT, "0").hidden().no_effect(),
    d("disable-thp").yes_no("yes").immutable().no_effect(),
    d("oom-score-adj").one_of(OOM_ADJ, "no"),
    d("oom-score-adj-values").special(OOM_VALUES, "0 200 800").multi_arg(),
    d("server-cpulist").alias("server_cpulist").nullable().no_effect_unless(cfg!(target_os = "linux")),
    d("bio-cpulist").alias("bio_cpulist").nullable().no_effect_unless(cfg!(target_os = "linux")),
    d("aof-rewrite-cpulist")
        .alias("aof_rewrite_cpulist")
        .nullable()
        .no_effect_unless(cfg!(target_os = "linux")),
    d("bgsave-cpulist").alias("bgsave_cpulist").nullable().no_effect_unless(cfg!(target_os = "linux")),
    // Clients.
    d("maxclients").int(1, UINT, "10000").bind(|l, v| l.maxclients.set(size(v))),
    d("maxmemory-clients").memory_or_percent("0").bind(|l, v| l.maxmemory_clients.set(v)),
    d("client-query-buffer-limit")
        .memory(MB, LONG, "1gb")
        .bind(|l, v| l.client_query_buffer_limit.set(size(v))),
    d("client-output-buffer-limit")
        .special(BUFFERS, "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60")
        .multi_arg(),
    d("proto-max-bulk-len").memory(MB, LONG, "512mb").bind(|l, v| l.proto_max_bulk_len.set(size(v))),
    d("tracking-table-max-keys").int(0, LONG, "1000000"),
    d("requirepass").nullable().sensitive(),
    d("aclfile").immutable(),
    d("acllog-max-len").int(0, LONG, "128"),
    d("acl-pubsub-default").one_of(PUBSUB_DEFAULT, "resetchannels"),
    // Memory, eviction and expiry.
    d("maxmemory").memory(0, LONG, "0").bind(|l, v| l.maxmemory.set(size(v))),
    d("maxmemory-policy")
        .one_of(MAXMEMORY_POLICIES, "noeviction")
        .bind(|l, v| l.maxmemory_policy.set(u8::try_from(v).unwrap_or(Policy::NoEviction as u8))),
    d("maxmemory-samples").int(1, INT, "5").bind(|l, v| l.maxmemory_samples.set(size(v))),
    d("maxmemory-eviction-tenacity")
        .int(0, 100, "10")
        .bind(|l, v| l.maxmemory_eviction_tenacity.set(size(v))),
    d("lfu-log-factor").int(0, INT, "10").bind(|l, v| l.lfu_log_factor.set(size(v))),
    d("lfu-decay-time").int(0, INT, "1").bind(|l, v| l.lfu_decay_time.set(size(v))),
    d("active-expire-effort").int(1, 10, "1").bind(|l, v| l.active_expire_effort.set(size(v))),
    d("lazyfree-lazy-eviction").yes_no("no").bind(|l, v| l.lazyfree_lazy_eviction.set(v != 0)),
    d("lazyfree-lazy-expire").yes_no("no").bind(|l, v| l.lazyfree_lazy_expire.set(v != 0)),
    d("lazyfree-lazy-server-del").yes_no("no").bind(|l, v| l.lazyfree_lazy_server_del.set(v != 0)),
    d("lazyfree-lazy-user-del").yes_no("no").bind(|l, v| l.lazyfree_lazy_user_del.set(v != 0)),
    d("lazyfree-lazy-user-flush").yes_no("no").bind(|l, v| l.lazyfree_lazy_user_flush.set(v != 0)),
    d("activerehashing").yes_no("yes").no_effect(),
    d("jemalloc-bg-thread").yes_no("yes").no_effect(),
    d("activedefrag").yes_no("no").no_effect(),
    d("active-defrag-ignore-bytes").memory(1, LONG, "100mb").no_effect(),
    d("active-defrag-threshold-lower").int(0, 1000, "10").no_effect(),
    d("active-defrag-threshold-upper").int(0, 1000, "100").no_effect(),
    d("active-defrag-cycle-min").int(1, 99, "1").no_effect(),
    d("active-defrag-cycle-max").int(1, 99, "25").no_effect(),
    d("active-defrag-max-scan-fields").int(1, LONG, "1000").no_effect(),
    // Encodings.
    d("hash-max-listpack-entries")
        .alias("hash-max-ziplist-entries")
        .int(0, LONG, "512")
        .bind(|l, v| l.hash_max_listpack_entries.set(size(v))),
    d("hash-max-listpack-value")
        .alias("hash-max-ziplist-value")
        .memory(0, LONG, "64")
        .bind(|l, v| l.hash_max_listpack_value.set(size(v))),
    d("list-max-listpack-size")
        .alias("list-max-ziplist-size")
        .int(i32::MIN as i64, INT, "-2")
        .bind(|l, v| l.list_max_listpack_size.set(v)),
    d("list-compress-depth").int(0, INT, "0").bind(|l, v| l.list_compress_depth.set(size(v))),
    d("set-max-intset-entries").int(0, LONG, "512").bind(|l, v| l.set_max_intset_entries.set(size(v))),
    d("set-max-listpack-entries").int(0, LONG, "128").bind(|l, v| l.set_max_listpack_entries.set(size(v))),
    d("set-max-listpack-value").memory(0, LONG, "64").bind(|l, v| l.set_max_listpack_value.set(size(v))),
    d("zset-max-listpack-entries")
        .alias("zset-max-ziplist-entries")
        .int(0, LONG, "128")
        .bind(|l, v| l.zset_max_listpack_entries.set(size(v))),
    d("zset-max-listpack-value")
        .alias("zset-max-ziplist-value")
        .memory(0, LONG, "64")
        .bind(|l, v| l.zset_max_listpack_value.set(size(v))),
    d("hll-sparse-max-bytes").memory(0, LONG, "3000").bind(|l, v| l.hll_sparse_max_bytes.set(size(v))),
    d("stream-node-max-bytes").memory(0, LONG, "4096").bind(|l, v| l.stream_node_max_bytes.set(size(v))),
    d("stream-node-max-entries").int(0, LONG, "100").bind(|l, v| l.stream_node_max_entries.set(size(v))),
    d("sanitize-dump-payload").one_of(SANITIZE, "no"),
    // Notifications, scripts and watching the server.
    d("notify-keyspace-events")
        .special(NOTIFY, "")
        .bind(|l, v| l.notify_flags.set(u32::try_from(v).unwrap_or(0))),
    d("busy-reply-threshold").alias("lua-time-limit").int(0, LONG, "5000"),
    d("slowlog-log-slower-than").int(-1, LONG, "10000").bind(|l, v| l.slowlog_log_slower_than.set(v)),
    d("slowlog-max-len").int(0, LONG, "128").bind(|l, v| l.slowlog_max_len.set(size(v))),
    d("latency-monitor-threshold")
        .int(0, LONG, "0")
        .bind(|l, v| l.latency_monitor_threshold.set(unsigned(v))),
    d("latency-tracking").yes_no("yes"),
    d("latency-tracking-info-percentiles").special(PERCENTILES, "50 99 99.9").multi_arg(),
    // Snapshots.
    d("save").special(SAVE, "3600 1 300 100 60 10000").multi_arg(),
    d("dir").special(DIR, ".").protected().deny_loading(),
    d("dbfilename").text("dump.rdb").protected().check(special::check_db_filename),
    d("rdbcompression").yes_no("yes").bind(|l, v| l.rdb_compression.set(v != 0)),
    d("rdbchecksum").yes_no("yes").immutable(),
    d("rdb-del-sync-files").yes_no("no").no_effect(),
    // Ours: pass over what modules left in a dump, rather than refuse the dump.
    d("rdb-skip-module-values").yes_no("no"),
    d("rdb-save-incremental-fsync").yes_no("yes"),
    d("rdb-key-save-delay").int(i32::MIN as i64, INT, "0").hidden(),
    d("key-load-delay").int(i32::MIN as i64, INT, "0").hidden(),
    d("loading-process-events-interval-bytes").int(1024, INT, "2097152").hidden().no_effect(),
    d("stop-writes-on-bgsave-error").yes_no("yes"),
    // The append-only file.
    d("appendonly").yes_no("no").deny_loading(),
    d("appendfilename").text("appendonly.aof").immutable().check(special::check_append_filename),
    d("appenddirname").text("appendonlydir").immutable().check(special::check_append_dirname),
    d("appendfsync").one_of(FSYNC, "everysec"),
    d("no-appendfsync-on-rewrite").yes_no("no"),
    d("auto-aof-rewrite-percentage").int(0, INT, "100"),
    d("auto-aof-rewrite-min-size").memory(0, LONG, "64mb"),
    d("aof-load-truncated").yes_no("yes"),
    d("aof-use-rdb-preamble").yes_no("yes"),
    d("aof-timestamp-enabled").yes_no("no"),
    d("aof-rewrite-incremental-fsync").yes_no("yes"),
    d("aof-disable-auto-gc").yes_no("no"),
    // Replication.
    d("replicaof").alias("slaveof").special(REPLICAOF, "").immutable().multi_arg(),
    d("masterauth").nullable().sensitive(),
    d("masteruser").nullable().sensitive(),
    d("replica-serve-stale-data").alias("slave-serve-stale-data").yes_no("yes"),
    d("replica-read-only").alias("slave-read-only").yes_no("yes"),
    d("replica-lazy-flush").alias("slave-lazy-flush").yes_no("no"),
    d("replica-ignore-maxmemory").alias("slave-ignore-maxmemory").yes_no("yes"),
    d("replica-ignore-disk-write-errors").yes_no("no"),
    d("replica-priority").alias("slave-priority").int(0, INT, "100"),
    d("replica-announced").yes_no("yes"),
    d("replica-announce-ip").alias("slave-announce-ip").nullable(),
    d("replica-announce-port").alias("slave-announce-port").int(0, 65535, "0"),
    d("propagation-error-behavior").one_of(PROPAGATION_ERROR, "ignore"),
    d("repl-diskless-sync").yes_no("yes"),
    d("repl-diskless-sync-delay").int(0, INT, "5"),
    d("repl-diskless-sync-max-replicas").int(0, INT, "0"),
    d("repl-diskless-load").one_of(DISKLESS_LOAD, "disabled").deny_loading(),
    d("repl-ping-replica-period").alias("repl-ping-slave-period").int(1, INT, "10"),
    d("repl-timeout").int(1, INT, "60"),
    d("repl-disable-tcp-nodelay").yes_no("no"),
    d("repl-backlog-size").memory(1, LONG, "1mb"),
    d("repl-backlog-ttl").int(0, LONG, "3600"),
    d("min-replicas-to-write").alias("min-slaves-to-write").int(0, INT, "0"),
    d("min-replicas-max-lag").alias("min-slaves-max-lag").int(0, INT, "10"),
    // Cluster.
    d("cluster-enabled").yes_no("no").immutable(),
    d("cluster-config-file").text("nodes.conf").immutable(),
    d("cluster-node-timeout").int(0, LONG, "15000"),
    d("cluster-port").int(0, 65535, "0").immutable(),
    d("cluster-replica-validity-factor").alias("cluster-slave-validity-factor").int(0, INT, "10"),
    d("cluster-replica-no-failover").alias("cluster-slave-no-failover").yes_no("no"),
    d("cluster-migration-barrier").int(0, INT, "1"),
    d("cluster-allow-replica-migration").yes_no("yes"),
    d("cluster-require-full-coverage").yes_no("yes"),
    d("cluster-allow-reads-when-down").yes_no("no"),
    d("cluster-allow-pubsubshard-when-down").yes_no("yes"),
    d("cluster-link-sendbuf-limit").memory(0, LONG, "0"),
    d("cluster-announce-ip").nullable(),
    d("cluster-announce-port").int(0, 65535, "0"),
    d("cluster-announce-tls-port").int(0, 65535, "0"),
    d("cluster-announce-bus-port").int(0, 65535, "0"),
    d("cluster-announce-hostname").nullable().check(special::check_hostname),
    d("cluster-announce-human-nodename").nullable().check(special::check_hostname),
    d("cluster-preferred-endpoint-type").one_of(ENDPOINT, "ip"),
];
