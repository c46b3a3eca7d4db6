//! Decoding of one number, bool or string as an element of a tensor.

use super::error::SyntaxError;
use super::reader::{Reader, ValueKind};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 with the standard alphabet. The encoder pads; clients may omit the padding, as in TF Serving.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A closure that appends an integer to a tensor's bytes; it returns `None` for anything else.
///
/// With closures instead of function pointers, the loop over the elements is compiled once per type.
macro_rules! integer {
    ($integer:ty) => {
        |reader, content| {
            let value: $integer = reader.number()?.parse().ok()?;
            content.extend_from_slice(&value.to_le_bytes());
            Some(())
        }
    };
}

/// A closure like the one of `integer!`, for a float. Rust's parser accepts the three bare words, and a missing
/// value is NaN. A number that overflows to infinity gives `None`.
macro_rules! float {
    ($float:ty) => {
        |reader, content| {
            let text = reader.float()?;
            let value: $float = text.parse().ok()?;
            if value.is_infinite() && !text.ends_with("Infinity") {
                return None;
            }
            content.extend_from_slice(&value.to_le_bytes());
            Some(())
        }
    };
}

/// A closure like the one of `float!`, for the two-byte formats. It rounds to the nearest f64 first, so a
/// number that differs from the midpoint of two values by less than an f64 resolves counts as the
/// midpoint.
macro_rules! half {
    ($round:path) => {
        |reader, content| {
            let text = reader.float()?;
            let value = $round(text.parse().ok()?);
            if value.is_infinite() && !text.ends_with("Infinity") {
                return None;
            }
            content.extend_from_slice(&value.to_le_bytes());
            Some(())
        }
    };
}

pub(super) use {float, half, integer};

pub(super) fn read_bool(reader: &mut Reader, content: &mut Vec<u8>) -> Option<()> {
    content.push(u8::from(reader.bool()?));
    Some(())
}

/// Appends a BYTES element from a string, or from `{"b64": "..."}`.
pub(super) fn read_bytes(reader: &mut Reader, content: &mut Vec<u8>) -> Option<()> {
    match reader.kind().ok()? {
        ValueKind::Object if reader.is_base64() => {
            let mut bytes = None;
            let read = reader.object(|_, reader| {
                bytes = reader.string().and_then(|text| BASE64.decode(text).ok());
                Ok::<_, SyntaxError>(())
            });
            read.ok()?;
            append(&bytes?, content)
        }
        ValueKind::String => append(reader.string()?.as_bytes(), content),
        _ => None,
    }
}

/// Appends one BYTES element: its length as a little-endian u32, then its bytes.
fn append(element: &[u8], content: &mut Vec<u8>) -> Option<()> {
    let length = u32::try_from(element.len()).ok()?;
    content.extend_from_slice(&length.to_le_bytes());
    content.extend_from_slice(element);
    Some(())
}
