//! Tests of views of tensors, and of tensors created from values.

use super::*;
use half::{bf16, f16};

#[test]
fn every_datatype_survives_a_round_trip() -> Result<()> {
    fn check<T: Element + PartialEq + fmt::Debug>(values: [T; 2]) -> Result<()> {
        let tensor = Tensor::new("x", &[2], &values)?;
        assert_eq!(tensor.datatype(), T::DATATYPE);
        assert_eq!(tensor.data().len(), 2 * T::DATATYPE.size().unwrap());
        assert_eq!(*tensor.view::<T>(&[-1])?, values);
        assert_eq!(Tensor::collect("x", &[2], values)?, tensor);
        Ok(())
    }
    check([true, false])?;
    check([u8::MAX, 1])?;
    check([u16::MAX, 1])?;
    check([u32::MAX, 1])?;
    check([u64::MAX, 1])?;
    check([i8::MIN, 1])?;
    check([i16::MIN, 1])?;
    check([i32::MIN, 1])?;
    check([i64::MIN, 1])?;
    check([f16::from_f32(-0.5), f16::ONE])?;
    check([bf16::from_f32(-0.5), bf16::ONE])?;
    check([f32::MIN, 1.0])?;
    check([f64::MIN, 1.0])
}

#[test]
fn unaligned_bytes_are_copied_and_aligned_bytes_are_not() {
    let words = [0_u32, 1.0_f32.to_bits(), 2.0_f32.to_bits()];
    let bytes: &[u8] = bytemuck::cast_slice(&words);
    assert!(matches!(
        cast::<f32>(&bytes[4..]),
        Some(Cow::Borrowed([1.0, 2.0]))
    ));
    let mut shifted = [0_u8; 13];
    // One of the offsets 1 and 2 is not a multiple of four, for any alignment of the array.
    for offset in [1, 2] {
        shifted[offset..offset + 8].copy_from_slice(&bytes[4..]);
        assert_eq!(
            cast::<f32>(&shifted[offset..offset + 8]).unwrap(),
            [1.0, 2.0].as_slice()
        );
    }
}

#[test]
fn an_input_that_is_not_as_expected_is_the_clients_fault_and_named() -> Result<()> {
    let mut tensor = Tensor::new("age", &[2, 1], &[1_i32, 2])?;
    tensor.origin = Origin::Request;
    let mistyped = tensor.view::<f32>(&[-1, 1]).unwrap_err();
    assert_eq!(
        mistyped,
        Error::client("input `age` is INT32, expected FP32")
    );
    let misshaped = tensor.view::<i32>(&[-1, 13]).unwrap_err();
    assert_eq!(
        misshaped,
        Error::client("input `age` has shape [2, 1], expected [-1, 13]")
    );
    tensor.origin = Origin::Graph;
    assert_eq!(
        tensor.view::<i32>(&[-1]).unwrap_err().fault(),
        Fault::Handler
    );
    Ok(())
}

#[test]
fn malformed_bytes_are_errors_and_never_a_panic() {
    let raw = |shape: &[usize], data: &[u8]| Tensor {
        name: "x".into(),
        datatype: Datatype::Bytes,
        shape: shape.to_vec(),
        data: data.to_vec(),
        origin: Origin::Request,
    };
    for (shape, data) in [
        ([1], [1, 0, 0].as_slice()),
        ([1], &[2, 0, 0, 0, b'a']),
        ([2], &[0, 0, 0, 0]),
        ([0], &[0, 0, 0, 0]),
        ([usize::MAX], &[]),
        ([1], &[255, 255, 255, 255]),
    ] {
        assert_eq!(
            raw(&shape, data).byte_strings(&[-1]).unwrap_err().fault(),
            Fault::Client,
            "{data:?}"
        );
        assert!(
            Tensor::from_raw("x", Datatype::Bytes, &shape, data.to_vec()).is_err(),
            "{data:?}"
        );
    }
    let not_text = raw(&[2], &[0, 0, 0, 0, 1, 0, 0, 0, 0xff]);
    assert_eq!(
        not_text.strings(&[-1]).unwrap_err().message(),
        "input `x` element 1 is not UTF-8"
    );
    let neither = Tensor {
        datatype: Datatype::Bool,
        ..raw(&[1], &[2])
    };
    assert_eq!(
        neither.view::<bool>(&[-1]).unwrap_err().fault(),
        Fault::Client
    );
}

#[test]
fn rows_follow_the_first_axis_even_when_they_are_empty() -> Result<()> {
    let tensor = Tensor::new("x", &[2, 3], &[1_u8, 2, 3, 4, 5, 6])?;
    let view = tensor.view::<u8>(&[-1, -1])?;
    assert_eq!(view.rows().collect::<Vec<_>>(), [[1, 2, 3], [4, 5, 6]]);
    let empty = Tensor::new::<u8>("x", &[3, 0], &[])?;
    assert_eq!(empty.view::<u8>(&[-1, -1])?.rows().len(), 3);
    let none = Tensor::new::<u8>("x", &[0, 3], &[])?;
    assert_eq!(none.view::<u8>(&[-1, -1])?.rows().len(), 0);
    assert!(Tensor::from_rows("x", &[2], [vec![1_u8, 2], vec![3]]).is_err());
    Ok(())
}
