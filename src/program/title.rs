//! The process's title, as `ps` shows it (`set-proc-title`, `proc-title-template`): written over the memory in which the
//! system laid the arguments and the environment, which is where it looks.
#![allow(unsafe_code)]
use std::ops::Range;
use std::ptr;

use parking_lot::Mutex;

use crate::config::Config;

#[cfg(target_os = "linux")]
unsafe extern "C" {
    static mut environ: *mut *mut libc::c_char;
}

/// The right to write over the process's arguments.
pub(super) struct Title {
    name: String,
    /// Where they lay: addresses, exclusively this value's.
    area: Mutex<Range<usize>>,
}

impl Title {
    /// Moves the environment elsewhere, for longer titles. Called once, with `name` as the program was called, while no
    /// other thread runs. `None` where the system does not tell where the arguments are.
    #[cfg(target_os = "linux")]
    pub(super) fn claim(name: &str) -> Option<Self> {
        let area = area(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
        // SAFETY: no other thread reads or changes the environment meanwhile, so `environ` is a valid array of strings
        // that a null pointer ends, and its entries may be exchanged for equal strings.
        unsafe {
            let mut entry = environ;
            while !entry.is_null() && !(*entry).is_null() {
                if area.contains(&(*entry).expose_provenance()) {
                    let copy = libc::strdup(*entry);
                    if copy.is_null() {
                        return None;
                    }
                    *entry = copy;
                }
                entry = entry.add(1);
            }
        }
        Some(Self { name: name.to_owned(), area: Mutex::new(area) })
    }

    /// Only Linux tells where the arguments are.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn claim(_name: &str) -> Option<Self> {
        None
    }

    /// Shows what the template says now.
    pub(super) fn show(&self, config: &Config) {
        let title = expand(&config.str("proc-title-template"), |variable| match variable {
            "title" => self.name.clone(),
            "listen-addr" => listen_addr(config),
            "server-mode" if config.bool("cluster-enabled") => "[cluster]".into(),
            "port" | "tls-port" => config.int(variable).to_string(),
            "unixsocket" => config.opt_str("unixsocket").unwrap_or_default(),
            "config-file" => config.config_file().map(|f| f.display().to_string()).unwrap_or_default(),
            _ => String::new(),
        });
        let area = self.area.lock();
        let len = title.len().min(area.len().saturating_sub(1));
        let start = ptr::with_exposed_provenance_mut::<u8>(area.start);
        // SAFETY: the area is the process's own writable memory for as long as it runs. The environment has left it, and
        // whoever still has a pointer to an argument finds a string there: the last byte stays NUL.
        unsafe {
            ptr::write_bytes(start, 0, area.len());
            ptr::copy_nonoverlapping(title.as_ptr(), start, len);
        }
    }
}

/// Where arguments and environment lie, from the fields of /proc/self/stat; see proc_pid_stat(5).
#[cfg(any(test, target_os = "linux"))]
fn area(stat: &str) -> Option<Range<usize>> {
    // The second field is a name, in parentheses, of any characters; the 48th is the first of interest.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(45).map_while(|f| f.parse::<usize>().ok());
    let (arguments, environment) = (fields.next()?..fields.next()?, fields.next()?..fields.next()?);
    let end = if arguments.end == environment.start { environment.end } else { arguments.end };
    (arguments.start > 0 && end > arguments.start).then_some(arguments.start..end)
}

fn listen_addr(config: &Config) -> String {
    match (config.int("port"), config.int("tls-port")) {
        (0, 0) => config.opt_str("unixsocket").unwrap_or_default(),
        (port, tls_port) => {
            let bind = config.str("bind");
            let host = bind.split(' ').next().filter(|host| !host.is_empty()).unwrap_or("*");
            format!("{host}:{}", if port > 0 { port } else { tls_port })
        }
    }
}

/// Replaces each `{variable}`; the template was checked when it was set.
fn expand(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut title = String::new();
    let mut rest = template;
    while let Some((before, (variable, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        title.push_str(before);
        title.push_str(&value(variable));
        rest = after;
    }
    title.push_str(rest);
    title.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_expand() {
        let value = |variable: &str| format!("<{variable}>");
        assert_eq!(expand("a {title} {port}x {", value), "a <title> <port>x {");
        assert_eq!(expand("{title} {mode}", |v| if v == "mode" { String::new() } else { "t".into() }), "t");
    }

    #[test]
    fn the_area_comes_from_the_fields_behind_the_name() {
        let fields = |tail: &str| format!("7 (a ) b) S {}{tail}", "1 ".repeat(44));
        assert_eq!(area(&fields("100 140 140 300 0")), Some(100..300));
        assert_eq!(area(&fields("100 140 160 300 0")), Some(100..140));
        assert_eq!(area(&fields("0 0 0 0 0")), None);
        assert_eq!(area(&fields("100")), None);
        assert_eq!(area("nothing"), None);
    }
}
