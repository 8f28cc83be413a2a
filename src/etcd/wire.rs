//! The protobuf wire format: a message as a sequence of fields.
//!
//! Source: the protobuf encoding guide. Groups, which neither etcd nor
//! Kubernetes use, are refused.

use nom::{
    IResult,
    bytes::complete::take,
    error::{Error, ErrorKind},
};

/// The content of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire types 1 and 5, raw.
    Fixed(&'a [u8]),
    /// Wire type 2.
    Bytes(&'a [u8]),
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u64,
    /// Its content.
    pub content: Content<'a>,
    /// All its bytes, tag included.
    pub raw: &'a [u8],
}

/// A base-128 varint of at most ten bytes.
///
/// # Errors
/// When it does not end, or does not fit 64 bits.
#[inline]
pub fn varint(input: &[u8]) -> IResult<&[u8], u64> {
    // Most are of one byte.
    if let [byte @ ..0x80, rest @ ..] = input {
        return Ok((rest, u64::from(*byte)));
    }
    longer_varint(input)
}

fn longer_varint(input: &[u8]) -> IResult<&[u8], u64> {
    let mut value = 0u64;
    for (i, byte) in input.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            break;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Ok((&input[i + 1..], value));
        }
    }
    Err(nom::Err::Error(Error::new(input, ErrorKind::LengthValue)))
}

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

/// How many bytes [`put_varint`] appends.
#[must_use]
pub fn varint_len(value: u64) -> usize {
    let bits = 64 - u64::leading_zeros(value | 1);
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

/// The first field of a message.
///
/// # Errors
/// When it is malformed.
#[inline]
pub fn field(input: &[u8]) -> IResult<&[u8], Field<'_>> {
    let (rest, tag) = varint(input)?;
    let (rest, content) = match tag & 7 {
        0 => varint(rest).map(|(rest, value)| (rest, Content::Varint(value)))?,
        1 => take(8usize)(rest).map(|(rest, bytes)| (rest, Content::Fixed(bytes)))?,
        2 => {
            let (rest, length) = varint(rest)?;
            let (rest, bytes) = take(length)(rest)?;
            (rest, Content::Bytes(bytes))
        }
        5 => take(4usize)(rest).map(|(rest, bytes)| (rest, Content::Fixed(bytes)))?,
        _ => return Err(nom::Err::Error(Error::new(input, ErrorKind::Tag))),
    };
    if tag >> 3 == 0 || tag > u64::from(u32::MAX) {
        return Err(nom::Err::Error(Error::new(input, ErrorKind::Tag)));
    }
    let raw = &input[..input.len() - rest.len()];
    Ok((rest, Field { number: tag >> 3, content, raw }))
}

/// The fields of a message, in order; ends with `None` after a malformed one.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    let mut rest = Some(message);
    std::iter::from_fn(move || {
        let input = rest.filter(|input| !input.is_empty())?;
        let parsed = field(input).ok();
        rest = parsed.map(|(after, _)| after);
        Some(parsed.map(|(_, field)| field))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_survives_encoding(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert_eq!(varint(&out).unwrap(), (&[][..], value));
        }

        #[test]
        fn any_bytes_are_fields_or_an_error(message: Vec<u8>) {
            let bytes: usize = fields(&message).flatten().map(|field| field.raw.len()).sum();
            prop_assert!(bytes <= message.len());
        }
    }

    #[test]
    fn an_endless_varint_is_refused() {
        assert!(varint(&[0x80; 11]).is_err());
        assert!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
    }
}
