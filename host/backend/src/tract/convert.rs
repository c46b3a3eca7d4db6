//! Conversion between Wisp's tensors, which are bytes of any alignment, and tract's, which own aligned memory.
//!
//! Inputs are copied once. Outputs are not copied: their bytes keep tract's tensor alive. Strings are
//! converted one by one, since each has memory of its own in tract.

use super::guard::RefusedValue;
use bytes::Bytes;
use tract_onnx::prelude::{
    DatumType, IntoTValue, TValue, TVec, Tensor as TractTensor, TractResult, natural_strides,
    tensor1,
};
use tract_onnx::tract_core::internal::ensure;
use wisp_tensor::{ElementType, Shape, Tensor};

// Tensors are little-endian in Wisp and native in tract; neither side swaps.
#[cfg(target_endian = "big")]
compile_error!("the tract backend needs a little-endian target");

/// Returns the element type for a type of tract, if Wisp has one.
pub(super) fn element_type(datum_type: DatumType) -> Option<ElementType> {
    match datum_type.unquantized() {
        DatumType::Bool => Some(ElementType::Bool),
        DatumType::U8 => Some(ElementType::Uint8),
        DatumType::U16 => Some(ElementType::Uint16),
        DatumType::U32 => Some(ElementType::Uint32),
        DatumType::U64 => Some(ElementType::Uint64),
        DatumType::I8 => Some(ElementType::Int8),
        DatumType::I16 => Some(ElementType::Int16),
        DatumType::I32 => Some(ElementType::Int32),
        // Sizes that tract keeps symbolic; they are numbers in a plan.
        DatumType::I64 | DatumType::TDim => Some(ElementType::Int64),
        DatumType::F16 => Some(ElementType::Fp16),
        DatumType::F32 => Some(ElementType::Fp32),
        DatumType::F64 => Some(ElementType::Fp64),
        DatumType::String => Some(ElementType::Bytes),
        _ => None,
    }
}

/// Returns a tract tensor of `datum_type` with a copy of `tensor`, which has the matching element type.
pub(super) fn to_tract(tensor: &Tensor, datum_type: DatumType) -> TractResult<TValue> {
    let shape: TVec<usize> = tensor
        .shape()
        .dimensions()
        .iter()
        .map(|&size| size as usize)
        .collect();
    if datum_type == DatumType::String {
        let strings = tensor.elements().map(std::str::from_utf8);
        let strings = strings.map(|text| text.map(str::to_owned));
        let strings = strings.collect::<Result<Vec<String>, _>>();
        let strings = strings.map_err(|_| RefusedValue::new("a string is not UTF-8"))?;
        return Ok(tensor1(&strings).into_shape(&shape)?.into_tvalue());
    }
    // Zeroed first, since tract provides uninitialised memory only to unsafe code.
    let mut copy = TractTensor::zero_dt(datum_type, &shape)?;
    copy.as_bytes_mut().copy_from_slice(tensor.content());
    Ok(copy.into_tvalue())
}

/// Returns the tensor in `value`, of type `expected`, which shares its memory.
pub(super) fn from_tract(value: TValue, expected: ElementType) -> TractResult<Tensor> {
    let value = match value.datum_type() {
        DatumType::TDim => value.cast_to::<i64>()?.into_owned().into_tvalue(),
        _ => value,
    };
    let found = value.datum_type();
    ensure!(
        element_type(found) == Some(expected),
        "output is {found:?} instead of {expected}"
    );
    // The bytes of a GPU's output are copied from its memory here, when they are first asked for.
    let plain = value.try_as_plain_ram().map(drop);
    // tract's kernels use layouts of their own. None is known to reach an output; the bytes of such an
    // output would not be a valid tensor.
    ensure!(
        plain.is_ok() && lies_row_by_row(value.shape(), value.strides()),
        "output is not laid out row by row"
    );
    let dimensions = value
        .shape()
        .iter()
        .map(|&size| u32::try_from(size))
        .collect::<Result<Vec<u32>, _>>()?;
    let shape = Shape::new(dimensions)?;
    let content = match found {
        DatumType::String => {
            let strings = value.try_as_plain_ram()?.as_slice::<String>()?;
            let strings = strings.iter().map(String::as_bytes);
            Tensor::from_elements(strings)?.into_content()
        }
        _ => Bytes::from_owner(Content(value)),
    };
    Ok(Tensor::new(expected, shape, content)?)
}

