//! A reader of protobuf's wire format, which skips unused fields.
//!
//! It reads a file from the beginning to the end without holding it, and allocates only the short names that
//! its caller reads.

use std::io::{self, BufReader, ErrorKind, Read, Seek};

/// The maximum number of fields that are read: a file with more of them has more parts than backends load.
pub(crate) const MAX_FIELDS: usize = 4_000_000;

/// The maximum length in bytes of the names that are read.
const MAX_NAME_BYTES: u64 = 4096;

/// A position in a message.
pub(crate) struct WireReader<R> {
    source: BufReader<R>,
    position: u64,
    fields_left: usize,
}

/// A field of a message. Its content follows, unless it is an integer.
pub(crate) struct Field {
    pub(crate) number: u64,
    /// The position after its content.
    pub(crate) end: u64,
    /// Its value, if it is an integer.
    pub(crate) integer: Option<u64>,
}

/// Returns the error for a file that is not a valid message.
pub(crate) fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

impl<R: Read + Seek> WireReader<R> {
    pub(crate) fn new(source: R) -> WireReader<R> {
        WireReader {
            source: BufReader::new(source),
            position: 0,
            fields_left: MAX_FIELDS,
        }
    }

    /// Returns the next field, or `None` at `end`.
    pub(crate) fn next_field(&mut self, end: u64) -> io::Result<Option<Field>> {
        if self.position == end {
            return Ok(None);
        }
        self.fields_left = (self.fields_left.checked_sub(1))
            .ok_or_else(|| invalid("the file has too many parts"))?;
        let key = self.read_varint()?;
        let mut integer = None;
        let length = match key & 7 {
            0 => {
                integer = Some(self.read_varint()?);
                0
            }
            1 => 8,
            2 => self.read_varint()?,
            5 => 4,
            _ => return Err(invalid("the file has a field of an unknown type")),
        };
        let after = self.position.checked_add(length);
        let after = after.filter(|after| *after <= end);
        Ok(Some(Field {
            number: key >> 3,
            end: after.ok_or_else(|| invalid("the file is cut off"))?,
            integer,
        }))
    }

    /// Returns the next field with this number, or `None` at `end`. Skips other fields.
    pub(crate) fn next_numbered(&mut self, number: u64, end: u64) -> io::Result<Option<Field>> {
        while let Some(field) = self.next_field(end)? {
            if field.number == number {
                return Ok(Some(field));
            }
            self.skip_to(field.end)?;
        }
        Ok(None)
    }

    /// Appends the integers of a field to `integers`: one, or several that are packed. Fails if there are more
    /// than `limit` in all.
    pub(crate) fn read_integers(
        &mut self,
        field: &Field,
        integers: &mut Vec<u64>,
        limit: usize,
    ) -> io::Result<()> {
        integers.extend(field.integer);
        while self.position < field.end {
            if integers.len() >= limit {
                return Err(invalid("a list has too many numbers"));
            }
            integers.push(self.read_varint()?);
        }
        match self.position == field.end && integers.len() <= limit {
            true => Ok(()),
            false => Err(invalid("a list of numbers is not valid")),
        }
    }

    /// Calls `each` with the integers of a field, one or several that are packed, until it returns `false`.
    pub(crate) fn each_integer(
        &mut self,
        field: &Field,
        mut each: impl FnMut(u64) -> bool,
    ) -> io::Result<()> {
        let mut is_wanted = field.integer.is_none_or(&mut each);
        while is_wanted && self.position < field.end {
            is_wanted = each(self.read_varint()?);
        }
        match self.position <= field.end {
            true => Ok(()),
            false => Err(invalid("a list of numbers is not valid")),
        }
    }

    fn read_varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.source.read_exact(&mut byte)?;
            self.position += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(invalid("a number has more than ten bytes"))
    }

    /// Returns the content of a field as text.
    pub(crate) fn read_name(&mut self, field: &Field) -> io::Result<String> {
        if field.end - self.position > MAX_NAME_BYTES {
            return Err(invalid("a name is too long"));
        }
        let name = String::from_utf8(self.read_bytes(field)?);
        name.map_err(|_| invalid("a name is not UTF-8"))
    }

    /// Returns the content of a field as text: empty if it is too long, and with replacement characters if it is not
    /// UTF-8.
    pub(crate) fn read_short_name(&mut self, field: &Field) -> io::Result<String> {
        if field.end - self.position > MAX_NAME_BYTES {
            return Ok(String::new());
        }
        let bytes = self.read_bytes(field)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the content of a field of this many bytes, or `None` if it has another length.
    pub(crate) fn read_exactly(
        &mut self,
        field: &Field,
        bytes: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        match field.end - self.position == bytes {
            true => self.read_bytes(field).map(Some),
            false => Ok(None),
        }
    }

    /// Returns the content of a short field.
    fn read_bytes(&mut self, field: &Field) -> io::Result<Vec<u8>> {
        let length = field.end - self.position;
        let mut bytes = Vec::new();
        self.position = field.end;
        let read = (&mut self.source).take(length).read_to_end(&mut bytes)?;
        match u64::try_from(read) == Ok(length) {
            true => Ok(bytes),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Skips to a later position, such as the end of a field.
    pub(crate) fn skip_to(&mut self, position: u64) -> io::Result<()> {
        let ahead = i64::try_from(position - self.position).map_err(|_| invalid("too large"))?;
        self.source.seek_relative(ahead)?;
        self.position = position;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// Returns the integers of the fields of `message`, or `None` if it is not valid.
    fn integers(message: &[u8]) -> Option<Vec<u64>> {
        let mut reader = WireReader::new(Cursor::new(message));
        let end = u64::try_from(message.len()).unwrap();
        let mut integers = Vec::new();
        while let Some(field) = reader.next_field(end).ok()? {
            reader.read_integers(&field, &mut integers, 4).ok()?;
            reader.skip_to(field.end).ok()?;
        }
        Some(integers)
    }

    #[test]
    fn integers_are_read_packed_or_one_by_one() {
        let packed = [8 << 3 | 2, 4, 0, 3, 1, 2];
        assert_eq!(integers(&packed), Some(vec![0, 3, 1, 2]));
        let single = [8 << 3, 0, 8 << 3, 3, 8 << 3, 0x81, 0x01];
        assert_eq!(integers(&single), Some(vec![0, 3, 129]));
    }

    #[test]
    fn the_rest_of_a_list_is_skipped_if_it_is_not_wanted() -> io::Result<()> {
        let message = [8_u8 << 3 | 2, 4, 0, 3, 1, 2, 8 << 3, 7];
        let mut reader = WireReader::new(Cursor::new(&message[..]));
        let list = reader.next_field(8)?.unwrap();
        let mut integers = Vec::new();
        reader.each_integer(&list, |integer| {
            integers.push(integer);
            integers.len() < 2
        })?;
        assert_eq!(integers, [0, 3]);
        reader.skip_to(list.end)?;
        let single = reader.next_field(8)?.unwrap();
        assert_eq!(single.integer, Some(7));
        Ok(())
    }

    #[test]
    fn a_list_that_is_long_or_cut_off_is_an_error() {
        assert_eq!(integers(&[8 << 3 | 2, 5, 0, 1, 2, 3, 4]), None);
        assert_eq!(integers(&[8_u8 << 3, 1].repeat(5)), None);
        // The last number continues after the list.
        assert_eq!(integers(&[8 << 3 | 2, 1, 0x81, 0x01]), None);
    }
}
