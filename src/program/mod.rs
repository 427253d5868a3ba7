//! Level 8: the `tidewater` program: arguments, configuration, the process around a server, and its end.
mod check;
mod crash;
#[cfg(unix)]
mod fatal;
mod process;
mod title;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits::Limits;
use crate::command::env::REDIS_VERSION;
use crate::config::{Cli, Config, parse_command_line};
use crate::embed::{Builder, Server, StartError};
use crate::program::title::Title;
use crate::server::log;
use crate::server::persist::{LoadError, Persistence};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long connections may take to take their last replies when the server ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// Runs the program with its arguments, its name first.
pub fn run(args: &[String]) -> ExitCode {
    let name = args.first().and_then(|a| Path::new(a).file_name()).map(|n| n.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| "tidewater".into());
    let rest = args.get(1..).unwrap_or_default();
    match rest {
        _ if name == "redis-check-rdb" => return crate::rdb::check::run(&name, rest),
        [tool, rest @ ..] if tool == "check-rdb" => {
            return crate::rdb::check::run(&format!("{name} check-rdb"), rest);
        }
        _ if name == "redis-check-aof" => return check::check_aof(&name, rest),
        [tool, rest @ ..] if tool == "check-aof" => {
            return check::check_aof(&format!("{name} check-aof"), rest);
        }
        _ => {}
    }
    if name.starts_with("redis-sentinel") {
        eprintln!("{name}: not available: this version of Tidewater has no Sentinel mode.");
        return ExitCode::FAILURE;
    }
    let cli = match parse_command_line(args.get(1..).unwrap_or_default()) {
        Ok(cli) => cli,
        Err(e) => {
            eprintln!("{e}\nTry '{name} --help'.");
            return ExitCode::FAILURE;
        }
    };
    if cli.version {
        println!("{}", version());
        return ExitCode::SUCCESS;
    }
    if cli.help {
        println!("{}", help(&name));
        return ExitCode::SUCCESS;
    }
    let config = Arc::new(Config::defaults(Arc::new(Limits::new())));
    if let Err(e) = config.load(&cli) {
        eprintln!("{e}");
        return ExitCode::FAILURE;
    }
    if cli.check_config {
        println!("The configuration is good.");
        return ExitCode::SUCCESS;
    }
    serve(config, &cli, args.first().map_or("tidewater", |name| name))
}

fn version() -> String {
    format!(
        "Tidewater {VERSION}, Redis server v={REDIS_VERSION} sha=00000000:0 malloc={} bits={} build=0",
        crate::base::alloc::name(),
        usize::BITS
    )
}

fn help(name: &str) -> String {
    format!(
        "{}\n\
         Usage: {name} [FILE] [--DIRECTIVE VALUE ...] [-]\n       \
         {name} check-rdb FILE\n       \
         {name} check-aof [--fix|--truncate-to-timestamp SECONDS] FILE\n\
         \n  FILE                 a configuration file, in redis.conf's grammar\n  \
         -                    read (more) configuration from standard input\n  \
         --DIRECTIVE VALUE    any directive of the file; what comes later wins\n  \
         --print-port         print the port to standard output and log to standard error;\n                       '--port 0' then takes a free one\n  \
         --check-config       say whether the configuration is good, and end\n  \
         -v, --version        print the version, and end\n  \
         -h, --help           print this, and end\n\
         \nExamples:\n  \
         {name}\n  \
         {name} /etc/tidewater.conf --loglevel verbose\n  \
         {name} --port 7000 --maxmemory 2gb --maxmemory-policy allkeys-lru\n  \
         echo 'maxmemory 128mb' | {name} -\n",
        version()
    )
}

