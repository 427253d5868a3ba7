//! Passing over a value without decoding it: lengths only.
use super::error::RdbError;
use super::input::Input;
use super::{VERSION_VALKEY, container, module, types};

/// Passes over a value of type `ty` in a file of `version`.
pub fn value<I: Input>(ty: u8, version: u32, input: &mut I) -> Result<(), RdbError> {
    use types::*;
    let offset = input.offset();
    if !is_known(ty, version) {
        return Err(RdbError::corrupt(offset, format!("unknown value type {ty}")));
    }
    match ty {
        STRING
        | HASH_ZIPMAP
        | LIST_ZIPLIST
        | SET_INTSET
        | ZSET_ZIPLIST
        | HASH_ZIPLIST
        | HASH_LISTPACK
        | ZSET_LISTPACK
        | SET_LISTPACK
        | HASH_LISTPACK_TTL_PRE_GA => input.skip_string(),
        LIST | SET | LIST_QUICKLIST => times(input, |i| i.skip_string()),
        HASH => times(input, |i| {
            i.skip_string()?;
            i.skip_string()
        }),
        ZSET => times(input, |i| {
            i.skip_string()?;
            match i.byte()? {
                253..=255 => Ok(()),
                n => i.skip(n.into()),
            }
        }),
        ZSET_2 => times(input, |i| {
            i.skip_string()?;
            i.skip(8)
        }),
        LIST_QUICKLIST_2 => times(input, |i| {
            let offset = i.offset();
            match i.number()? {
                container::PLAIN | container::PACKED => i.skip_string(),
                other => Err(RdbError::corrupt(offset, format!("unknown quicklist container {other}"))),
            }
        }),
        HASH_TTL_PRE_GA if version >= VERSION_VALKEY => times(input, |i| {
            i.skip_string()?;
            i.skip_string()?;
            i.skip(8)
        }),
        HASH_TTL_PRE_GA => times(input, field_with_ttl),
        HASH_TTL => {
            input.skip(8)?;
            times(input, field_with_ttl)
        }
        HASH_LISTPACK_TTL => {
            input.skip(8)?;
            input.skip_string()
        }
        STREAM | STREAM_2 | STREAM_3 => stream(ty, input),
        MODULE_2 => module_value(input).map(drop),
        _ => Err(RdbError::unsupported(offset, "a module's value in a format of before Redis 4.0")),
    }
}

fn times<I: Input>(input: &mut I, mut f: impl FnMut(&mut I) -> Result<(), RdbError>) -> Result<(), RdbError> {
    // Each takes a byte at least, so that a hostile count ends where the bytes do.
    for _ in 0..input.number()? {
        f(input)?;
    }
    Ok(())
}

fn field_with_ttl<I: Input>(input: &mut I) -> Result<(), RdbError> {
    input.number()?;
    input.skip_string()?;
    input.skip_string()
}

fn numbers<I: Input>(input: &mut I, n: usize) -> Result<(), RdbError> {
    (0..n).try_for_each(|_| input.number().map(drop))
}

fn stream<I: Input>(ty: u8, input: &mut I) -> Result<(), RdbError> {
    times(input, |i| {
        i.skip_string()?;
        i.skip_string()
    })?;
    // Length and last id; since 7.0 first id, highest deleted id and the count of all entries ever.
    numbers(input, if ty == types::STREAM { 3 } else { 8 })?;
    times(input, |i| {
        i.skip_string()?;
        numbers(i, if ty == types::STREAM { 2 } else { 3 })?;
        times(i, |i| {
            i.skip(16 + 8)?;
            i.number().map(drop)
        })?;
        times(i, |i| {
            i.skip_string()?;
            i.skip(if ty == types::STREAM_3 { 16 } else { 8 })?;
            times(i, |i| i.skip(16))
        })
    })
}

/// Passes over a module's value, its id first; the module's name.
pub fn module_value<I: Input>(input: &mut I) -> Result<String, RdbError> {
    let name = module::name(input.number()?);
    module_parts(input)?;
    Ok(name)
}

pub(super) fn module_parts<I: Input>(input: &mut I) -> Result<(), RdbError> {
    loop {
        let offset = input.offset();
        match input.number()? {
            module::EOF => return Ok(()),
            module::SINT | module::UINT => {
                input.number()?;
            }
            module::FLOAT => input.skip(4)?,
            module::DOUBLE => input.skip(8)?,
            module::STRING => input.skip_string()?,
            other => {
                let what = format!("unknown part {other} in a module's value");
                return Err(RdbError::corrupt(offset, what));
            }
        }
    }
}
