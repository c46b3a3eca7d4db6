//! The element types of V2, with their names and sizes on the wire.
//!
//! There are fourteen of them. wasi:nn supports seven, and each backend declares which of them it
//! computes with.

use std::fmt;

/// The type of a tensor's elements, as the Open Inference Protocol (V2) defines it.
///
/// All multi-byte types are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// One byte per element, 0 or 1.
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    /// IEEE 754 half precision.
    Fp16,
    /// The upper 16 bits of an IEEE 754 single (f32).
    Bf16,
    Fp32,
    Fp64,
    /// Byte strings of any length: per element a u32 length, followed by that many bytes.
    Bytes,
}

impl ElementType {
    /// Every element type, in V2's order.
    pub const ALL: [ElementType; 14] = [
        ElementType::Bool,
        ElementType::Uint8,
        ElementType::Uint16,
        ElementType::Uint32,
        ElementType::Uint64,
        ElementType::Int8,
        ElementType::Int16,
        ElementType::Int32,
        ElementType::Int64,
        ElementType::Fp16,
        ElementType::Bf16,
        ElementType::Fp32,
        ElementType::Fp64,
        ElementType::Bytes,
    ];

    /// Returns the name that V2 uses on the wire, in upper case.
    pub fn name(self) -> &'static str {
        match self {
            ElementType::Bool => "BOOL",
            ElementType::Uint8 => "UINT8",
            ElementType::Uint16 => "UINT16",
            ElementType::Uint32 => "UINT32",
            ElementType::Uint64 => "UINT64",
            ElementType::Int8 => "INT8",
            ElementType::Int16 => "INT16",
            ElementType::Int32 => "INT32",
            ElementType::Int64 => "INT64",
            ElementType::Fp16 => "FP16",
            ElementType::Bf16 => "BF16",
            ElementType::Fp32 => "FP32",
            ElementType::Fp64 => "FP64",
            ElementType::Bytes => "BYTES",
        }
    }

    /// Returns the element type that V2 calls `name`; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<ElementType> {
        ElementType::ALL
            .into_iter()
            .find(|element_type| element_type.name() == name)
    }

    /// Returns the number of bytes per element, or `None` for BYTES, whose elements vary in size.
    pub fn size(self) -> Option<usize> {
        match self {
            ElementType::Bool | ElementType::Uint8 | ElementType::Int8 => Some(1),
            ElementType::Uint16 | ElementType::Int16 | ElementType::Fp16 | ElementType::Bf16 => {
                Some(2)
            }
            ElementType::Uint32 | ElementType::Int32 | ElementType::Fp32 => Some(4),
            ElementType::Uint64 | ElementType::Int64 | ElementType::Fp64 => Some(8),
            ElementType::Bytes => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_type() {
        for element_type in ElementType::ALL {
            assert_eq!(
                ElementType::from_name(element_type.name()),
                Some(element_type)
            );
        }
        assert_eq!(ElementType::from_name("fp32"), None);
    }
}