/// From here on the process is a server; returns when it has ended.
fn serve(config: Arc<Config>, cli: &Cli, name: &str) -> ExitCode {
    // Relative paths (log, sockets, pid file) are relative to `dir`, as everything that a server writes.
    let _ = std::env::set_current_dir(config.str("dir"));
    let supervised = process::Supervisor::find(&config);
    let daemon = config.bool("daemonize") && supervised.is_none();
    if daemon && let Err(e) = process::daemonize() {
        eprintln!("Can't daemonize: {e}");
        return ExitCode::FAILURE;
    }
    let title = config.bool("set-proc-title").then(|| Title::claim(name)).flatten();
    log::set_level(config.int("loglevel"));
    log::install(match config.opt_str("logfile") {
        Some(path) => log::Output::File(path.into()),
        // Then standard output has the port and nothing else.
        None if cli.print_port => log::Output::Stderr,
        None => log::Output::Stdout,
    });
    crash::log_panics();
    if config.bool("crash-log-enabled") {
        crash::log_fatal_signals();
    }
    let pid = std::process::id();
    tracing::info!(
        "Tidewater version={VERSION}, Redis version={REDIS_VERSION}, bits={}, pid={pid}, is starting",
        usize::BITS
    );
    match cli.config_file.is_some() || cli.from_stdin || !cli.directives.is_empty() {
        true => tracing::info!("Configuration loaded"),
        false => tracing::warn!("Warning: no config file specified, using the default config."),
    }
    if let nothing @ [_, ..] = config.without_effect().as_slice() {
        tracing::info!("Accepted, but without effect here: {}", nothing.join(", "));
    }
    process::raise_file_limit(&config);
    process::block_signals();
    let server = match Builder::from_config(config.clone(), cli.print_port).prepare() {
        Ok(server) => server,
        Err(e) => return refuse(&config, &e),
    };
    // Supervising scripts take the PID as the sign that the server is there; it may go on to load for long.
    tracing::info!("Running mode=standalone, port={}. PID: {pid}", server.port().unwrap_or(0));
    tracing::info!("Server initialized");
    follow_config(&config);
    if let Some(title) = title {
        title.show(&config);
        let show = move |config: &Config| {
            title.show(config);
            Ok(())
        };
        config.on_change_of(&["proc-title-template", "port", "bind"], Box::new(show));
    }
    let pidfile = config.opt_str("pidfile").or_else(|| daemon.then(|| "/var/run/redis.pid".into()));
    let pidfile = pidfile.map(PathBuf::from).filter(|path| process::write_pidfile(path));
    if let Err(e) = process::watch_signals(server.control().clone(), config.clone()) {
        tracing::warn!("Can't watch for signals: {e}");
        return ExitCode::FAILURE;
    }
    if let Err(e) = server.load() {
        if let Some(path) = &pidfile {
            let _ = std::fs::remove_file(path);
        }
        return refuse(&config, &e);
    }
    if let Err(e) = server.open() {
        return refuse(&config, &e);
    }
    announce(&server, cli.print_port);
    if daemon {
        process::detach_output();
    }
    if let Some(supervisor) = &supervised {
        supervisor.ready();
    }
    loop {
        let request = server.control().wait();
        tracing::info!("User requested shutdown...");
        let env = server.engine().env();
        if request.prepared || env.service::<Persistence>().prepare_end(env, request).is_ok() {
            break;
        }
        server.control().cancel();
    }
    if let Some(supervisor) = &supervised {
        supervisor.stopping();
    }
    end(server, pidfile.as_deref())
}

/// What of a running process the configuration changes.
fn follow_config(config: &Config) {
    let follow = |names: &[&str], apply: fn(&Config) -> Result<(), String>| {
        config.on_change_of(names, Box::new(apply));
    };
    follow(&["loglevel"], |config| {
        log::set_level(config.int("loglevel"));
        Ok(())
    });
    follow(&["dir"], |config| std::env::set_current_dir(config.str("dir")).map_err(|e| e.to_string()));
    follow(&["maxclients"], |config| process::make_room(config.int("maxclients")));
    if config.str("oom-score-adj") != "no"
        && let Err(e) = process::adjust_oom_score(config)
    {
        tracing::warn!("{e}");
    }
    follow(&["oom-score-adj", "oom-score-adj-values"], process::adjust_oom_score);
}

fn refuse(config: &Config, error: &StartError) -> ExitCode {
    tracing::warn!("{error}");
    if matches!(error, StartError::Listen(_)) {
        tracing::warn!("Failed listening on port {} (tcp), aborting.", config.int("port"));
    }
    if matches!(error, StartError::Load(LoadError::Dump { .. })) {
        tracing::warn!("Terminating server after rdb file reading failure.");
    }
    ExitCode::FAILURE
}

/// Says that the server serves.
fn announce(server: &Server, print_port: bool) {
    if print_port {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{}", server.port().unwrap_or(0));
        let _ = out.flush();
    }
    if server.addr().is_some() {
        tracing::info!("Ready to accept connections tcp");
    }
    if server.config().opt_str("unixsocket").is_some() {
        tracing::info!("Ready to accept connections unix");
    }
}

/// Ends the process's server. The memory is left to the operating system, which is quicker.
fn end(server: Server, pidfile: Option<&Path>) -> ExitCode {
    if let Some(path) = pidfile {
        tracing::info!("Removing the pid file.");
        let _ = std::fs::remove_file(path);
    }
    let server = Arc::new(server);
    let (done, closed) = std::sync::mpsc::channel();
    let closer = server.clone();
    std::thread::spawn(move || {
        closer.close_network();
        let _ = done.send(());
    });
    // A client that does not read must not hold up the end.
    let _ = closed.recv_timeout(FAREWELL);
    tracing::warn!("Tidewater is now ready to exit, bye bye...");
    std::process::exit(0);
}
