//! Commands at random, out of templates.
use tidewater::base::rng::Rng;

use super::{stream_groups, streams, templates};
use crate::support::wire::Args;

/// How two replies are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    Bytes,
    Unordered,
    Pairs,
    Shape,
    Seconds,
    Millis,
    Encoding,
}

/// A command of the stream.
#[derive(Clone, Debug)]
pub struct Step {
    pub connection: usize,
    pub args: Args,
    pub compare: Compare,
    /// Time must pass after it, and this key be looked at, before anything else.
    pub settle: Option<Vec<u8>>,
}

struct Template {
    compare: Compare,
    mangle: bool,
    text: &'static str,
}

pub struct Generator {
    pub rng: Rng,
    families: Vec<(u64, Vec<Template>)>,
    in_multi: [bool; 2],
    serial: u64,
}

fn parse(text: &'static str) -> Vec<Template> {
    let template = |line: &'static str| {
        let compare = match line.as_bytes()[0] {
            b'=' => Compare::Bytes,
            b'~' => Compare::Unordered,
            b'2' => Compare::Pairs,
            b'?' => Compare::Shape,
            b't' => Compare::Seconds,
            b'T' => Compare::Millis,
            b'e' => Compare::Encoding,
            other => panic!("no way to compare: {other}"),
        };
        Template { compare, mangle: !line[1..].starts_with('!'), text: line[2..].trim() }
    };
    text.lines().map(template).collect()
}

const MEMBERS: &[&str] =
    &["a", "b", "c", "aa", "ab", "m1", "m2", "m3", "x", "y", "z", "zz", "Z", "member:with:more", ""];
const EDGES: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "9223372036854775806",
    "4294967296",
    "2147483648",
    "-2147483649",
    "32768",
    "65535",
    "-129",
];
const NOT_NUMBERS: &[&str] =
    &["abc", "", " 1", "1 ", "1.5", "01", "+1", "-0", "0x10", "1e3", "--1", "99999999999999999999"];
const FLOATS: &[&str] = &[
    "0.1",
    "-0.25",
    "3.0e3",
    "1.5",
    "5",
    "-7",
    "1e-5",
    "123456789.125",
    "0.3333333333",
    "-3.14159",
    "1e17",
    "nan",
    "inf",
    "-inf",
    "abc",
    "",
    "1e400",
    "00.5",
    "+2",
    "3.",
];
const BIT_TYPES: &[&str] = &["u8", "i8", "u1", "i64", "u63", "u64", "i5", "u32", "i65", "x8", "u0", "i16"];

impl Generator {
    pub fn new(seed: u64) -> Self {
        let families = [
            (14, templates::STRINGS),
            (8, templates::BITMAPS),
            (16, templates::LISTS),
            (14, templates::SETS),
            (20, templates::ZSETS),
            (14, templates::HASHES),
            (6, templates::GEO),
            (6, templates::HYPERLOGLOGS),
            (14, templates::GENERIC),
            (3, templates::TRANSACTIONS),
            (2, templates::OTHER),
            (1, templates::BLOCKING),
            (16, streams::STREAMS),
            (16, stream_groups::GROUPS),
        ];
        Self {
            rng: Rng::from_seed(seed),
            families: families.into_iter().map(|(weight, text)| (weight, parse(text))).collect(),
            in_multi: [false; 2],
            serial: 0,
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.below(from.len() as u64) as usize]
    }

    fn below(&mut self, n: u64) -> i64 {
        self.rng.below(n) as i64
    }

    pub fn step(&mut self, connection: usize) -> Step {
        self.serial += 1;
        if self.in_multi[connection] && self.chance(15) {
            self.in_multi[connection] = false;
            return self.plain(connection, &["EXEC"]);
        }
        if self.serial.is_multiple_of(499) && !self.in_multi[connection] {
            let key = self.key('k');
            let px = self.pick(&["PEXPIRE", "PEXPIREAT"]);
            let mut step = self.plain(connection, &[px, "", "1"]);
            step.args[1] = key.clone();
            step.settle = Some(key);
            return step;
        }
        let total: u64 = self.families.iter().map(|f| f.0).sum();
        let mut at = self.rng.below(total);
        let family = self
            .families
            .iter()
            .position(|f| {
                let here = at < f.0;
                at = at.saturating_sub(f.0);
                here
            })
            .expect("within the total");
        let n = self.rng.below(self.families[family].1.len() as u64) as usize;
        let Template { compare, mangle, text } = self.families[family].1[n];
        let mut args = Args::new();
        self.expand(text, &mut args);
        if mangle && self.chance(4) {
            self.mangle(&mut args);
        }
        match args[0].to_ascii_uppercase().as_slice() {
            b"MULTI" if args.len() == 1 => self.in_multi[connection] = true,
            b"EXEC" | b"DISCARD" if args.len() == 1 => self.in_multi[connection] = false,
            _ => {}
        }
        Step { connection, args, compare, settle: None }
    }

