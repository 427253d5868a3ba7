//! Streams in RDB.
use super::decode::{Decoded, Options};
use super::encode::{self, Sink};
use super::error::RdbError;
use super::input::Input;
use crate::value::cell::Cell;

pub(super) fn encode(_sink: &mut impl Sink, _cell: &Cell, _options: &encode::Options) {}

pub(super) fn decode<I: Input>(
    _ty: u8,
    _key: &[u8],
    input: &mut I,
    _options: &Options<'_>,
) -> Result<Decoded, RdbError> {
    Err(RdbError::unsupported(input.offset(), "streams cannot be read yet"))
}
