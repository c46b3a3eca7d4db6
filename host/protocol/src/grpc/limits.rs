//! Limits on the decoded size of a message, checked before it is decoded.
//!
//! An element of two bytes on the wire may take hundreds in memory, and prost allocates all of them
//! before they can be counted. A walk over the tags therefore checks each repeated field against its
//! limit (`layout`) and adds up the size of the decoded message, including the spare capacity of growing
//! lists and maps and the tensors made from its lists.
//!
//! Invariants: the walk allocates nothing and takes time proportional to the message; its depth is
//! bounded by the schema, not by the message. The sum is never less than the memory that prost allocates.

mod layout;

use crate::error::{ErrorKind, HasErrorKind};
use layout::{
    Counted, ElementLimit, FIXED32, FIXED64, Field, Kind, LAYOUTS, Layout, MAX_COUNTED, VARINT,
};
use prost::Name;

/// The effort of walking and decoding a tag, in bytes that could be copied in the same time.
const TAG_EFFORT: usize = 16;

/// The number of bytes of a packed field that are counted per unit of effort (one copied byte).
const PACKED_BYTES_PER_EFFORT: usize = 4;

/// The maximum nesting depth of groups in unknown fields, as in prost.
const MAX_GROUPS: u32 = 100;

/// The overhead of an allocation in bytes.
const ALLOCATION_BYTES: usize = 16;

/// The capacity of a `BTreeMap` node in entries; the first entry allocates a whole node.
const MAP_NODE_ENTRIES: usize = 11;

/// The decoded size of a message, as far as it was measured. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// The maximum number of bytes that the decoded message takes besides the encoded one, which it
    /// shares.
    Whole(usize),
    /// Measuring the rest would exceed the granted effort.
    TooLong,
}

/// The error for a message that must not be decoded. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    #[error("the message does not match its schema, or it is truncated")]
    Malformed,
    #[error("field `{field}` of {message} has more than {limit} elements, which is the most")]
    TooMany {
        message: &'static str,
        field: &'static str,
        limit: u32,
    },
    #[error(
        "decoded, the message takes more than {limit} bytes, a multiple of what --max-body-bytes sets, \
         with {count} elements in field `{field}` of {message} so far"
    )]
    TooLarge {
        message: &'static str,
        field: &'static str,
        count: u32,
        limit: usize,
    },
}

impl HasErrorKind for LimitError {
    fn kind(&self) -> ErrorKind {
        match self {
            LimitError::Malformed | LimitError::TooMany { .. } => ErrorKind::InvalidRequest,
            LimitError::TooLarge { .. } => ErrorKind::TooLarge,
        }
    }
}

/// Measures a message of type `M`, which may take at most `limit` bytes decoded. Stops with
/// [`Measured::TooLong`] after as much work as copying `effort` bytes.
pub fn measure<M: Name>(
    message: &[u8],
    limit: usize,
    effort: usize,
) -> Result<Measured, LimitError> {
    let layout = LAYOUTS.of::<M>();
    let mut walk = Walk {
        bytes: 0,
        limit,
        effort,
    };
    match walk.message(layout, message) {
        Ok(()) => Ok(Measured::Whole(walk.bytes)),
        Err(Stop::TooLong) => Ok(Measured::TooLong),
        Err(Stop::Refused(error)) => Err(error),
    }
}

/// The state of a walk: the decoded size so far.
struct Walk {
    bytes: usize,
    limit: usize,
    /// The remaining effort.
    effort: usize,
}

/// The reason for ending a walk early.
enum Stop {
    TooLong,
    Refused(LimitError),
}

/// The unread rest of a message, and the number of elements per repeated field so far.
struct Fields<'a> {
    layout: &'a Layout,
    rest: &'a [u8],
    counts: [u32; MAX_COUNTED],
}

/// A field of a message, and its number of elements so far. Used in error messages.
struct FieldPosition<'a> {
    layout: &'a Layout,
    field: &'a Field,
    count: u32,
}

const MALFORMED: Stop = Stop::Refused(LimitError::Malformed);

const LENGTH: u64 = 2;
const START_GROUP: u64 = 3;
const END_GROUP: u64 = 4;

// === impl Walk ===

impl Walk {
    /// Walks a message, recursively for nested messages. The schemas are not recursive.
    fn message(&mut self, layout: &Layout, message: &[u8]) -> Result<(), Stop> {
        let mut fields = Fields {
            layout,
            rest: message,
            counts: [0; MAX_COUNTED],
        };
        while !fields.rest.is_empty() {
            self.work(TAG_EFFORT)?;
            let key = varint(&mut fields.rest)?;
            let (number, wire) = (key >> 3, key & 7);
            let field = usize::try_from(number)
                .ok()
                .and_then(|number| layout.field(number));
            match field {
                Some(field) => self.field(&mut fields, field, wire)?,
                None => self.skip(key, &mut fields.rest)?,
            }
        }
        Ok(())
    }

