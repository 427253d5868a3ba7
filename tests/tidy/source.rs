//! Rust source as far as the checks need it: comments, strings and test modules taken out.

/// The code of a file: comments, and what stands between quotes, are blanks; line breaks stay.
pub fn code(text: &str) -> String {
    let b = text.as_bytes();
    let mut out = String::with_capacity(b.len());
    let mut i = 0;
    let blank = |from: usize, to: usize, out: &mut String| {
        out.extend(b[from..to].iter().map(|&c| if c == b'\n' { '\n' } else { ' ' }));
    };
    while i < b.len() {
        let end = match b[i] {
            b'/' if b[i..].starts_with(b"//") => until(b, i, b"\n"),
            b'/' if b[i..].starts_with(b"/*") => block_comment(b, i),
            b'"' => string(b, i + 1),
            b'r' | b'b' | b'c' if !within_word(b, i) => match raw_string(b, i) {
                Some(end) => end,
                None if b[i] == b'b' && b.get(i + 1) == Some(&b'"') => string(b, i + 2),
                None if b[i] == b'b' && b.get(i + 1) == Some(&b'\'') => char_end(b, i + 1).unwrap_or(i),
                None => i,
            },
            b'\'' => char_end(b, i).unwrap_or(i),
            _ => i,
        };
        if end > i {
            blank(i, end.min(b.len()), &mut out);
            i = end;
        } else {
            out.push(if b[i].is_ascii() { b[i] as char } else { ' ' });
            i += 1;
        }
    }
    out
}

fn within_word(b: &[u8], i: usize) -> bool {
    i > 0 && (b[i - 1].is_ascii_alphanumeric() || b[i - 1] == b'_')
}

fn until(b: &[u8], from: usize, what: &[u8]) -> usize {
    b[from..].windows(what.len()).position(|w| w == what).map_or(b.len(), |n| from + n)
}

fn block_comment(b: &[u8], mut i: usize) -> usize {
    let mut depth = 0;
    while i < b.len() {
        if b[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if b[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    i
}

/// The end of a string whose content begins at `i`.
fn string(b: &[u8], mut i: usize) -> usize {
    while i < b.len() {
        match b[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    i
}

/// The end of a raw string that begins at `i` with `r`, `br` or `cr`.
fn raw_string(b: &[u8], i: usize) -> Option<usize> {
    let after_r = match (b[i], b.get(i + 1)) {
        (b'r', _) => i + 1,
        (b'b' | b'c', Some(b'r')) => i + 2,
        _ => return None,
    };
    let hashes = b[after_r..].iter().take_while(|&&c| c == b'#').count();
    if b.get(after_r + hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let from = after_r + hashes + 1;
    Some(until(b, from, &close) + close.len())
}

/// The end of a character literal at `i`; `None` for a lifetime.
fn char_end(b: &[u8], i: usize) -> Option<usize> {
    match b.get(i + 1)? {
        b'\\' => Some(until(b, i + 3, b"'") + 1),
        c if c.is_ascii() => (b.get(i + 2) == Some(&b'\'')).then_some(i + 3),
        _ => {
            let n = b[i + 1..].iter().take(5).position(|&c| c == b'\'')?;
            Some(i + 2 + n)
        }
    }
}

/// The code without its `#[cfg(test)]` items.
pub fn without_tests(code: &str) -> String {
    let mut rest = code;
    let mut out = String::with_capacity(code.len());
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = item_end(rest);
        // Line numbers stay true.
        out.extend(rest[..end].chars().filter(|&c| c == '\n'));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Where the item that the code begins with ends: at its closing brace or its semicolon.
fn item_end(code: &str) -> usize {
    let mut depth = 0usize;
    for (i, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return i + 1,
            '}' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return i + 1,
            _ => {}
        }
    }
    code.len()
}

/// The first names after every `start` (`crate::`), braces included, with their lines.
pub fn names_after(code: &str, start: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start) {
        if within_word(code.as_bytes(), at) || code[..at].ends_with('$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list_heads(list).into_iter().map(|name| (line, name))),
            None => found.push((line, word(rest))),
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The heads of `a::x, b::{..}, c}`.
fn list_heads(list: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut item) = (0, String::new());
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(word(item.trim()));
                item.clear();
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    heads.push(word(item.trim()));
    heads.retain(|h| !h.is_empty());
    heads
}

/// Whether a word occurs as a word of its own.
pub fn has_word(code: &str, word: &str) -> bool {
    let ident = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| {
        !ident(code[..at].chars().next_back()) && !ident(code[at + word.len()..].chars().next())
    })
}

#[test]
fn comments_and_strings_are_no_code() {
    let text =
        "a /* crate::x /* y */ */ \"crate::\\\"\" r#\"b\"\" \"# 'c' '\\'' b'\"' 'life e // f\ng b\"h\" br";
    let code = code(text);
    let words: Vec<_> = code.split_whitespace().collect();
    assert_eq!(words, ["a", "'life", "e", "g", "br"]);
}

#[test]
fn tests_are_taken_out() {
    let code = "use crate::{a::{b, c}, d};\n#[cfg(test)]\nmod tests { use crate::e; }\n#[cfg(test)]\nmod t;\ncrate::f::g()";
    let names = names_after(&without_tests(code), "crate::");
    assert_eq!(names, [(1, "a".into()), (1, "d".into()), (6, "f".into())]);
}
