//! The manifest's text: which files make up the append-only file.
//!
//! A line a file, `file NAME seq N type T`, T being `b` (base, one at most), `h` (history: rewritten, to be removed) or `i`
//! (incremental, in the order of their numbers). Words come in pairs in any order, unknown ones are skipped; names with
//! blanks or unprintable bytes are quoted; `#` begins a comment line. What is refused is what Redis 7.0 refuses, in its words;
//! and numbers that leave no room for a next one.
use super::layout::{BaseFormat, Layout, Numbered};
use crate::base::platform;
use crate::base::split::{quote, split_args};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

/// Bytes in a line.
const LINE_BYTES_MAX: usize = 1024;
/// Bytes in a manifest that is read: far more than any server writes.
pub const MANIFEST_BYTES_MAX: u64 = 16 << 20;
const SEQ_MAX: u64 = i64::MAX as u64 / 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    base: Option<Entry>,
    /// What was retired last first.
    history: Vec<Entry>,
    incr: Vec<Entry>,
    base_seq: u64,
    incr_seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: OsString,
    pub seq: u64,
}

/// Why a manifest was refused, in Redis's words, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    pub reason: &'static str,
    /// The line's number, from 1, and what it says.
    pub line: Option<(usize, String)>,
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("*** FATAL AOF MANIFEST FILE ERROR ***: ")?;
        if let Some((number, line)) = &self.line {
            write!(f, "Reading the manifest file, at line {number}: >>> '{line}': ")?;
        }
        f.write_str(self.reason)
    }
}

impl std::error::Error for ManifestError {}

const BAD_FORMAT: &str = "Invalid AOF manifest file format";

impl Manifest {
    pub fn base(&self) -> Option<&Entry> {
        self.base.as_ref()
    }

    pub fn incr(&self) -> &[Entry] {
        &self.incr
    }

    pub fn history(&self) -> &[Entry] {
        &self.history
    }

    /// The files to load, in order.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Entry> {
        let all: Vec<&Entry> = self.base.iter().chain(&self.incr).collect();
        all.into_iter()
    }

    /// There is nothing to load.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incr.is_empty()
    }

    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        if text.is_empty() {
            return Err(ManifestError { reason: "Found an empty AOF manifest", line: None });
        }
        let mut manifest = Manifest::default();
        for (i, line) in text.split_inclusive(|&b| b == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            let shown = &line[..line.len().min(LINE_BYTES_MAX)];
            manifest.add_line(line).map_err(|reason| ManifestError {
                reason,
                line: Some((i + 1, shown.trim_ascii().escape_ascii().to_string())),
            })?;
        }
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        // A last line without its end may have lost more than that.
        if line.len() > LINE_BYTES_MAX || !line.ends_with(b"\n") {
            return Err("The AOF manifest file contains too long line");
        }
        let words = split_args(line).map_err(|_| BAD_FORMAT)?;
        if words.len() < 6 || words.len() % 2 != 0 {
            return Err(BAD_FORMAT);
        }
        let (mut name, mut seq, mut kind) = (None, None, None);
        for pair in words.chunks_exact(2) {
            let [key, value] = pair else { continue };
            if key.eq_ignore_ascii_case(b"file") {
                if !is_base_name(value) {
                    return Err("File can't be a path, just a filename");
                }
                name = Some(platform::from_bytes(value.clone()));
            } else if key.eq_ignore_ascii_case(b"seq") {
                seq = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            } else if key.eq_ignore_ascii_case(b"type") {
                kind = value.first().copied();
            }
        }
        let (Some(name), Some(seq @ 1..=SEQ_MAX), Some(kind)) = (name, seq, kind) else {
            return Err(BAD_FORMAT);
        };
        let entry = Entry { name, seq };
        match kind {
            b'b' if self.base.is_some() => return Err("Found duplicate base file information"),
            b'b' => {
                self.base_seq = seq;
                self.base = Some(entry);
            }
            b'h' => self.history.push(entry),
            b'i' if seq <= self.incr_seq => return Err("Found a non-monotonic sequence number"),
            b'i' => {
                self.incr_seq = seq;
                self.incr.push(entry);
            }
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    pub fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let kinds = [(self.base.as_slice(), 'b'), (&self.history, 'h'), (&self.incr, 'i')];
        for (entries, kind) in kinds {
            for entry in entries {
                out.extend_from_slice(b"file ");
                let name = platform::bytes(&entry.name);
                match name.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'\'')) {
                    true => out.extend_from_slice(name),
                    false => quote(&mut out, name),
                }
                let mut rest = String::new();
                let _ = writeln!(rest, " seq {} type {kind}", entry.seq);
                out.extend_from_slice(rest.as_bytes());
            }
        }
        out
    }

    /// A new base takes the place of the old one, which becomes history; the name of the new one.
    pub fn next_base(&mut self, layout: &Layout, format: BaseFormat) -> OsString {
        self.history.splice(0..0, self.base.take());
        self.base_seq += 1;
        let name = layout.base_name(self.base_seq, format);
        self.base = Some(Entry { name: name.clone(), seq: self.base_seq });
        name
    }

    /// A new incremental file at the end; its name.
    pub fn next_incr(&mut self, layout: &Layout) -> &Entry {
        self.incr_seq += 1;
        self.incr.push(Entry { name: layout.incr_name(self.incr_seq), seq: self.incr_seq });
        &self.incr[self.incr.len() - 1]
    }

    /// The incremental files before number `seq` become history.
    pub fn retire_before(&mut self, seq: u64) {
        let retired: Vec<Entry> = self.incr.extract_if(.., |entry| entry.seq < seq).collect();
        self.history.splice(0..0, retired);
    }

    /// All incremental files become history.
    pub fn retire_all(&mut self) {
        self.retire_before(u64::MAX);
    }

    /// Forgets the history that `keep` is false for.
    pub fn retain_history(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.history.retain(keep);
    }

    /// The next file of this kind has a higher number.
    pub(super) fn go_on_behind(&mut self, file: Numbered) {
        match file {
            Numbered::Base(seq) => self.base_seq = self.base_seq.max(seq.min(SEQ_MAX)),
            Numbered::Incr(seq) => self.incr_seq = self.incr_seq.max(seq.min(SEQ_MAX)),
        }
    }

    /// The old single file becomes the base, under the name that it has.
    pub fn take_over(&mut self, name: &OsStr) {
        self.base_seq = self.base_seq.max(1);
        self.base = Some(Entry { name: name.into(), seq: 1 });
    }
}

