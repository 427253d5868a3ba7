//! The house's rules that a compiler does not know: layers, headers, what `ARCHITECTURE.md` says.
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The layers, lowest first. A folder imports only from lower ones.
const LEVELS: &[&[&str]] = &[
    &["base"],
    &["resp", "value"],
    &["keyspace", "journal"],
    &["command"],
    &["txn", "pubsub", "blocking", "script", "acl", "config", "rdb", "aof"],
    &["repl", "cluster"],
    &["server"],
    &["net", "kafka", "gateway"],
    &["embed", "program", "lib", "main"],
];

/// Imports within a level, each with its reason.
const SAME_LEVEL: &[(&str, &str, &str)] = &[
    ("program", "embed", "the program is a server as an embedder builds one, with a process around it"),
    ("main", "program", "main.rs is only the program's entry"),
    ("lib", "embed", "the crate's front door is the embedding API"),
];

struct File {
    /// From the package's root, with `/`.
    path: String,
    text: String,
    /// Without comments, strings and test modules.
    code: String,
}

impl File {
    /// The first-level folder, or the name of a file that stands beside the folders.
    fn folder(&self) -> &str {
        let rest = self.path.strip_prefix("src/").expect("a source file");
        rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(under: &str) -> Vec<File> {
    fn walk(dir: &Path, paths: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("a folder of the package") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, paths);
            } else if path.extension().is_some_and(|e| e == "rs") {
                paths.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root().join(under), &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "{under} has no source");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("UTF-8 source");
        let code = source::without_tests(&source::code(&text));
        let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
        File { path, text, code }
    };
    paths.into_iter().map(read).collect()
}

fn level(folder: &str) -> Option<usize> {
    LEVELS.iter().position(|names| names.contains(&folder))
}

fn assert_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Every import of one first-level folder by another: (file:line, from, to).
fn imports(files: &[File]) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for file in files.iter().filter(|f| !is_test_module(f)) {
        let from = file.folder();
        let mut names = source::names_after(&file.code, "crate::");
        names.extend(source::names_after(&file.code, "tidewater::"));
        // `lib.rs` names its modules bare.
        if from == "lib" {
            names.extend(source::names_after(&file.code, "pub use "));
        }
        for (line, to) in names {
            // A name at the crate's root that is no folder is re-exported by lib.rs.
            let to =
                if root().join("src").join(&to).exists() || level(&to).is_some() { to } else { "lib".into() };
            if to != from {
                all.push((format!("{}:{line}", file.path), from.to_owned(), to));
            }
        }
    }
    all
}

fn is_test_module(file: &File) -> bool {
    file.path.ends_with("/tests.rs")
}

#[test]
fn folders_import_only_from_lower_ones() {
    let files = rust_files("src");
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    let imports = imports(&files);
    assert!(imports.len() > 100, "the check sees few imports: {}", imports.len());
    for (at, from, to) in imports {
        let (Some(mine), Some(theirs)) = (level(&from), level(&to)) else {
            wrong.push(format!("{at}: {from} or {to} has no level"));
            continue;
        };
        if mine == theirs && SAME_LEVEL.iter().any(|&(f, t, _)| (f, t) == (from.as_str(), to.as_str())) {
            used.insert((from, to));
        } else if mine <= theirs {
            wrong.push(format!("{at}: {from} (level {mine}) imports {to} (level {theirs})"));
        }
    }
    for &(from, to, _) in SAME_LEVEL {
        if !used.contains(&(from.to_owned(), to.to_owned())) {
            wrong.push(format!("the allowlist's {from} -> {to} is used no more"));
        }
    }
    assert_none("layers", wrong);
}

#[test]
fn no_path_climbs_out_of_its_folder() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        // Modules above this one, the crate's root included; a nested module only climbs further inside.
        let depth = file.path.matches('/').count() - usize::from(file.path.ends_with("/mod.rs"));
        let climb = "super::".repeat(depth.max(1));
        if depth > 0 && file.code.contains(&climb) && !is_test_module(&file) {
            wrong.push(format!("{}: `{climb}` reaches the crate's root", file.path));
        }
    }
    assert_none("write `crate::` for another folder", wrong);
}