/// Returns whether elements are contiguous as in Wisp's tensors. An axis of one element often has another
/// stride, which is never used.
fn lies_row_by_row(shape: &[usize], strides: &[isize]) -> bool {
    let natural = natural_strides(shape);
    let axes = shape.iter().zip(strides.iter().zip(&natural));
    let lies =
        |(size, (stride, natural)): (&usize, (&isize, &isize))| *size == 1 || stride == natural;
    shape.contains(&0) || axes.into_iter().all(lies)
}

/// A tensor of tract as the owner of shared bytes.
struct Content(TValue);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::TDim;

    fn tensor(element_type: ElementType, dimensions: &[u32], content: &[u8]) -> Tensor {
        let shape = Shape::new(dimensions.to_vec()).unwrap();
        Tensor::new(element_type, shape, Bytes::copy_from_slice(content)).unwrap()
    }

    #[test]
    fn every_type_of_tract_survives_a_round_trip() {
        let known = [
            DatumType::Bool,
            DatumType::U8,
            DatumType::U16,
            DatumType::U32,
            DatumType::U64,
            DatumType::I8,
            DatumType::I16,
            DatumType::I32,
            DatumType::I64,
            DatumType::F16,
            DatumType::F32,
            DatumType::F64,
        ];
        for datum_type in known {
            let element_type = element_type(datum_type).unwrap();
            let size = u32::try_from(element_type.size().unwrap()).unwrap();
            let content: Vec<u8> = (0..6 * size).map(|byte| u8::from(byte % 3 == 0)).collect();
            for dimensions in [[6, 1], [2, 3]] {
                let original = tensor(element_type, &dimensions, &content);
                let there = to_tract(&original, datum_type).unwrap();
                assert_eq!(from_tract(there, element_type).unwrap(), original);
            }
        }
    }

    #[test]
    fn scalars_and_empty_tensors_survive_a_round_trip() {
        for (dimensions, content) in [(vec![], [1, 0, 0, 0].as_slice()), (vec![0, 3], &[])] {
            let original = tensor(ElementType::Int32, &dimensions, content);
            let there = to_tract(&original, DatumType::I32).unwrap();
            assert_eq!(from_tract(there, ElementType::Int32).unwrap(), original);
        }
    }

    #[test]
    fn unaligned_bytes_are_accepted() {
        let content: Vec<u8> = (0..17).collect();
        let shared = Bytes::from(content);
        let shape = Shape::new(vec![4]).unwrap();
        for start in 0..2 {
            let slice = shared.slice(start..start + 16);
            let original = Tensor::new(ElementType::Fp32, shape.clone(), slice).unwrap();
            let there = to_tract(&original, DatumType::F32).unwrap();
            assert_eq!(from_tract(there, ElementType::Fp32).unwrap(), original);
        }
    }

    #[test]
    fn an_output_shares_the_memory_that_tract_computed_it_in() {
        let value = to_tract(&tensor(ElementType::Uint8, &[3], &[1, 2, 3]), DatumType::U8).unwrap();
        let address = value.as_bytes().as_ptr();
        let output = from_tract(value, ElementType::Uint8).unwrap();
        assert_eq!(output.content().as_ptr(), address);
    }

    #[test]
    fn symbolic_sizes_are_converted_to_int64() {
        let value = tensor1(&[TDim::Val(7), TDim::Val(-2)]).into_tvalue();
        let output = from_tract(value, ElementType::Int64).unwrap();
        let expected: Vec<u8> = [7i64, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(output.content(), &expected);
    }

    #[test]
    fn strings_survive_a_round_trip() {
        let words = ["", "K\u{f6}ln", "a\0b", " "].map(str::as_bytes);
        let words = Tensor::from_elements(words.into_iter()).unwrap();
        for dimensions in [[4, 1], [2, 2]] {
            let original = tensor(ElementType::Bytes, &dimensions, words.content());
            let there = to_tract(&original, DatumType::String).unwrap();
            assert_eq!(from_tract(there, ElementType::Bytes).unwrap(), original);
        }
        let none = tensor(ElementType::Bytes, &[0, 3], &[]);
        let there = to_tract(&none, DatumType::String).unwrap();
        assert_eq!(from_tract(there, ElementType::Bytes).unwrap(), none);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        let bytes = Tensor::from_elements([[0xff].as_slice()].into_iter()).unwrap();
        assert!(to_tract(&bytes, DatumType::String).is_err());
    }

    #[test]
    fn an_output_of_an_undeclared_type_is_an_error() {
        let value = to_tract(&tensor(ElementType::Uint8, &[1], &[1]), DatumType::U8).unwrap();
        assert!(from_tract(value, ElementType::Int8).is_err());
    }
}
