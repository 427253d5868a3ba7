//! Redis's glob patterns (KEYS, SCAN, PSUBSCRIBE, ACL): `*`, `?`, `[a-z]`, `[^x]`, backslash escapes.
//!
//! Every element but `*` consumes exactly one byte, so a failed match needs to go back to the last `*` only: earlier
//! ones could but repeat what it already tries. That bounds the work by pattern length times text length, without
//! recursion, whatever a client sends.

/// Redis matches nothing with more `*` than this, but for one at the end.
const STARS_MAX: usize = 1000;

/// Whether `pattern` matches all of `text`; `nocase` folds ASCII letters.
///
/// As in Redis: an empty text is matched by the empty pattern only, an unterminated class ends with the pattern, a
/// range's bounds may be in either order and compare as signed bytes, and an escaped byte in a class ignores `nocase`.
pub fn glob_match(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on after a mismatch: the pattern behind the last `*`, and the text it was last tried at.
    let mut star: Option<(usize, usize)> = None;
    let mut stars = 0;
    loop {
        if pattern.get(p) == Some(&b'*') {
            while pattern.get(p) == Some(&b'*') {
                p += 1;
            }
            if p == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > STARS_MAX {
                return false;
            }
            star = Some((p, t));
        }
        match text.get(t) {
            None if p == pattern.len() => return true,
            // What is left of the pattern needs bytes; a longer stretch for any `*` leaves fewer of them.
            None => return false,
            Some(&b) => {
                if let Some(next) = step(pattern, p, b, nocase) {
                    p = next;
                    t += 1;
                    continue;
                }
            }
        }
        let Some((after, at)) = star else { return false };
        let Some(at) = candidate(pattern, after, text, at + 1, nocase) else { return false };
        star = Some((after, at));
        (p, t) = (after, at);
    }
}

/// The next place at or after `from` where the element at `after` may match: a plain byte is searched for.
#[inline]
fn candidate(pattern: &[u8], after: usize, text: &[u8], from: usize, nocase: bool) -> Option<usize> {
    let rest = text.get(from..).filter(|r| !r.is_empty())?;
    match pattern.get(after) {
        Some(b'?' | b'[' | b'\\') | None => Some(from),
        Some(_) if nocase => Some(from),
        Some(&plain) => memchr::memchr(plain, rest).map(|i| from + i),
    }
}

/// Matches the one-byte element at `p` (never `*`) against `b`; returns where the next element starts.
#[inline]
fn step(pattern: &[u8], p: usize, b: u8, nocase: bool) -> Option<usize> {
    let (plain, next) = match *pattern.get(p)? {
        b'?' => return Some(p + 1),
        b'[' => return class(pattern, p + 1, b, nocase),
        b'\\' => match pattern.get(p + 1) {
            Some(&escaped) => (escaped, p + 2),
            None => (b'\\', p + 1),
        },
        plain => (plain, p + 1),
    };
    same(plain, b, nocase).then_some(next)
}

/// Matches the class whose content starts at `p`.
fn class(pattern: &[u8], mut p: usize, b: u8, nocase: bool) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    let end = loop {
        match pattern.get(p..).unwrap_or_default() {
            [] => break p,
            [b']', ..] => break p + 1,
            [b'\\', escaped, ..] => {
                found |= *escaped == b;
                p += 2;
            }
            [from, b'-', to, ..] => {
                let (lo, hi) = if (*from as i8) > *to as i8 { (*to, *from) } else { (*from, *to) };
                let fold = |x: u8| if nocase { x.to_ascii_lowercase() as i8 } else { x as i8 };
                found |= (fold(lo)..=fold(hi)).contains(&fold(b));
                p += 3;
            }
            [plain, ..] => {
                found |= same(*plain, b, nocase);
                p += 1;
            }
        }
    };
    (found != negated).then_some(end)
}

#[inline]
fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || (nocase && a.eq_ignore_ascii_case(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn m(pattern: &str, text: &str) -> bool {
        glob_match(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn table() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", false),
            ("*", "a", true),
            ("**", "abc", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a", "bca", true),
            ("*a", "bcab", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("[]", "]", false),
            ("[]a]", "a]", false),
            ("[^]", "a", true),
            ("[^", "a", true),
            ("[", "[", false),
            ("[a", "a", true),
            ("[a-", "-", true),
            ("[a-]", "a", true),
            ("[a-]", "-", false),
            ("[a-]b", "b", true),
            ("[a\\]b]", "]", true),
            ("[\\", "\\", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\", "a\\", true),
            ("*?*", "a", true),
            ("*[a-c]?x*", "zzbqxz", true),
            ("*ab*abc*", "ababxabc", true),
            ("news.*.x", "news.a.b.x", true),
        ] {
            assert_eq!(m(pattern, text), want, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn case_folding() {
        assert!(glob_match(b"HeL*O", b"hello", true));
        assert!(!glob_match(b"HeL*O", b"hello", false));
        assert!(glob_match(b"[A-C]", b"b", true));
        assert!(glob_match(b"[X]", b"x", true));
        assert!(!glob_match(b"[\\X]", b"x", true));
    }

    #[test]
    fn ranges_compare_signed_bytes() {
        assert!(!glob_match(b"[\x01-\xff]", b"a", false));
        assert!(glob_match(b"[\x80-\xff]", b"\x90", false));
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = "a*".repeat(1000) + "b";
        assert!(!m(&pattern, &"a".repeat(5000)));
        assert!(m(&pattern, &("a".repeat(5000) + "b")));
        assert!(!m(&("a*".repeat(1001) + "b"), &("a".repeat(5000) + "b")));
    }

    /// The definition, by trying everything.
    fn naive(p: &[u8], t: &[u8], nocase: bool) -> bool {
        match (p, t) {
            ([], _) => t.is_empty(),
            ([b'*', rest @ ..], _) => (0..=t.len()).any(|n| naive(rest, &t[n..], nocase)),
            (_, []) => false,
            (_, [b, t @ ..]) => match p {
                [b'?', p @ ..] => naive(p, t, nocase),
                [b'[', p @ ..] => {
                    let (not, mut p) = if let [b'^', p @ ..] = p { (true, p) } else { (false, p) };
                    let low = |x: u8| if nocase { x.to_ascii_lowercase() as i8 } else { x as i8 };
                    let mut hit = false;
                    while !p.is_empty() && p[0] != b']' {
                        if p.len() >= 2 && p[0] == b'\\' {
                            hit |= p[1] == *b;
                            p = &p[2..];
                        } else if p.len() >= 3 && p[1] == b'-' {
                            let (a, z) = if p[0] as i8 <= p[2] as i8 { (p[0], p[2]) } else { (p[2], p[0]) };
                            hit |= low(a) <= low(*b) && low(*b) <= low(z);
                            p = &p[3..];
                        } else {
                            hit |= low(p[0]) == low(*b);
                            p = &p[1..];
                        }
                    }
                    hit != not && naive(if p.is_empty() { p } else { &p[1..] }, t, nocase)
                }
                [b'\\', c, p @ ..] | [c, p @ ..] => {
                    (c == b || nocase && c.eq_ignore_ascii_case(b)) && naive(p, t, nocase)
                }
                [] => false,
            },
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn agrees_with_the_definition(p in "[a-cA-C*?\\[\\]^\\\\-]{0,10}", t in "[a-cA-C\\]\\\\-]{1,8}", nocase: bool) {
            prop_assert_eq!(glob_match(p.as_bytes(), t.as_bytes(), nocase), naive(p.as_bytes(), t.as_bytes(), nocase));
        }
    }
}