#[test]
fn the_allowlist_is_acyclic_and_within_levels() {
    let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for &(from, to, reason) in SAME_LEVEL {
        assert!(level(from).is_some() && level(from) == level(to), "{from} -> {to} is not within a level");
        assert!(reason.len() > 10, "{from} -> {to} has no reason");
        below.entry(from).or_default().push(to);
    }
    for &start in below.keys() {
        let mut reached = BTreeSet::new();
        let mut todo = below[start].clone();
        while let Some(next) = todo.pop() {
            assert_ne!(next, start, "a cycle through {start}");
            if reached.insert(next) {
                todo.extend(below.get(next).into_iter().flatten());
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let mut wrong = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        if !file.text.starts_with("//! ") {
            wrong.push(file.path);
        }
    }
    assert_none("files that do not begin with `//!`", wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, or this file would find itself.
    let marks = [["todo", "!"].concat(), ["unimplemented", "!"].concat(), ["#[ig", "nore"].concat()];
    let mut wrong = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let code = source::code(&file.text);
        for mark in marks.iter().filter(|m| code.contains(m.as_str())) {
            wrong.push(format!("{}: {mark}", file.path));
        }
    }
    assert_none("unfinished", wrong);
}

#[test]
fn unsafe_code_is_opened_and_justified() {
    let files = rust_files("src");
    let allow = ["allow(unsafe", "_code)"].concat();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|f| source::has_word(&source::code(&f.text), "unsafe")) {
        seen += 1;
        // `#![allow]` of a module holds for its submodules.
        let opens =
            |path: &str| files.iter().any(|f| f.path == path && source::code(&f.text).contains(&allow));
        let mut at = file.path.clone();
        let mut open = opens(&at);
        while let (false, Some((parent, _))) = (open, at.rsplit_once('/')) {
            open = opens(&format!("{parent}.rs")) || opens(&format!("{parent}/mod.rs"));
            at = parent.to_owned();
        }
        if !open {
            wrong.push(format!("{}: unsafe, but not opened", file.path));
        }
        if !file.text.contains("SAFETY:") {
            wrong.push(format!("{}: unsafe without a SAFETY line", file.path));
        }
    }
    assert!(seen > 3, "the check sees no unsafe code");
    assert_none("unsafe", wrong);
}

/// What stands between backticks in `ARCHITECTURE.md`.
fn named() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_map_names_what_exists() {
    let is_path = |name: &String| {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        plain
            && (name.contains('/')
                || name.ends_with(".rs")
                || name.ends_with(".md")
                || name.ends_with(".toml"))
    };
    let paths: Vec<String> = named().into_iter().filter(is_path).collect();
    assert!(paths.len() > 20, "ARCHITECTURE.md names few paths: {paths:?}");
    let gone = paths.into_iter().filter(|p| !root().join(p).exists()).collect();
    assert_none("ARCHITECTURE.md names what is not there", gone);
}

#[test]
fn the_map_names_every_folder() {
    let named = named();
    let mut missing = Vec::new();
    for entry in std::fs::read_dir(root().join("src")).expect("src") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if entry.path().is_dir() { format!("src/{name}/") } else { format!("src/{name}") };
        if level(name.trim_end_matches(".rs")).is_none() {
            missing.push(format!("{path} has no level"));
        }
        if !named.contains(&path) {
            missing.push(format!("{path} is not in ARCHITECTURE.md"));
        }
    }
    assert_none("the map", missing);
}

#[test]
fn the_map_names_every_dependency() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let named = named();
    let mut missing = Vec::new();
    let mut in_dependencies = false;
    let mut seen = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (in_dependencies, line.split_once('=')) {
            seen += 1;
            let name = name.trim().to_owned();
            if !line.starts_with(['#', ' ']) && !named.contains(&name) {
                missing.push(name);
            }
        }
    }
    assert!(seen > 5, "Cargo.toml is not read as it is written");
    assert_none("dependencies that ARCHITECTURE.md does not name", missing);
}
