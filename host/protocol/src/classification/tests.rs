//! Tests of the classes of given numbers.

use super::*;
use crate::call::{ModelName, Version};
use proptest::prelude::*;
use wisp_tensor::{Dimension, Signature, TensorSpec};

fn model(element_type: ElementType, max_batch_size: u32) -> ModelDescription {
    ModelDescription {
        model: ModelName::new("m").unwrap(),
        version: Version::FIRST,
        platform: "tract_onnx".to_owned(),
        signature: Signature {
            inputs: Vec::new(),
            outputs: vec![TensorSpec {
                name: "y".to_owned(),
                element_type,
                shape: vec![Dimension::Variable],
                optional: false,
            }],
        },
        max_batch_size,
        max_rows: None,
        class_labels: Default::default(),
        properties: Default::default(),
        configuration: Default::default(),
    }
}

/// Returns the shape and the strings of the classes of a tensor of this type.
fn classes(
    (element_type, sizes, content): (ElementType, &[u32], Vec<u8>),
    count: u64,
    max_batch_size: u32,
) -> Result<(Vec<u32>, Vec<String>), ClassesError> {
    let model = model(element_type, max_batch_size);
    let shape = Shape::new(sizes.to_vec()).unwrap();
    let response = InferResponse {
        outputs: vec![NamedTensor {
            name: "y".to_owned(),
            tensor: Tensor::new(element_type, shape, content.into()).unwrap(),
        }],
        parameters: Vec::new(),
    };
    let asked = [TopClasses::new("y", Some(count), &model).unwrap()];
    let tensor = classify(&asked, response, &model)?.outputs.remove(0).tensor;
    let strings = tensor.elements();
    let strings = strings.map(|text| String::from_utf8(text.to_vec()).unwrap());
    Ok((tensor.shape().dimensions().to_vec(), strings.collect()))
}

fn f32_bytes(numbers: &[f32]) -> Vec<u8> {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    bytes.collect()
}

#[test]
fn each_row_of_a_batch_has_its_own_classes() -> anyhow::Result<()> {
    let numbers = f32_bytes(&[2.0, 4.0, 3.0, 6.0, 5.0, -1.5]);
    let output = |sizes: &'static [u32]| (ElementType::Fp32, sizes, numbers.clone());
    let (shape, strings) = classes(output(&[2, 3]), 2, 8)?;
    assert_eq!(shape, [2, 2]);
    assert_eq!(
        strings,
        ["4.000000:1", "3.000000:2", "6.000000:0", "5.000000:1"]
    );
    let (shape, strings) = classes(output(&[2, 3]), u64::MAX, 8)?;
    assert_eq!(shape, [2, 3]);
    assert_eq!(strings[5], "-1.500000:2");
    // A row may have any shape, and without a batch axis there is a single row.
    assert_eq!(classes(output(&[2, 3, 1]), 1, 8)?.0, [2, 1]);
    let (shape, strings) = classes(output(&[2, 3]), 1, 0)?;
    assert_eq!((shape, strings), (vec![1], vec!["6.000000:3".to_owned()]));
    assert_eq!(classes(output(&[6]), 1, 8)?.0, [6, 1]);
    Ok(())
}

#[test]
fn an_output_without_elements_has_no_classes() -> anyhow::Result<()> {
    let empty = |sizes: &'static [u32]| (ElementType::Fp32, sizes, Vec::new());
    assert_eq!(classes(empty(&[0, 3]), 2, 8)?.0, [0, 0]);
    assert_eq!(classes(empty(&[3, 0]), 2, 8)?.0, [3, 0]);
    assert_eq!(classes(empty(&[0]), 2, 0)?.0, [0]);
    Ok(())
}

