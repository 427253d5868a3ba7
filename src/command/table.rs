//! The table of all commands: by name, by number.
use std::collections::HashMap;

use crate::command::Command;

/// All commands of a server, subcommands included; a command's number is its index.
pub struct CommandTable {
    rows: Vec<Command>,
    /// Names of up to 16 bytes, folded to lower case, open addressing.
    short: Vec<Option<Short>>,
    long: HashMap<String, usize>,
    /// Subcommands by (parent, lower-case word).
    subs: HashMap<(usize, String), usize>,
}

#[derive(Clone, Copy)]
struct Short {
    name: u128,
    len: u8,
    id: u32,
}

const SHORT_MAX: usize = 16;

/// A short name in lower case, as a number.
#[inline]
fn fold(name: &[u8]) -> u128 {
    // Pieces that overlap, instead of a copy whose length the compiler does not know.
    let n = name.len();
    let wide = |bytes: &[u8; 8]| u128::from(u64::from_le_bytes(*bytes));
    let half = |bytes: &[u8; 4]| u128::from(u32::from_le_bytes(*bytes));
    let bytes = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => wide(first) | wide(last) << (8 * (n - 8)),
        _ => match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => half(first) | half(last) << (8 * (n - 4)),
            _ => (0..n).fold(0, |bytes, i| bytes | u128::from(name[i]) << (8 * i)),
        },
    };
    const EACH: u128 = u128::MAX / 255;
    // The top bit of each byte: whether its lower seven are at least 'A', and whether they are beyond 'Z'.
    let low = bytes & (EACH * 0x7f);
    let letters = (low + EACH * (0x80 - b'A' as u128)) & !(low + EACH * (0x7f - b'Z' as u128));
    bytes | (letters & !bytes & (EACH * 0x80)) >> 2
}

fn slot_of(key: u128, slots: usize) -> usize {
    let folded = (key as u64) ^ ((key >> 64) as u64).rotate_left(23);
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & (slots - 1)
}

impl CommandTable {
    /// `renames`: (name, new name), an empty new name removes the command.
    pub fn new(commands: Vec<Command>, renames: &[(String, String)]) -> Self {
        let mut table = CommandTable {
            rows: Vec::new(),
            short: vec![None; 1024],
            long: HashMap::new(),
            subs: HashMap::new(),
        };
        for mut command in commands {
            let subs = std::mem::take(&mut command.subcommands);
            let id = table.rows.len();
            command.id = id;
            command.only_key = command.find_only_key();
            let name = command.name.to_owned();
            let group = command.group;
            table.rows.push(command);
            let rename = renames.iter().find(|(from, _)| from.eq_ignore_ascii_case(&name));
            let public = rename.map_or(name.clone(), |(_, to)| to.to_ascii_lowercase());
            if !public.is_empty() {
                table.add_name(&public, id);
            }
            for mut sub in subs {
                let sub_id = table.rows.len();
                sub.id = sub_id;
                sub.only_key = sub.find_only_key();
                sub.parent = Some(id);
                sub.group = group;
                sub.full_name = format!("{name}|{}", sub.name);
                table.subs.insert((id, sub.name.to_owned()), sub_id);
                table.rows.push(sub);
            }
        }
        table
    }

    fn add_name(&mut self, name: &str, id: usize) {
        if name.len() > SHORT_MAX {
            self.long.insert(name.to_owned(), id);
            return;
        }
        let key = fold(name.as_bytes());
        let mut at = slot_of(key, self.short.len());
        while self.short[at].is_some() {
            at = (at + 1) & (self.short.len() - 1);
        }
        self.short[at] = Some(Short { name: key, len: name.len() as u8, id: id as u32 });
        // A renamed command keeps its row; errors use the public name.
        self.rows[id].full_name = name.to_owned();
    }

    /// The top-level command of this name, in any case.
    pub fn find(&self, name: &[u8]) -> Option<&Command> {
        if name.len() > SHORT_MAX {
            let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
            return self.long.get(&name).map(|&id| &self.rows[id]);
        }
        let key = fold(name);
        let mut at = slot_of(key, self.short.len());
        while let Some(short) = &self.short[at] {
            // The length tells a name from the same with zeros behind it.
            if short.name == key && usize::from(short.len) == name.len() {
                return Some(&self.rows[short.id as usize]);
            }
            at = (at + 1) & (self.short.len() - 1);
        }
        None
    }

    /// The top-level command of this lower-case name whatever it has been renamed to. Not for hot paths.
    pub fn original(&self, name: &[u8]) -> Option<&Command> {
        self.iter().find(|c| c.name.as_bytes() == name)
    }

    pub fn find_sub(&self, parent: &Command, word: &[u8]) -> Option<&Command> {
        let word = std::str::from_utf8(word).ok()?.to_ascii_lowercase();
        self.subs.get(&(parent.id, word)).map(|&id| &self.rows[id])
    }

    /// Whether the command only groups subcommands.
    pub fn is_container(&self, command: &Command) -> bool {
        self.rows.get(command.id + 1).is_some_and(|next| next.parent == Some(command.id))
    }

    pub fn subcommands<'a>(&'a self, command: &'a Command) -> impl Iterator<Item = &'a Command> {
        self.rows[command.id + 1..].iter().take_while(|c| c.parent == Some(command.id))
    }

    pub fn get(&self, id: usize) -> &Command {
        &self.rows[id]
    }

    /// Every row, subcommands included.
    pub fn rows(&self) -> &[Command] {
        &self.rows
    }

    /// The top-level commands.
    pub fn iter(&self) -> impl Iterator<Item = &Command> {
        self.rows.iter().filter(|c| c.parent.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn names_fold_to_lower_case_and_nothing_else() {
        for len in 0..=super::SHORT_MAX {
            for (at, byte) in (0..len).flat_map(|at| (0..=255u8).map(move |byte| (at, byte))) {
                let mut name = *b"aBcDeFgHiJkLmNoP";
                name[at] = byte;
                let mut lower = [0; 16];
                lower[..len].copy_from_slice(&name[..len].to_ascii_lowercase());
                assert_eq!(fold(&name[..len]), u128::from_le_bytes(lower), "{len} {at} {byte}");
            }
        }
    }
}
