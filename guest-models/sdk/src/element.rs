//! The element types of tensors, and the corresponding Rust types.

use bytemuck::{CheckedBitPattern, NoUninit};
use half::{bf16, f16};
use std::fmt;

// Tensor bytes are little-endian, and views reinterpret them in place.
#[cfg(target_endian = "big")]
compile_error!("wisp-handler needs a little-endian target");

/// An element type of the Open Inference Protocol (V2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is the protocol's own")]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    /// Byte strings of any length.
    Bytes,
}

impl Datatype {
    /// Returns the size of one element in bytes, or `None` for BYTES.
    ///
    /// ```
    /// use wisp_handler::Datatype;
    ///
    /// assert_eq!(Datatype::Fp16.size(), Some(2));
    /// assert_eq!(Datatype::Bytes.size(), None);
    /// ```
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        })
    }
}

/// A Rust type for an element of a tensor: `bool`, the integers, the floats, and [`half::f16`] and
/// [`half::bf16`]. BYTES has no such type, see [`Tensor::strings`](crate::Tensor::strings).
pub trait Element: NoUninit + CheckedBitPattern + sealed::Sealed {
    /// The datatype of a tensor with these elements.
    const DATATYPE: Datatype;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($rust:ty => $datatype:ident),* $(,)?) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const DATATYPE: Datatype = Datatype::$datatype;
        }
    )*};
}

elements! {
    bool => Bool,
    u8 => Uint8,
    u16 => Uint16,
    u32 => Uint32,
    u64 => Uint64,
    i8 => Int8,
    i16 => Int16,
    i32 => Int32,
    i64 => Int64,
    f16 => Fp16,
    bf16 => Bf16,
    f32 => Fp32,
    f64 => Fp64,
}