#[test]
fn numbers_are_formatted_as_c_prints_them() -> anyhow::Result<()> {
    let of = |numbers: &[f32]| {
        let size = [u32::try_from(numbers.len()).unwrap()];
        Ok::<_, ClassesError>(classes((ElementType::Fp32, &size, f32_bytes(numbers)), 9, 0)?.1)
    };
    let numbers = [f32::NAN, 0.1, f32::INFINITY, 1e-9, -0.0, f32::NEG_INFINITY];
    let expected = [
        "inf:2",
        "0.100000:1",
        "0.000000:3",
        "-0.000000:4",
        "-inf:5",
        "nan:0",
    ];
    assert_eq!(of(&numbers)?, expected);
    // Ties round to even, as in glibc.
    assert_eq!(of(&[0.0078125, 0.0234375])?, ["0.023438:1", "0.007812:0"]);
    let integers = (ElementType::Int8, [3].as_slice(), vec![255, 7, 128]);
    assert_eq!(classes(integers, 9, 0)?.1, ["7:1", "-1:0", "-128:2"]);
    let large = [u64::MAX, u64::MAX - 1].map(u64::to_le_bytes).concat();
    let large = (ElementType::Uint64, [2].as_slice(), large);
    assert_eq!(
        classes(large, 9, 0)?.1,
        ["18446744073709551615:0", "18446744073709551614:1"]
    );
    Ok(())
}

#[test]
fn a_class_count_must_be_positive_and_the_output_numeric() {
    let floats = model(ElementType::Fp32, 8);
    for count in [None, Some(0)] {
        let refused = TopClasses::new("y", count, &floats);
        assert_eq!(refused, Err(ClassRequestError::Count));
    }
    for element_type in ElementType::ALL {
        let asked = TopClasses::new("y", Some(1), &model(element_type, 8));
        let refused = ClassRequestError::ElementType(element_type);
        assert_eq!(asked.is_ok(), is_ranked(element_type), "{element_type}");
        assert!(asked.is_ok() || asked == Err(refused), "{element_type}");
    }
    // The caller rejects an output that the model does not have.
    assert!(TopClasses::new("z", Some(1), &floats).is_ok());
}

#[test]
fn a_class_carries_the_label_of_the_model() {
    let mut model = model(ElementType::Fp32, 0);
    let labels = ["cat", ""].map(str::to_owned);
    model.class_labels.insert("y".to_owned(), labels.into());
    let response = InferResponse {
        outputs: vec![NamedTensor {
            name: "y".to_owned(),
            tensor: Tensor::new(
                ElementType::Fp32,
                Shape::new(vec![3]).unwrap(),
                f32_bytes(&[1.0, 2.0, 3.0]).into(),
            )
            .unwrap(),
        }],
        parameters: Vec::new(),
    };
    let asked = [TopClasses::new("y", Some(3), &model).unwrap()];
    let classes = classify(&asked, response, &model)
        .unwrap()
        .outputs
        .remove(0)
        .tensor;
    let expected = ["3.000000:2", "2.000000:1:", "1.000000:0:cat"].map(str::as_bytes);
    assert_eq!(classes.elements().collect::<Vec<_>>(), expected);
}

#[test]
fn classes_beyond_the_size_limit_are_rejected() {
    let largest = f64::MAX.to_le_bytes().repeat(60_000);
    let output = |sizes: &'static [u32]| (ElementType::Fp64, sizes, largest.clone());
    assert!(classes(output(&[60_000]), u64::MAX, 0).is_err());
    assert!(classes(output(&[60_000]), 10, 0).is_ok());
    let bytes = vec![0; 3 << 20];
    let many = (ElementType::Uint8, [3 << 20].as_slice(), bytes);
    let refused = classes(many, u64::MAX, 0).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
}

proptest! {
    #[test]
    fn classes_are_the_greatest_values_in_descending_order(
        numbers in proptest::collection::vec(-9i8..9, 1..60),
        count in 1u64..70,
    ) {
        let mut expected: Vec<_> = numbers.iter().copied().enumerate().collect();
        expected.sort_by_key(|(index, value)| (-value, *index));
        expected.truncate(usize::try_from(count).unwrap());
        let expected: Vec<_> = expected.iter().map(|(index, value)| format!("{value}:{index}")).collect();
        let content = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let size = [u32::try_from(numbers.len()).unwrap()];
        let (_, strings) = classes((ElementType::Int8, &size, content), count, 0).unwrap();
        prop_assert_eq!(strings, expected);
    }
}
