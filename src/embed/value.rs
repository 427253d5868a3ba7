//! A reply as a value. Maps and sets keep the order of the reply, which general RESP decoders lose.

/// A reply, in RESP3's terms.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing: no key, no element.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number with a fraction, as scores are.
    Double(f64),
    /// Digits of a number too large for `Int`.
    BigNumber(String),
    /// A status, such as `OK`.
    Simple(String),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// Text in a format, such as `txt`.
    Verbatim(String, Vec<u8>),
    /// An error inside an array; one that is the whole reply is `execute`'s error.
    Error(String),
    /// Values in order.
    Array(Vec<Value>),
    /// Values in no order.
    Set(Vec<Value>),
    /// Pairs, in the order in which the server gave them.
    Map(Vec<(Value, Value)>),
    /// A message that no request asked for, or the confirmation of a subscription.
    Push(Vec<Value>),
}

impl Value {
    /// The text of a string or a status, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Simple(s) | Value::BigNumber(s) => Some(s),
            Value::Bulk(b) | Value::Verbatim(_, b) => std::str::from_utf8(b).ok(),
            _ => None,
        }
    }

    /// The number of an integer.
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(n) = self { Some(*n) } else { None }
    }

    /// Whether it is nothing.
    pub fn is_null(&self) -> bool {
        *self == Value::Null
    }

    /// The elements of an array, a set or a push.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(v) | Value::Set(v) | Value::Push(v) => v,
            _ => &[],
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Bulk(text.as_bytes().to_vec())
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Int(n)
    }
}

impl<const N: usize> From<[Value; N]> for Value {
    fn from(items: [Value; N]) -> Self {
        Value::Array(items.into())
    }
}

/// Takes one value off the front of RESP that this server wrote; `None` where there is no whole one.
pub(super) fn decode(resp: &mut &[u8]) -> Option<Value> {
    let (&kind, rest) = resp.split_first()?;
    let end = rest.windows(2).position(|w| w == b"\r\n")?;
    let (head, rest) = (rest.get(..end)?, rest.get(end + 2..)?);
    *resp = rest;
    let text = || String::from_utf8_lossy(head).into_owned();
    let number = || std::str::from_utf8(head).ok()?.parse::<i64>().ok();
    Some(match kind {
        b'_' => Value::Null,
        b'#' => Value::Bool(head == b"t"),
        b':' => Value::Int(number()?),
        b',' => Value::Double(std::str::from_utf8(head).ok()?.parse().ok()?),
        b'(' => Value::BigNumber(text()),
        b'+' => Value::Simple(text()),
        b'-' => Value::Error(text()),
        b'$' | b'=' | b'*' if number()? < 0 => Value::Null,
        b'$' => Value::Bulk(bytes(resp, number()?)?),
        b'=' => {
            let all = bytes(resp, number()?)?;
            let format = String::from_utf8_lossy(all.get(..3)?).into_owned();
            Value::Verbatim(format, all.get(4..)?.to_vec())
        }
        b'*' => Value::Array(items(resp, number()?)?),
        b'~' => Value::Set(items(resp, number()?)?),
        b'>' => Value::Push(items(resp, number()?)?),
        b'%' => Value::Map(pairs(resp, number()?)?),
        // Attributes describe what follows; nobody here asks for them.
        b'|' => {
            pairs(resp, number()?)?;
            decode(resp)?
        }
        _ => return None,
    })
}

fn bytes(resp: &mut &[u8], n: i64) -> Option<Vec<u8>> {
    let n = usize::try_from(n).ok()?;
    let found = resp.get(..n)?.to_vec();
    *resp = resp.get(n + 2..)?;
    Some(found)
}

fn items(resp: &mut &[u8], n: i64) -> Option<Vec<Value>> {
    (0..n).map(|_| decode(resp)).collect()
}

fn pairs(resp: &mut &[u8], n: i64) -> Option<Vec<(Value, Value)>> {
    (0..n).map(|_| Some((decode(resp)?, decode(resp)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::reply::Reply;

    #[test]
    fn decodes_every_kind_of_reply() {
        let mut reply = Reply::new(true);
        reply.array(11);
        reply.null();
        reply.bool(true);
        reply.int(-3);
        reply.double(1.5);
        reply.big_number("123456789012345678901");
        reply.simple("OK");
        reply.bulk(b"a\r\nb");
        reply.verbatim("txt", b"hello");
        reply.error("ERR no");
        reply.set(1);
        reply.int(1);
        reply.map(1);
        reply.bulk(b"k");
        reply.array(0);
        let whole = reply.to_vec();
        let want = Value::Array(vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(-3),
            Value::Double(1.5),
            Value::BigNumber("123456789012345678901".into()),
            Value::Simple("OK".into()),
            "a\r\nb".into(),
            Value::Verbatim("txt".into(), b"hello".to_vec()),
            Value::Error("ERR no".into()),
            Value::Set(vec![Value::Int(1)]),
            Value::Map(vec![("k".into(), Value::Array(vec![]))]),
        ]);
        let mut resp = whole.as_slice();
        assert_eq!(decode(&mut resp), Some(want));
        assert!(resp.is_empty());
        for cut in 0..whole.len() {
            assert_eq!(decode(&mut &whole[..cut]), None, "cut at {cut}");
        }
    }
}