    fn field(&mut self, fields: &mut Fields, field: &Field, wire: u64) -> Result<(), Stop> {
        let Fields {
            layout,
            rest,
            counts,
        } = fields;
        let content = match wire {
            VARINT => {
                varint(rest)?;
                None
            }
            FIXED64 => fixed(rest, 8)?,
            FIXED32 => fixed(rest, 4)?,
            LENGTH => Some(delimited(rest)?),
            _ => return Err(MALFORMED),
        };
        if let (Kind::Number { .. }, Some(packed)) = (field.kind, content) {
            self.work(packed.len() / PACKED_BYTES_PER_EFFORT)?;
        }
        let elements = elements(field.kind, wire, content)?;
        let count = match field.counted {
            None => 0,
            Some(Counted { slot, limit }) => {
                let count = counts[slot].saturating_add(elements);
                if let ElementLimit::Elements(limit) = limit
                    && count > limit
                {
                    return Err(Stop::Refused(LimitError::TooMany {
                        message: layout.name(),
                        field: field.name,
                        limit,
                    }));
                }
                counts[slot] = count;
                count
            }
        };
        let place = FieldPosition {
            layout,
            field,
            count,
        };
        let content = content.unwrap_or_default();
        if field.counted.is_some() {
            self.charge(field.grown(count - elements, count), &place)?;
        }
        match field.kind {
            Kind::Number { .. } => Ok(()),
            Kind::Text => self.charge(content.len() + ALLOCATION_BYTES, &place),
            Kind::Bytes => match field.is_content() {
                // Copied into the tensor, each with a length prefix.
                true => self.charge(content.len() + size_of::<u32>(), &place),
                false => Ok(()),
            },
            Kind::Message(inner) => self.message(LAYOUTS.at(inner), content),
        }
    }

    /// Skips a field that is not in the schema.
    fn skip(&mut self, key: u64, rest: &mut &[u8]) -> Result<(), Stop> {
        let mut groups = 0;
        let mut key = key;
        loop {
            match key & 7 {
                VARINT => {
                    varint(rest)?;
                }
                FIXED64 => {
                    fixed(rest, 8)?;
                }
                FIXED32 => {
                    fixed(rest, 4)?;
                }
                LENGTH => {
                    delimited(rest)?;
                }
                START_GROUP if groups < MAX_GROUPS => groups += 1,
                END_GROUP if groups > 0 => groups -= 1,
                _ => return Err(MALFORMED),
            }
            if groups == 0 {
                return Ok(());
            }
            self.work(TAG_EFFORT)?;
            key = varint(rest)?;
        }
    }

    fn charge(&mut self, bytes: usize, place: &FieldPosition) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limit {
            return Err(Stop::Refused(LimitError::TooLarge {
                message: place.layout.name(),
                field: place.field.name,
                count: place.count,
                limit: self.limit,
            }));
        }
        self.work(bytes)
    }

    fn work(&mut self, effort: usize) -> Result<(), Stop> {
        self.effort = self.effort.checked_sub(effort).ok_or(Stop::TooLong)?;
        Ok(())
    }
}

// === impl Field ===

impl Field {
    /// Returns the maximum number of bytes by which this field's list or map grows from `before` to
    /// `after` elements.
    fn grown(&self, before: u32, after: u32) -> usize {
        self.capacity(after) - self.capacity(before)
    }

    fn capacity(&self, count: u32) -> usize {
        let count = count as usize;
        let (size, is_map) = self.element();
        let content = match self.is_content() {
            true => size,
            false => 0,
        };
        let slots = match (count, is_map) {
            (0, _) => return 0,
            // A split leaves nodes about half full, and inner nodes add edges.
            (_, true) => count.saturating_mul(2) + MAP_NODE_ENTRIES,
            // A vector doubles its capacity when it grows, and starts with at least four slots.
            (_, false) => count.saturating_mul(2).max(4),
        };
        let list = slots.saturating_mul(size) + ALLOCATION_BYTES;
        list.saturating_add(count.saturating_mul(content))
    }
}

/// Returns the number of elements that one occurrence of a field adds.
fn elements(kind: Kind, wire: u64, content: Option<&[u8]>) -> Result<u32, Stop> {
    let Some(content) = content else {
        return match kind {
            Kind::Number { wire: expected, .. } if expected == wire => Ok(1),
            _ => Err(MALFORMED),
        };
    };
    let count = match kind {
        Kind::Number { wire: VARINT, .. } => content.iter().filter(|&&byte| byte < 0x80).count(),
        Kind::Number { wire: FIXED32, .. } => content.len() / 4,
        Kind::Number { .. } => content.len() / 8,
        Kind::Text | Kind::Bytes | Kind::Message(_) => 1,
    };
    u32::try_from(count).map_err(|_| MALFORMED)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Stop> {
    let mut value = 0;
    for (position, &byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            *rest = &rest[position + 1..];
            return Ok(value);
        }
    }
    Err(MALFORMED)
}

/// Skips a number of `bytes` bytes; it has no content.
fn fixed<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<Option<&'a [u8]>, Stop> {
    *rest = rest.get(bytes..).ok_or(MALFORMED)?;
    Ok(None)
}

fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Stop> {
    let length = usize::try_from(varint(rest)?).map_err(|_| MALFORMED)?;
    let (content, behind) = rest.split_at_checked(length).ok_or(MALFORMED)?;
    *rest = behind;
    Ok(content)
}

#[cfg(test)]
mod tests;
