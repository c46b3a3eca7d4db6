//! Conversion of the repeated fields of messages to tensor elements.
//!
//! Protobuf lacks narrow integer types, so a field's type may be wider than the tensor's. A value that
//! does not fit is refused with its position, never truncated.

use bytes::{BufMut, Bytes};

/// Appends each number as `narrow` encodes it, or returns the position of the first that does not fit.
///
/// `narrow` is a closure instead of a function pointer, so the loop over the elements is compiled once
/// per type.
pub(super) fn numbers<T: Copy, const SIZE: usize>(
    content: &mut Vec<u8>,
    values: &[T],
    narrow: impl Fn(T) -> Option<[u8; SIZE]>,
) -> Result<(), usize> {
    content.reserve(values.len() * SIZE);
    for (position, &value) in values.iter().enumerate() {
        content.extend_from_slice(&narrow(value).ok_or(position)?);
    }
    Ok(())
}

/// Expands to a closure for [`numbers`] that narrows an integer to this type.
macro_rules! narrow {
    ($integer:ty) => {
        |value| Some(<$integer>::try_from(value).ok()?.to_le_bytes())
    };
}
pub(super) use narrow;

/// Encodes a bool as a BOOL element.
pub(super) fn boolean(value: bool) -> Option<[u8; 1]> {
    Some([u8::from(value)])
}

/// Appends the elements in V2's layout of BYTES; fails with the position of an element beyond 4 GiB.
pub(super) fn strings<'a>(
    content: &mut Vec<u8>,
    elements: impl IntoIterator<Item = &'a Bytes>,
) -> Result<(), usize> {
    for (position, element) in elements.into_iter().enumerate() {
        content.put_u32_le(u32::try_from(element.len()).map_err(|_| position)?);
        content.put_slice(element);
    }
    Ok(())
}

/// Returns the number of bytes of these elements in V2's layout of BYTES.
pub(super) fn strings_size<'a>(elements: impl IntoIterator<Item = &'a Bytes>) -> usize {
    // All elements are in memory, each with an allocation or a handle larger than its length prefix.
    let sizes = elements.into_iter().map(|element| element.len() + 4);
    sizes.fold(0, usize::saturating_add)
}
