//! Reading configuration text: lines, `include`, and what only a file may say.
use super::cli::Cli;
use super::directive::Source;
use super::special::os_error;
use super::table::TABLE;
use super::{Config, find};
use crate::base::glob::glob_match;
use crate::base::platform;
use crate::base::split::split_args;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file that includes itself ends here.
const INCLUDE_DEPTH_MAX: usize = 16;
/// The most bytes that are read of one file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why the configuration could not be read. Its text is what Redis prints before it exits.
#[derive(Debug)]
pub enum LoadError {
    Line {
        source: String,
        number: usize,
        line: Vec<u8>,
        reason: String,
    },
    /// The lines are good but contradict each other.
    Whole {
        reason: String,
    },
    Open {
        path: String,
        reason: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEAD: &str = "\n*** FATAL CONFIG FILE ERROR (Redis 7.2) ***\n";
        match self {
            LoadError::Line { number, line, reason, .. } => {
                let line = String::from_utf8_lossy(line);
                write!(f, "{HEAD}Reading the configuration file, at line {number}\n>>> '{line}'\n{reason}\n")
            }
            LoadError::Whole { reason } => writeln!(f, "{HEAD}{reason}"),
            LoadError::Open { path, reason } => {
                write!(f, "Fatal error, can't open config file '{path}': {reason}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// What one load remembers from line to line.
#[derive(Default)]
struct Load {
    depth: usize,
    /// Rows that a line has set: directives that accumulate start anew with their first line.
    seen: HashSet<usize>,
}

impl Config {
    /// Everything that a command line asks for: its file, standard input, its directives, as one text in this order.
    pub fn load(&self, cli: &Cli) -> Result<(), LoadError> {
        let mut text = Vec::new();
        let mut source = "command line";
        if let Some(file) = &cli.config_file {
            source = file;
            text = read_file(Path::new(file))?;
            let path = std::path::absolute(file).unwrap_or_else(|_| PathBuf::from(file));
            self.set_config_file(Some(path));
        }
        if cli.from_stdin {
            let read = std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut text);
            read.map_err(|e| LoadError::Open { path: "-".into(), reason: os_error(&e) })?;
        }
        if !cli.directives.is_empty() {
            text.push(b'\n');
            text.extend(&cli.directives);
        }
        self.load_lines(source, &text)
    }

    /// Reads lines in redis.conf's grammar. Hooks do not run. After an error the values are in between: start over.
    pub fn load_lines(&self, source: &str, text: &[u8]) -> Result<(), LoadError> {
        self.load_text(source, text, &mut Load::default())?;
        if self.bool("cluster-enabled") && self.replicaof().is_some() {
            return Err(LoadError::Whole {
                reason: "replicaof directive not allowed in cluster mode".into(),
            });
        }
        Ok(())
    }

    fn load_text(&self, source: &str, text: &[u8], load: &mut Load) -> Result<(), LoadError> {
        for (i, line) in text.split(|&b| b == b'\n').enumerate() {
            let line = trim(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let fail = |reason: String| LoadError::Line {
                source: source.into(),
                number: i + 1,
                line: line.to_vec(),
                reason,
            };
            let args =
                split_args(line).map_err(|_| fail("Unbalanced quotes in configuration line".into()))?;
            let Some((name, args)) = args.split_first() else { continue };
            if name.eq_ignore_ascii_case(b"include")
                && let [pattern] = args
            {
                self.include(pattern, load, &fail)?;
            } else {
                self.load_directive(name, args, load).map_err(fail)?;
            }
        }
        Ok(())
    }

    fn load_directive(&self, name: &[u8], args: &[Vec<u8>], load: &mut Load) -> Result<(), String> {
        let Some(row) = find(name) else { return self.load_extra(name, args) };
        let directive = &TABLE[row];
        if !directive.multi_arg && args.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        // Several arguments may come as one, as command lines quote them.
        let split = match args {
            [one] if directive.multi_arg && !one.is_empty() => split_args(one).unwrap_or_default(),
            _ => Vec::new(),
        };
        let args = if split.is_empty() { args } else { &split };
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let source = if load.seen.insert(row) { Source::Fresh } else { Source::Again };
        let present = self.values.read()[row].clone();
        let value = directive.parse(&args, &present, source)?;
        self.values.write()[row] = value;
        self.publish(row);
        Ok(())
    }

    /// What is no directive of the table but may stand in a file.
    fn load_extra(&self, name: &[u8], args: &[Vec<u8>]) -> Result<(), String> {
        const IGNORED: [&[u8]; 3] =
            [b"list-max-ziplist-entries", b"list-max-ziplist-value", b"lua-replicate-commands"];
        let name = name.to_ascii_lowercase();
        let mut extras = self.extras.write();
        match (name.as_slice(), args) {
            (name, [_]) if IGNORED.contains(&name) => {}
            (b"rename-command", [from, to]) => extras.renamed_commands.push((from.clone(), to.clone())),
            (b"user", [_, ..]) => extras.users.push(args.to_vec()),
            (b"loadmodule", [_, ..]) => extras.modules.push(args.to_vec()),
            (b"sentinel", [_, ..]) => return Err("sentinel directive while not in sentinel mode".into()),
            (b"sentinel", []) => {}
            (name, [_]) if name.contains(&b'.') => {
                return Err(format!("no module has a setting '{}'", String::from_utf8_lossy(name)));
            }
            (name, _) if name.contains(&b'.') => {
                return Err("Module config specified without value".into());
            }
            _ => return Err("Bad directive or wrong number of arguments".into()),
        }
        Ok(())
    }

    /// Reads the file, or all files that a pattern matches; none may match. Relative to `dir`, as Redis, which changes
    /// its working directory with that directive.
    fn include(
        &self,
        pattern: &[u8],
        load: &mut Load,
        fail: &dyn Fn(String) -> LoadError,
    ) -> Result<(), LoadError> {
        if load.depth == INCLUDE_DEPTH_MAX {
            return Err(fail("include directives are nested too deeply".into()));
        }
        let dir = self.bytes("dir");
        let path = Path::new(&platform::from_bytes(dir)).join(platform::from_bytes(pattern.to_vec()));
        let is_pattern = pattern.iter().any(|b| b"*?[".contains(b));
        let paths = if is_pattern { expand(&path) } else { vec![path] };
        // A pattern's files are one text to Redis: a line must not end up glued to the next file's first.
        for path in paths {
            let text = read_file(&path)?;
            load.depth += 1;
            self.load_text(&path.to_string_lossy(), &text, load)?;
            load.depth -= 1;
        }
        Ok(())
    }
}

/// Without the blanks that may surround a line.
pub(super) fn trim(line: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let start = line.iter().position(|b| !blank(b)).unwrap_or(line.len());
    let end = line.iter().rposition(|b| !blank(b)).map_or(start, |i| i + 1);
    &line[start..end]
}

fn read_file(path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|f| f.take(FILE_BYTES_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(e) => Err(LoadError::Open { path: path.to_string_lossy().into_owned(), reason: os_error(&e) }),
    }
}

/// The paths that a pattern matches, sorted; as glob(3), a leading dot is matched by a dot only.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        if !platform::bytes(part).iter().any(|b| b"*?[".contains(b)) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let matches = |name: &OsStr| {
            let (name, part) = (platform::bytes(name), platform::bytes(part));
            (part.starts_with(b".") || !name.starts_with(b".")) && glob_match(part, name, false)
        };
        let entries = |dir: &PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
        found = found
            .iter()
            .flat_map(|dir| entries(dir).filter(|e| matches(&e.file_name())).map(|e| e.path()))
            .collect();
        found.sort();
    }
    found.retain(|path| path.exists());
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TempDir, config, get};

    fn error(text: &str) -> String {
        config().load_lines("test", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn errors_are_the_text_that_redis_prints() {
        assert_eq!(
            error("# fine\n  port 1x  \n"),
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.2) ***\nReading the configuration file, at line 2\n>>> 'port 1x'\n\
             argument couldn't be parsed into an integer\n"
        );
        for (line, reason) in [
            ("foo 1", "Bad directive or wrong number of arguments"),
            ("port", "wrong number of arguments"),
            ("port 1 2", "wrong number of arguments"),
            ("port 70000", "argument must be between 0 and 65535 inclusive"),
            ("appendonly maybe", "argument must be 'yes' or 'no'"),
            ("maxmemory \"1", "Unbalanced quotes in configuration line"),
            ("maxmemory 1x", "argument must be a memory value"),
            ("unixsocketperm 8", "argument couldn't be parsed as an octal number"),
            ("unixsocketperm 7777", "argument must be between 0 and 777 inclusive"),
            (
                "shutdown-on-sigint a b",
                "argument(s) must be one of the following: default, save, nosave, now, force",
            ),
            ("save 1", "Invalid save parameters"),
            ("bind a a a a a a a a a a a a a a a a a", "Too many bind addresses specified."),
            ("replicaof a 99999", "Invalid master port"),
            ("replicaof a", "wrong number of arguments"),
            ("dir /nonexistent", "No such file or directory"),
            ("appendfilename \"\"", "appendfilename can't be empty"),
            ("loadmodule", "Bad directive or wrong number of arguments"),
            ("sentinel x", "sentinel directive while not in sentinel mode"),
            ("a.b 1 2", "Module config specified without value"),
        ] {
            let text = error(line);
            assert_eq!(text.lines().last(), Some(reason), "{line}");
        }
        assert!(
            error("cluster-enabled yes\nreplicaof a 1")
                .ends_with("***\nreplicaof directive not allowed in cluster mode\n")
        );
        assert_eq!(
            error("include /nonexistent"),
            "Fatal error, can't open config file '/nonexistent': No such file or directory"
        );
    }

    #[test]
    fn save_lines_accumulate_over_a_load() {
        let c = config();
        c.load_lines("test", b"maxmemory 1").unwrap();
        assert_eq!(get(&c, "save"), "3600 1 300 100 60 10000");
        c.load_lines("test", b"save 1 2\nsave 5 6 7 8\n\nsave \"9\" \"9\" ").unwrap();
        assert_eq!(get(&c, "save"), "1 2 5 6 7 8 9 9");
        c.load_lines("test", b"save 1 2\nsave \"\"").unwrap();
        assert_eq!(get(&c, "save"), "");
        assert!(c.save_points().is_empty());
    }

    #[test]
    fn several_arguments_may_come_as_one() {
        let c = config();
        c.load_lines("test", b"shutdown-on-sigint \"now force\"\nbind \"a b\"").unwrap();
        assert_eq!(
            (get(&c, "shutdown-on-sigint"), c.bind()),
            ("now force".into(), vec!["a".into(), "b".into()])
        );
        c.load_lines("test", b"bind \"\"").unwrap();
        assert_eq!(get(&c, "bind"), "");
    }

    #[test]
    fn buffer_limits_accumulate() {
        let c = config();
        c.load_lines(
            "test",
            b"client-output-buffer-limit replica 1mb 2 3\nclient-output-buffer-limit pubsub 0 0 0",
        )
        .unwrap();
        assert_eq!(get(&c, "client-output-buffer-limit"), "normal 0 0 0 slave 1048576 2 3 pubsub 0 0 0");
        let limit = c.client_output_buffer_limits()[1];
        assert_eq!((limit.hard_bytes, limit.soft_bytes, limit.soft_seconds), (1 << 20, 2, 3));
    }

    #[test]
    fn includes_follow_dir_and_patterns() {
        let tmp = TempDir::new();
        tmp.write("a.conf", "port 1\nmaxmemory 5");
        tmp.write("b.conf", "port 2");
        tmp.write(".hidden.conf", "port 3");
        tmp.write("loop", "include loop");
        let c = config();
        let text = format!("dir {}\nPORT 9\ninclude *.conf\ninclude none*\nhz 20", tmp.path().display());
        c.load_lines("test", text.as_bytes()).unwrap();
        assert_eq!((c.int("port"), c.int("hz"), c.mem("maxmemory")), (2, 20, 5));
        c.load_lines("test", b"include a.conf").unwrap();
        assert_eq!(c.int("port"), 1);
        let e = c.load_lines("test", b"include loop").unwrap_err().to_string();
        assert!(e.contains("nested too deeply"), "{e}");
    }

    #[test]
    fn what_only_a_file_says_is_kept_for_its_owner() {
        let c = config();
        let text = "rename-command FLUSHALL \"\"\nuser alice on >p ~* +@all\nloadmodule /m.so a b\nlua-replicate-commands yes";
        c.load_lines("test", text.as_bytes()).unwrap();
        let extras = c.extras();
        assert_eq!(extras.renamed_commands, [(b"FLUSHALL".to_vec(), Vec::new())]);
        assert_eq!((extras.users[0].len(), extras.modules[0].len()), (5, 3));
    }

    #[test]
    fn the_command_line_comes_after_the_file() {
        let tmp = TempDir::new();
        let file = tmp.write("t.conf", "port 1\nhz 30\nsave 1 1");
        let c = config();
        let args = [file.to_str().unwrap(), "--port", "2", "--save", ""];
        c.load(&super::super::parse_command_line(&args).unwrap()).unwrap();
        assert_eq!((c.int("port"), c.int("hz"), get(&c, "save")), (2, 30, String::new()));
        let args = [file.to_str().unwrap(), "--port", "x"];
        let e = config().load(&super::super::parse_command_line(&args).unwrap()).unwrap_err().to_string();
        assert!(e.contains("at line 4\n>>> 'port \"x\"'\n"), "{e}");
    }
}
