//! One number, truth value or string as an element of a tensor.

use super::reader::{Kind, Reader};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The standard alphabet. Padding is written, and may be left out by clients, as in TF Serving.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A closure that reads a number onto the end of a tensor's bytes; `None` when it is none.
///
/// Closures instead of function pointers: the loop over the elements is compiled once per type.
macro_rules! integer {
    ($integer:ty) => {
        |reader: &mut $crate::lenient::Reader, content: &mut Vec<u8>| {
            let value: $integer = reader.number()?.parse().ok()?;
            content.extend_from_slice(&value.to_le_bytes());
            Some(())
        }
    };
}

/// As `integer!`. Rust's parser knows the three bare words; a number that is infinite only for
/// being too large is none.
macro_rules! float {
    ($float:ty) => {
        |reader: &mut $crate::lenient::Reader, content: &mut Vec<u8>| {
            let text = reader.number()?;
            let value: $float = text.parse().ok()?;
            if value.is_infinite() && !text.ends_with("Infinity") {
                return None;
            }
            content.extend_from_slice(&value.to_le_bytes());
            Some(())
        }
    };
}

/// As `float!`, for the formats of two bytes: by way of the nearest double, so that a number closer to
/// the middle of two than a double can tell is taken for the middle.
macro_rules! half {
    ($format:expr) => {
        |reader: &mut $crate::lenient::Reader, content: &mut Vec<u8>| {
            let text = reader.number()?;
            let value = $crate::lenient::half::nearest(text.parse().ok()?, $format);
            if $crate::lenient::half::is_infinite(value, $format) && !text.ends_with("Infinity") {
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

/// A string, or bytes as `{"b64": "..."}`.
pub(super) fn read_bytes(reader: &mut Reader, content: &mut Vec<u8>) -> Option<()> {
    match reader.kind().ok()? {
        Kind::Object if reader.is_base64() => {
            let mut bytes = None;
            let read = reader.object(|_, reader| {
                bytes = reader.string().and_then(|text| BASE64.decode(text).ok());
                Ok::<_, super::SyntaxError>(())
            });
            read.ok()?;
            append(&bytes?, content)
        }
        Kind::Text => append(reader.string()?.as_bytes(), content),
        _ => None,
    }
}

/// Appends one BYTES element: its length, then itself.
fn append(element: &[u8], content: &mut Vec<u8>) -> Option<()> {
    let length = u32::try_from(element.len()).ok()?;
    content.extend_from_slice(&length.to_le_bytes());
    content.extend_from_slice(element);
    Some(())
}
