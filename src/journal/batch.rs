//! The effects of one or more commands, encoded, before they are appended.
use crate::base::num::{fmt_u64, write_u64};

/// Effects that are to be appended together. Each *unit* is atomic to whoever replays it: one command as it is, several
/// in a MULTI...EXEC. The buffer is kept, so that a thread's later batches cost no allocation.
#[derive(Default, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where the open unit begins, and how many commands it has.
    unit: usize,
    commands: usize,
    /// The database of the first effect, and of the last.
    first_db: usize,
    db: usize,
}

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// A buffer that one giant value has grown is not kept.
const KEEP_BYTES: usize = 64 << 10;

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a command that changes `db` to the open unit.
    pub fn push<'a>(&mut self, db: usize, args: impl ExactSizeIterator<Item = &'a [u8]>) {
        if self.bytes.is_empty() {
            self.first_db = db;
        } else if self.db != db {
            // Within a unit this stands inside its MULTI, as Redis writes it too.
            put_select(&mut self.bytes, db);
        }
        self.db = db;
        self.commands += 1;
        put_command(&mut self.bytes, args);
    }

    /// Closes the open unit.
    pub fn seal(&mut self) {
        if self.commands > 1 {
            self.bytes.splice(self.unit..self.unit, MULTI.iter().copied());
            self.bytes.extend_from_slice(EXEC);
        }
        self.unit = self.bytes.len();
        self.commands = 0;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        debug_assert_eq!(self.commands, 0, "a unit is closed before it is appended");
        &self.bytes
    }

    pub(super) fn dbs(&self) -> (usize, usize) {
        (self.first_db, self.db)
    }

    /// Forgets what was gathered.
    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
        (self.unit, self.commands) = (0, 0);
    }
}

/// A command in RESP.
pub(super) fn put_command<'a>(out: &mut Vec<u8>, args: impl ExactSizeIterator<Item = &'a [u8]>) {
    put_length(out, b'*', args.len());
    for arg in args {
        put_length(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

pub(super) fn put_select(out: &mut Vec<u8>, db: usize) {
    put_command(out, [&b"SELECT"[..], fmt_u64(&mut [0; 20], db as u64)].into_iter());
}

fn put_length(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    if n < 10 {
        out.push(b'0' + n as u8);
    } else {
        write_u64(out, n as u64);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> impl ExactSizeIterator<Item = &[u8]> {
        text.split(' ').map(str::as_bytes).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn a_unit_of_one_stands_alone_and_a_unit_of_two_is_a_transaction() {
        let mut batch = Batch::default();
        batch.push(0, words("SET a 1"));
        batch.seal();
        batch.push(0, words("DEL b"));
        batch.push(3, words("SET c 0123456789"));
        batch.seal();
        let text = String::from_utf8(batch.bytes().to_vec()).unwrap();
        let plain: Vec<&str> =
            text.split("\r\n").filter(|w| !w.starts_with(['*', '$']) && !w.is_empty()).collect();
        assert_eq!(
            plain.join(" "),
            "SET a 1 MULTI DEL b SELECT 3 SET c 0123456789 EXEC",
            "the second unit is whole, and says where it goes"
        );
        assert_eq!(batch.dbs(), (0, 3));
        batch.clear();
        assert!(batch.is_empty());
    }

    #[test]
    fn lengths_are_those_of_the_arguments() {
        let mut batch = Batch::default();
        batch.push(0, [&b"SET"[..], b"", b"0123456789a"].into_iter());
        batch.seal();
        assert_eq!(batch.bytes(), b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$11\r\n0123456789a\r\n");
    }
}