    fn plain(&self, connection: usize, words: &[&str]) -> Step {
        let args = words.iter().map(|w| w.as_bytes().to_vec()).collect();
        Step { connection, args, compare: Compare::Bytes, settle: None }
    }

    /// A command that is not quite right.
    fn mangle(&mut self, args: &mut Args) {
        let last = args.len() - 1;
        match self.below(4) {
            0 if last > 0 => {
                args.pop();
            }
            1 => args.push(self.value()),
            2 if last > 0 => {
                let at = 1 + self.below(last as u64) as usize;
                args[at] = self.value();
            }
            _ => args[0].make_ascii_lowercase(),
        }
    }

    fn expand(&mut self, text: &str, out: &mut Args) {
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            if let Some(choice) = rest.strip_prefix('[') {
                let (inside, after) = matching(choice);
                let options = split_options(inside);
                let chosen = self.pick(&options);
                self.expand(chosen, out);
                rest = after.trim_start();
                continue;
            }
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            match word.strip_prefix('$').filter(|name| !name.is_empty()) {
                Some(name) => match name.strip_suffix('*') {
                    Some(name) => {
                        // Few mostly; sometimes enough to cross what is packed.
                        let n = if self.chance(5) { 5 + self.below(25) } else { 1 + self.below(3) };
                        (0..n).for_each(|_| self.fill(name, out));
                    }
                    None => self.fill(name, out),
                },
                None => out.push(word.as_bytes().to_vec()),
            }
            rest = after.trim_start();
        }
    }

    fn fill(&mut self, name: &str, out: &mut Args) {
        let arg = match name {
            "s" | "l" | "S" | "z" | "y" | "h" | "x" | "g" | "p" | "k" => {
                let kind = name.chars().next().unwrap_or('k');
                self.key(kind)
            }
            "v" => self.value(),
            "sv" => {
                self.fill("s", out);
                self.value()
            }
            "fv" => {
                self.fill("f", out);
                self.value()
            }
            "sm" => {
                self.fill("sc", out);
                self.member()
            }
            "ym" => {
                out.push(b"0".to_vec());
                self.member()
            }
            "m" | "f" => self.member(),
            "im" => (self.below(40) - 5).to_string().into_bytes(),
            "n" => self.number(),
            // No time that could pass meanwhile.
            "xn" => loop {
                let n = self.number();
                let small = |n: &[u8]| {
                    std::str::from_utf8(n).ok()?.parse().ok().filter(|n| (1..1_000_000).contains(n))
                };
                if small(&n).is_none() {
                    break n;
                }
            },
            "i" => (self.below(26) - 10).to_string().into_bytes(),
            "c" => {
                if self.chance(4) {
                    self.number()
                } else {
                    self.below(8).to_string().into_bytes()
                }
            }
            "w" => self.pick(&["1", "2", "0", "-1", "0.5"]).into(),
            "ex" => (1000 + self.below(1000) * 100).to_string().into_bytes(),
            "px" => (1_000_000 + self.below(1000) * 100_000).to_string().into_bytes(),
            "at" => (4_000_000_000 + self.below(1000) * 1000).to_string().into_bytes(),
            "off" => {
                if self.chance(5) {
                    self.number()
                } else {
                    self.below(120).to_string().into_bytes()
                }
            }
            "bit" => {
                if self.chance(6) {
                    self.pick(&["4294967296", "-1", "abc", "5000", "40000"]).into()
                } else {
                    self.below(200).to_string().into_bytes()
                }
            }
            "bt" => self.pick(BIT_TYPES).into(),
            "bo" => {
                let n = self.below(70);
                match self.below(10) {
                    0 => b"-1".to_vec(),
                    1..4 => format!("#{}", n / 8).into_bytes(),
                    _ => n.to_string().into_bytes(),
                }
            }
            "fl" => self.pick(FLOATS).into(),
            "id" => match self.below(20) {
                0 => format!("{}-*", self.below(12)).into_bytes(),
                1 => self.below(12).to_string().into_bytes(),
                2 => {
                    self.pick(&["0-0", "-", "+", "1-", "-1-1", "01-02", "18446744073709551615-1", "x"]).into()
                }
                3..8 => format!("{}-{}", 1 + self.below(12), self.below(4)).into_bytes(),
                // Ascending, so that most of them can be added.
                _ => format!("{}-{}", 1 + self.serial / 400, self.serial % 400).into_bytes(),
            },
            // One of the last so many.
            "od" => {
                let serial = self.serial.saturating_sub(self.rng.below(400));
                format!("{}-{}", 1 + serial / 400, serial % 400).into_bytes()
            }
            "ib" => match self.below(8) {
                0 => b"-".to_vec(),
                1 => b"+".to_vec(),
                n => {
                    let mut id = if n < 4 { b"(".to_vec() } else { Vec::new() };
                    let mut rest = Args::new();
                    self.fill(if n % 3 == 0 { "id" } else { "od" }, &mut rest);
                    id.extend(rest.concat());
                    id
                }
            },
            "sc" => self.score(),
            "ll" => {
                out.push(self.degrees(12, 180));
                self.degrees(37, 85)
            }
            "gm" => {
                self.fill("ll", out);
                self.member()
            }
            "rd" => match self.below(12) {
                0 => self.pick(&["0", "-1", "abc", "1e7", "inf", "0.001"]).into(),
                1..6 => format!("{}", self.below(4_000_000)).into_bytes(),
                _ => format!("{:.2}", self.below(90_000) as f64 / 100.0).into_bytes(),
            },
            "un" => match self.below(30) {
                0 => self.value(),
                _ => self.pick(&["m", "m", "km", "km", "KM", "ft", "mi"]).into(),
            },
            "gf" => return self.expand("[FROMMEMBER $m|FROMLONLAT $ll]", out),
            "gb" => return self.expand("[BYRADIUS $rd $un|BYBOX $rd $rd $un]", out),
            "go" => return self.expand(templates::GEO_OPTIONS, out),
            "sr" => {
                let score = self.score();
                match self.below(8) {
                    0 => b"-inf".to_vec(),
                    1 => b"+inf".to_vec(),
                    2 | 3 => [b"(".as_slice(), &score].concat(),
                    _ => score,
                }
            }
            "lx" => match self.below(8) {
                0 | 1 => b"-".to_vec(),
                2 | 3 => b"+".to_vec(),
                4 => self.member(),
                n => [if n == 5 { b"(".as_slice() } else { b"[" }, &self.member()].concat(),
            },
            "pat" => self
                .pick(&["*", "s:*", "?:1", "[sl]:[0-3]", "*1", "\\*", "h:?", "nothing", "[^s]:*", "z:[1-"])
                .into(),
            other => panic!("no such argument: {other}"),
        };
        out.push(arg);
    }

    fn key(&mut self, kind: char) -> Vec<u8> {
        // The order of members by name is defined among equal scores only: such sets stay among themselves.
        let other = kind != 'y' && self.chance(3);
        let kind = if kind == 'k' || other { self.pick(&['s', 'l', 'S', 'z', 'h', 'x']) } else { kind };
        format!("{kind}:{}", self.below(5)).into_bytes()
    }

    fn member(&mut self) -> Vec<u8> {
        match self.below(30) {
            0..20 => self.pick(MEMBERS).into(),
            20..28 => format!("n{}", self.below(60)).into_bytes(),
            _ => self.value(),
        }
    }

    /// Around `near` mostly, anywhere within `max` sometimes, and some that are neither.
    fn degrees(&mut self, near: i64, max: i64) -> Vec<u8> {
        const EDGES: &[&str] =
            &["180", "-180", "85.05112878", "-85.05112878", "86", "181", "abc", "", "nan", "inf"];
        match self.below(40) {
            0 => self.pick(EDGES).into(),
            1..8 => (self.below(2 * max as u64) - max).to_string().into_bytes(),
            8..16 => format!("{near}.5").into_bytes(),
            _ => format!("{:.4}", near as f64 + self.below(40_000) as f64 / 10_000.0).into_bytes(),
        }
    }

    /// Halves and quarters, so that sums are exact and print alike in every version.
    fn score(&mut self) -> Vec<u8> {
        match self.below(40) {
            0 => self.pick(&["nan", "abc", "", "1e5", "4503599627370496", "-1e3", "0x5"]).into(),
            1..8 => format!("{}", (self.below(200) - 100) as f64 / 4.0).into_bytes(),
            _ => (self.below(20) - 4).to_string().into_bytes(),
        }
    }

    fn number(&mut self) -> Vec<u8> {
        match self.below(20) {
            0..3 => self.pick(EDGES).into(),
            3..5 => self.pick(NOT_NUMBERS).into(),
            5 => (self.rng.next_u64() as i64).to_string().into_bytes(),
            _ => (self.below(30) - 8).to_string().into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.below(100) {
            0..40 => self.pick(MEMBERS).into(),
            40..65 => self.number(),
            65..72 => self.pick(FLOATS).into(),
            72..80 => self.bytes(1, 30),
            // Around the threshold of packed entries, and of strings kept with their header.
            80..88 => self.bytes(38, 48),
            88..96 => self.text(1, 70),
            96..99 => self.text(60, 300),
            _ if self.chance(40) => self.bytes(5_000, 100_000),
            _ => Vec::new(),
        }
    }

    fn length(&mut self, min: u64, max: u64) -> usize {
        self.rng.range(min..max) as usize
    }

    fn bytes(&mut self, min: u64, max: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.length(min, max)];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    fn text(&mut self, min: u64, max: u64) -> Vec<u8> {
        let n = self.length(min, max);
        (0..n).map(|_| b'a' + self.rng.below(4) as u8).collect()
    }
}

/// Up to the bracket that closes what is open, and what follows it.
fn matching(text: &str) -> (&str, &str) {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth == 0 => return (&text[..i], &text[i + 1..]),
            ']' => depth -= 1,
            _ => {}
        }
    }
    panic!("an open bracket: {text}");
}

fn split_options(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut options) = (0, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            '|' if depth == 0 => {
                options.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    options.push(&text[from..]);
    options
}
