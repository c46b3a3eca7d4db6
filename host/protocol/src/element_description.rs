//! Descriptions of the JSON form of an element, for error messages.

use wisp_tensor::ElementType;

/// Returns a description of an element of this type in JSON.
pub(crate) fn describe(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Bool => "true or false",
        ElementType::Uint8 => "an integer from 0 to 255",
        ElementType::Uint16 => "an integer from 0 to 65535",
        ElementType::Uint32 => "an integer from 0 to 4294967295",
        ElementType::Uint64 => "an integer from 0 to 18446744073709551615",
        ElementType::Int8 => "an integer from -128 to 127",
        ElementType::Int16 => "an integer from -32768 to 32767",
        ElementType::Int32 => "an integer from -2147483648 to 2147483647",
        ElementType::Int64 => "an integer from -9223372036854775808 to 9223372036854775807",
        ElementType::Fp16 => "a number within the range of FP16",
        ElementType::Bf16 => "a number within the range of BF16",
        ElementType::Fp32 => "a number within the range of FP32",
        ElementType::Fp64 => "a number within the range of FP64",
        ElementType::Bytes => "a string of valid Unicode",
    }
}
