//! A reader for the fields of the Protocol Buffers wire format, as far as outlines need it.
//!
//! Copies nothing: fields that are not used, such as a model's weights, are skipped.

use anyhow::{Context, bail};

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
}

/// A field's value, by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// An integer, an enum or a bool.
    Varint(u64),
    /// A string, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// A number of 32 or 64 bits, whose value no outline needs.
    Fixed,
}

/// An iterator over the fields of a message, in file order.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    fn read(&mut self) -> anyhow::Result<Field<'a>> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            form => bail!("a field has the unknown form {form}"),
        };
        Ok(Field {
            number: tag >> 3,
            value,
        })
    }

    fn varint(&mut self) -> anyhow::Result<u64> {
        let mut value = 0;
        for position in 0..10 {
            let (&byte, rest) = self.rest.split_first().context("a number is cut off")?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a number is longer than ten bytes")
    }

    fn take(&mut self, length: u64) -> anyhow::Result<&'a [u8]> {
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = split.context("a field reaches past the end")?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = anyhow::Result<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Value<'a> {
    /// Returns the value of a string field.
    pub(super) fn text(self) -> anyhow::Result<String> {
        Ok(str::from_utf8(self.message()?)
            .context("a text is not UTF-8")?
            .to_owned())
    }

    /// Returns the bytes of a message field.
    pub(super) fn message(self) -> anyhow::Result<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed => bail!("a field has an unexpected form"),
        }
    }

    /// Returns the value of an integer field; negative values are in two's complement.
    pub(super) fn integer(self) -> anyhow::Result<i64> {
        match self {
            Value::Varint(value) => Ok(value.cast_signed()),
            Value::Bytes(_) | Value::Fixed => bail!("a field has an unexpected form"),
        }
    }

    /// Returns the values of a repeated integer field: a single value, or packed values.
    pub(super) fn integers(self) -> anyhow::Result<Vec<i64>> {
        match self {
            Value::Varint(value) => Ok(vec![value.cast_signed()]),
            Value::Bytes(packed) => {
                let mut fields = Fields::of(packed);
                let mut values = Vec::new();
                while !fields.rest.is_empty() {
                    values.push(fields.varint()?.cast_signed());
                }
                Ok(values)
            }
            Value::Fixed => bail!("a field has an unexpected form"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8]) -> anyhow::Result<Vec<Field<'_>>> {
        Fields::of(message).collect()
    }

    #[test]
    fn every_form_is_read_or_stepped_over() -> anyhow::Result<()> {
        let message = [
            0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8,
            0x28, 1,
        ];
        let fields = read(&message)?;
        let values: Vec<Value<'_>> = fields.iter().map(|field| field.value).collect();
        assert_eq!(
            values,
            [
                Value::Varint(150),
                Value::Bytes(b"hi"),
                Value::Fixed,
                Value::Fixed,
                Value::Varint(1)
            ]
        );
        assert_eq!(
            fields.iter().map(|field| field.number).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5]
        );
        assert_eq!(Value::Bytes(&[1, 0x96, 1]).integers()?, [1, 150]);
        assert_eq!(Value::Varint(u64::MAX).integer()?, -1);
        Ok(())
    }

    #[test]
    fn damage_is_an_error_and_ends_the_message() {
        for message in [
            &[0x08][..],
            &[0x12, 5, 1],
            &[
                0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            &[0x0b],
            &[0xff; 11],
        ] {
            assert!(read(message).is_err(), "{message:?}");
            assert_eq!(Fields::of(message).count(), 1, "{message:?}");
        }
    }
}