/// A name and no path. Redis looks for slashes only; none of the others can be a file's name.
fn is_base_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&b'\\')
        && !name.contains(&0)
        && !platform::names_a_drive(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn reason(text: &str) -> String {
        Manifest::parse(text.as_bytes()).unwrap_err().reason.into()
    }

    #[test]
    fn a_manifest_is_read_and_written_back() {
        let text = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                    file appendonly.aof.1.incr.aof seq 1 type h\n\
                    file appendonly.aof.4.incr.aof seq 4 type i\n\
                    file \" file seq \\n\\n.aof .5.incr.aof\" seq 5 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.text(), text.as_bytes());
        assert_eq!(manifest.files().map(|f| f.seq).collect::<Vec<_>>(), [2, 4, 5]);
        assert_eq!(manifest.incr()[1].name, " file seq \n\n.aof .5.incr.aof");
        assert_eq!(manifest.history().len(), 1);
    }

    #[test]
    fn unknown_words_comments_and_order_are_no_matter() {
        let text = "# a comment\nTYPE b new value SEQ 3 file x\r\n#\n";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.text(), b"file x seq 3 type b\n");
        assert!(Manifest::parse(b"# nothing\n").unwrap().is_empty());
    }

    #[test]
    fn what_redis_refuses_is_refused() {
        assert_eq!(reason(""), "Found an empty AOF manifest");
        let bad = "Invalid AOF manifest file format";
        for text in [
            "\n",
            "file a seq 1 type i\n\nfile b seq 2 type i\n",
            "filx a seq 1 type b\n",
            "file a type i\n",
            "file a seq 1 type i odd\n",
            "file a seq 0 type i\n",
            "file a seq x type i\n",
            "file a seq -1 type i\n",
            "file a seq 9223372036854775807 type i\n",
            "file \"a seq 1 type i\n",
            "file a seq 1 type \"\"\n",
        ] {
            assert_eq!(reason(text), bad, "{text}");
        }
        for name in ["a/b", "..", "\"\"", "\"a\\\\b\"", "/", "\"a\\x00\""] {
            let text = format!("file {name} seq 1 type b\n");
            assert_eq!(reason(&text), "File can't be a path, just a filename", "{text}");
        }
        assert_eq!(
            reason("file a seq 1 type b\nfile b seq 2 type b\n"),
            "Found duplicate base file information"
        );
        assert_eq!(
            reason("file a seq 2 type i\nfile b seq 1 type i\n"),
            "Found a non-monotonic sequence number"
        );
        assert_eq!(reason("file a seq 1 type x\n"), "Unknown AOF file type");
        let long = "The AOF manifest file contains too long line";
        assert_eq!(reason("file a seq 1 type b"), long);
        assert_eq!(reason(&format!("file {} seq 1 type b\n", "a".repeat(1024))), long);
        let e = Manifest::parse(b"file a seq 1 type b\nbad\n").unwrap_err();
        assert_eq!(
            e.to_string(),
            "*** FATAL AOF MANIFEST FILE ERROR ***: Reading the manifest file, at line 2: >>> 'bad': Invalid AOF manifest file format"
        );
    }

    #[test]
    fn a_rewrite_turns_what_was_into_history() {
        let at = Layout::new(Path::new("/d"), "a", "x");
        let mut m = Manifest::default();
        m.next_base(&at, BaseFormat::Rdb);
        m.next_incr(&at);
        m.next_incr(&at);
        let cut = m.next_incr(&at).seq;
        assert_eq!(m.next_base(&at, BaseFormat::Aof), "x.2.base.aof");
        m.retire_before(cut);
        let text = "file x.2.base.aof seq 2 type b\nfile x.1.incr.aof seq 1 type h\n\
                    file x.2.incr.aof seq 2 type h\nfile x.1.base.rdb seq 1 type h\nfile x.3.incr.aof seq 3 type i\n";
        assert_eq!(String::from_utf8(m.text()).unwrap(), text);
        m.retain_history(|_| false);
        m.retire_all();
        assert_eq!(m.text(), b"file x.2.base.aof seq 2 type b\nfile x.3.incr.aof seq 3 type h\n");
        assert_eq!(m.next_incr(&at).name, "x.4.incr.aof");
    }

    fn name() -> impl Strategy<Value = OsString> {
        let byte = prop_oneof![any::<u8>(), Just(b' '), Just(b'"'), Just(b'\''), Just(b'#'), b'a'..=b'z'];
        proptest::collection::vec(byte, 1..20)
            .prop_filter("no path", |name| is_base_name(name))
            .prop_map(platform::from_bytes)
    }

    proptest! {
        #[test]
        fn any_manifest_reads_back(
            base in proptest::option::of((name(), 1..=SEQ_MAX)),
            history in proptest::collection::vec((name(), 1..=SEQ_MAX), 0..3),
            incr in proptest::collection::btree_map(1..=SEQ_MAX, name(), 0..4),
        ) {
            let entry = |(name, seq)| Entry { name, seq };
            let m = Manifest {
                base_seq: base.as_ref().map_or(0, |b| b.1),
                incr_seq: incr.keys().next_back().copied().unwrap_or(0),
                base: base.map(entry),
                history: history.into_iter().map(entry).collect(),
                incr: incr.into_iter().map(|(seq, name)| Entry { name, seq }).collect(),
            };
            let text = m.text();
            if text.is_empty() {
                prop_assert!(Manifest::parse(&text).is_err());
            } else {
                prop_assert_eq!(Manifest::parse(&text), Ok(m));
            }
        }

        #[test]
        fn any_text_is_safe(words in proptest::collection::vec(prop_oneof![
            Just("file"), Just("seq"), Just("type"), Just("b"), Just("i"), Just("h"), Just("1"), Just("2"), Just(" "),
            Just("\n"), Just("\""), Just("#"), Just("\\"), Just("/"), Just("x"), Just("\0"),
        ], 0..60)) {
            let text = words.join(" ");
            if let Ok(m) = Manifest::parse(text.as_bytes()) {
                let again = m.text();
                prop_assert!(again.is_empty() || Manifest::parse(&again) == Ok(m));
            }
        }

        #[test]
        fn any_bytes_are_safe(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&text);
        }
    }
}
