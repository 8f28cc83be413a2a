//! The protobuf wire format: a message as a sequence of fields.
//!
//! Source: the protobuf encoding guide. Groups, which neither etcd nor
//! Kubernetes use, are refused.

use nom::{
    IResult,
    bytes::complete::take,
    error::{Error, ErrorKind},
};

/// The numbers fields may have: 29 bits, and not zero.
const NUMBERS: std::ops::Range<u64> = 1..0x2000_0000;

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

impl<'a> Content<'a> {
    /// Bytes, or a message; what is of another type is none.
    #[must_use]
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A string; what is no UTF-8 is none.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// An int64: the bits of the varint.
    #[must_use]
    pub fn int64(self) -> Option<i64> {
        match self {
            Self::Varint(bits) => Some(i64::from_ne_bytes(bits.to_ne_bytes())),
            _ => None,
        }
    }
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
    let number = tag >> 3;
    if !NUMBERS.contains(&number) {
        return Err(nom::Err::Error(Error::new(input, ErrorKind::Tag)));
    }
    let raw = &input[..input.len() - rest.len()];
    Ok((rest, Field { number, content, raw }))
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
    fn every_wire_type_is_a_field_and_groups_are_none() {
        let message = b"\x08\x96\x01\x11abcdefgh\x1a\x02hi\x25wxyz";
        let found: Vec<_> =
            fields(message).map(|field| field.unwrap()).map(|f| (f.number, f.content)).collect();
        let expected = [
            (1, Content::Varint(150)),
            (2, Content::Fixed(b"abcdefgh")),
            (3, Content::Bytes(b"hi")),
            (4, Content::Fixed(b"wxyz")),
        ];
        assert_eq!(found, expected);
        for group in [3, 4, 6, 7] {
            assert_eq!(fields(&[8 | group, 0]).collect::<Vec<_>>(), [None]);
        }
    }

    #[test]
    fn numbers_of_fields_have_29_bits() {
        let number = |number: u64| {
            let mut message = Vec::new();
            put_varint(&mut message, number << 3);
            message.push(7);
            fields(&message).next().unwrap().map(|field| field.number)
        };
        assert_eq!((number(0), number(1)), (None, Some(1)));
        assert_eq!((number((1 << 29) - 1), number(1 << 29)), (Some((1 << 29) - 1), None));
    }

    #[test]
    fn an_endless_varint_is_refused() {
        assert!(varint(&[0x80; 11]).is_err());
        assert!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
    }
}
