//! Conversion between Wisp's tensors, which are bytes, and the values of rten.
//!
//! rten has the types f32, i32, i8 and u8. INT64 and BOOL are i32 there, and FP16 is f32. Inputs are copied
//! once. Outputs of types that rten has are not copied.

use bytes::Bytes;
use half::f16;
use rten::Value;
use rten_tensor::Layout;
use wisp_tensor::{ElementType, Shape, Tensor};
use zerocopy::{Immutable, IntoBytes};

// Tensors are little-endian in Wisp and native in rten; outputs are not swapped.
#[cfg(target_endian = "big")]
compile_error!("the rten backend needs a little-endian target");

/// Returns the value of rten with the elements of `tensor`, or the reason that it has none.
pub(super) fn to_rten(tensor: &Tensor) -> Result<Value, String> {
    let shape: Vec<usize> = tensor
        .shape()
        .dimensions()
        .iter()
        .map(|&size| size as usize)
        .collect();
    let content = tensor.content();
    match tensor.element_type() {
        ElementType::Fp32 => floats(shape, elements(content, f32::from_le_bytes)),
        ElementType::Fp16 => floats(
            shape,
            elements(content, |bytes| f16::from_le_bytes(bytes).to_f32_const()),
        ),
        ElementType::Int32 => integers(shape, elements(content, i32::from_le_bytes)),
        ElementType::Int64 => {
            let narrow = |bytes: &[u8; 8]| {
                let number = i64::from_le_bytes(*bytes);
                i32::try_from(number).map_err(|_| format!("{number} is beyond 32 bits"))
            };
            let numbers = content.as_chunks().0.iter().map(narrow);
            integers(shape, numbers.collect::<Result<Vec<i32>, String>>()?)
        }
        ElementType::Bool => {
            let numbers = content.iter().map(|&byte| i32::from(byte != 0));
            integers(shape, numbers.collect())
        }
        ElementType::Uint8 => {
            Value::from_shape(shape, content.to_vec()).map_err(|error| error.to_string())
        }
        ElementType::Int8 => Value::from_shape(shape, elements(content, i8::from_le_bytes))
            .map_err(|error| error.to_string()),
        other => Err(format!("rten has no {other}")),
    }
}

fn elements<T, const N: usize>(content: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
    content
        .as_chunks()
        .0
        .iter()
        .map(|bytes| element(*bytes))
        .collect()
}

fn floats(shape: Vec<usize>, elements: Vec<f32>) -> Result<Value, String> {
    Value::from_shape(shape, elements).map_err(|error| error.to_string())
}

fn integers(shape: Vec<usize>, elements: Vec<i32>) -> Result<Value, String> {
    Value::from_shape(shape, elements).map_err(|error| error.to_string())
}

/// Returns the tensor in `value`, of type `expected`.
pub(super) fn from_rten(value: Value, expected: ElementType) -> Result<Tensor, String> {
    let dimensions = value.shape();
    let dimensions = dimensions.iter().map(|&size| u32::try_from(size));
    let dimensions = dimensions
        .collect::<Result<Vec<u32>, _>>()
        .map_err(|_| "its shape is too large".to_owned())?;
    let shape = Shape::new(dimensions).map_err(|error| error.to_string())?;
    let found = value.dtype();
    let content = match expected {
        ElementType::Fp32 => data::<f32>(value).map(shared),
        ElementType::Fp16 => data::<f32>(value).map(|numbers| {
            // In software: kernels with AVX-512 leave the upper parts of registers in use, and each conversion by an
            // instruction then takes a hundred times as long.
            let halves = numbers.iter();
            let halves = halves.flat_map(|&n| f16::from_f32_const(n).to_le_bytes());
            Bytes::from_iter(halves)
        }),
        ElementType::Int32 => data::<i32>(value).map(shared),
        ElementType::Int64 => data::<i32>(value).map(|numbers| {
            let wide = numbers.iter().flat_map(|&n| i64::from(n).to_le_bytes());
            Bytes::from_iter(wide)
        }),
        ElementType::Bool => {
            data::<i32>(value).map(|numbers| numbers.iter().map(|&n| u8::from(n != 0)).collect())
        }
        ElementType::Uint8 => data::<u8>(value).map(Bytes::from),
        ElementType::Int8 => data::<i8>(value).map(shared),
        _ => None,
    };
    let content = content.ok_or_else(|| format!("it is {found} instead of {expected}"))?;
    Tensor::new(expected, shape, content).map_err(|error| error.to_string())
}

/// Returns the elements of a value row by row, if they have this type.
fn data<T: Clone>(value: Value) -> Option<Vec<T>>
where
    rten_tensor::Tensor<T>: TryFrom<Value>,
{
    Some(value.into_tensor::<T>()?.into_data())
}

/// Numbers as the owner of shared bytes.
struct Content<T>(Vec<T>);

impl<T: IntoBytes + Immutable> AsRef<[u8]> for Content<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn shared<T: IntoBytes + Immutable + Send + 'static>(numbers: Vec<T>) -> Bytes {
    Bytes::from_owner(Content(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(element_type: ElementType, content: &[u8]) -> anyhow::Result<Tensor> {
        let size = element_type.size().unwrap_or(1);
        let rows = u32::try_from(content.len() / size / 2)?;
        let content = Bytes::copy_from_slice(content);
        Ok(Tensor::new(
            element_type,
            Shape::new(vec![rows, 2])?,
            content,
        )?)
    }

    #[test]
    fn types_survive_a_round_trip() -> anyhow::Result<()> {
        for (element_type, content) in [
            (
                ElementType::Fp32,
                [0, 0, 0x80, 0x3f, 0, 0, 0xc0, 0x7f].as_slice(),
            ),
            (ElementType::Fp16, &[0, 0x3c, 0, 0x7c, 1, 0, 0, 0x80]),
            (ElementType::Int32, &[255, 255, 255, 127, 0, 0, 0, 128]),
            (
                ElementType::Int64,
                &[
                    7, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
                ],
            ),
            (ElementType::Bool, &[0, 1, 1, 0]),
            (ElementType::Uint8, &[0, 255]),
            (ElementType::Int8, &[128, 127]),
        ] {
            let original = tensor(element_type, content)?;
            let value = to_rten(&original).map_err(anyhow::Error::msg)?;
            let back = from_rten(value, element_type).map_err(anyhow::Error::msg)?;
            assert_eq!(back, original);
        }
        Ok(())
    }

    #[test]
    fn values_that_rten_would_narrow_are_refused() -> anyhow::Result<()> {
        let wide: Vec<u8> = [1_i64, 1 << 31]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let reason = to_rten(&tensor(ElementType::Int64, &wide)?).err();
        assert_eq!(reason.as_deref(), Some("2147483648 is beyond 32 bits"));
        assert!(to_rten(&tensor(ElementType::Fp64, &[0; 16])?).is_err());
        let value = to_rten(&tensor(ElementType::Fp32, &[0; 8])?).map_err(anyhow::Error::msg)?;
        assert!(from_rten(value, ElementType::Int32).is_err());
        Ok(())
    }
}
