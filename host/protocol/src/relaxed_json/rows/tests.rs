//! Tests of joining rows, and of removing invalid ones.

use super::*;
use crate::fixture;

fn spec(name: &str, element_type: ElementType, shape: &[i64], optional: bool) -> TensorSpec {
    let spec = fixture::spec(name, element_type, shape);
    TensorSpec { optional, ..spec }
}

fn model(inputs: Vec<TensorSpec>, max_batch_size: u32) -> ModelDescription {
    let model = fixture::model(inputs, Vec::new());
    ModelDescription {
        max_batch_size,
        ..model
    }
}

/// Returns a model of three inputs: a variable number of integers, a string, and an optional integer.
fn three_inputs() -> ModelDescription {
    let inputs = vec![
        spec("x", ElementType::Uint8, &[-1, -1], false),
        spec("t", ElementType::Bytes, &[-1], false),
        spec("o", ElementType::Uint8, &[-1], true),
    ];
    model(inputs, 8)
}

fn push(rows: &mut Rows, text: &str) -> Result<(), RowError> {
    rows.push_object(
        &mut Reader::new(text),
        ArrayForm::Nested,
        &Defaults::default(),
    )
}

#[test]
fn rows_become_one_tensor_per_input_with_the_batch_first() -> anyhow::Result<()> {
    let model = three_inputs();
    let mut rows = Rows::new(&model).unwrap();
    push(&mut rows, r#"{"x":[1,2],"t":"a"}"#)?;
    push(&mut rows, r#"{"t":"bc","x":[3,4]}"#)?;
    assert_eq!(rows.count(), 2);
    let tensors = rows.finish()?;
    let names: Vec<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["x", "t"]);
    assert_eq!(tensors[0].tensor.shape().dimensions(), [2, 2]);
    assert_eq!(tensors[0].tensor.content(), &[1, 2, 3, 4][..]);
    assert_eq!(tensors[1].tensor.shape().dimensions(), [2]);
    Ok(())
}

#[test]
fn an_invalid_row_is_removed_completely() -> anyhow::Result<()> {
    let model = three_inputs();
    let mut rows = Rows::new(&model).unwrap();
    let cases = [
        (
            r#"{"x":[9,256],"t":"a"}"#,
            "input `x`: element 1 is not an integer from 0 to 255",
        ),
        (r#"{"x":[9,9]}"#, "input `t` is missing"),
        (r#"{"x":[9,9],"t":1}"#, "input `t`: element 0 is not"),
        (
            r#"{"t":"long text","x":[9,9],"t":"b"}"#,
            "input `t` is given twice",
        ),
        (
            r#"{"x":[9,9],"u":1}"#,
            "unknown input `u`, expected one of: x, t, o",
        ),
        ("{}", "input `x` is missing"),
    ];
    for start in ["before", "after"] {
        for (text, expected) in cases {
            let error = push(&mut rows, text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{start}: {error}");
        }
        push(&mut rows, r#"{"x":[1,2],"t":"a","o":5}"#)?;
    }
    let uneven = push(&mut rows, r#"{"x":[1,2],"t":"a"}"#).unwrap_err();
    assert_eq!(
        uneven.to_string(),
        "input `o` must be in all rows or in none"
    );
    let disagrees = push(&mut rows, r#"{"x":[1,2,3],"t":"a","o":5}"#).unwrap_err();
    assert_eq!(
        disagrees.to_string(),
        "input `x`: it has shape [3], the rows before it [2]: all must agree"
    );
    let tensors = rows.finish()?;
    assert_eq!(tensors[0].tensor.content(), &[1, 2, 1, 2][..]);
    assert_eq!(
        tensors[1].tensor.elements().collect::<Vec<_>>(),
        [b"a", b"a"]
    );
    assert_eq!(tensors[2].tensor.content(), &[5, 5][..]);
    Ok(())
}

#[test]
fn an_optional_input_must_be_in_all_rows_or_none() -> anyhow::Result<()> {
    let model = three_inputs();
    let mut rows = Rows::new(&model).unwrap();
    push(&mut rows, r#"{"x":[1],"t":"a"}"#)?;
    let uneven = push(&mut rows, r#"{"x":[1],"t":"a","o":1}"#).unwrap_err();
    assert_eq!(
        uneven.to_string(),
        "input `o` must be in all rows or in none"
    );
    Ok(())
}

#[test]
fn an_optional_input_may_replace_a_required_one_in_all_rows() -> anyhow::Result<()> {
    let model = three_inputs();
    let mut rows = Rows::new(&model).unwrap();
    push(&mut rows, r#"{"o":1}"#)?;
    push(&mut rows, r#"{"o":2}"#)?;
    let uneven = push(&mut rows, r#"{"x":[1],"t":"a"}"#).unwrap_err();
    assert_eq!(
        uneven.to_string(),
        "input `x` must be in all rows or in none"
    );
    let tensors = rows.finish()?;
    assert_eq!(tensors.len(), 1);
    assert_eq!(tensors[0].tensor.content(), &[1, 2][..]);
    Ok(())
}

#[test]
fn defaults_fill_missing_inputs_within_a_limit() -> anyhow::Result<()> {
    let model = three_inputs();
    let mut rows = Rows::new(&model).unwrap();
    let long = format!(r#"{{"t":"{}","x":[7]}}"#, "x".repeat(1 << 20));
    let defaults = rows.defaults(&mut Reader::new(&long), ArrayForm::Any)?;
    for own in [r#"{"t":"a"}"#, r#"{"t":"b","x":[8]}"#] {
        rows.push_object(&mut Reader::new(own), ArrayForm::Any, &defaults)?;
    }
    let mut result = Ok(());
    while result.is_ok() && rows.count() < 100 {
        result = rows.push_object(&mut Reader::new("{}"), ArrayForm::Any, &defaults);
    }
    assert!(matches!(result, Err(RowError::Defaults { .. })));
    assert_eq!(rows.count(), 17);
    let tensors = rows.finish()?;
    assert_eq!(tensors[0].tensor.content()[..3], [7, 8, 7]);

    let rows = Rows::new(&model).unwrap();
    for wrong in [r#"{"x":[1],"x":[2]}"#, r#"{"y":1}"#, r#"{"x":[-1]}"#] {
        assert!(
            rows.defaults(&mut Reader::new(wrong), ArrayForm::Any)
                .is_err(),
            "{wrong}"
        );
    }
    Ok(())
}

#[test]
fn a_model_without_a_batch_axis_takes_whole_tensors() -> anyhow::Result<()> {
    let input = || vec![spec("x", ElementType::Uint8, &[-1, 2], false)];
    let model_without = model(input(), 0);
    assert!(Rows::new(&model_without).is_none());
    assert!(Rows::new(&model(vec![spec("x", ElementType::Uint8, &[], false)], 8)).is_none());
    let mut rows = Rows::whole(&model_without);
    let only = rows.only_input().unwrap();
    rows.push_value(only, &mut Reader::new("[[1,2],[3,4]]"), ArrayForm::Nested)?;
    assert_eq!(rows.finish()?[0].tensor.shape().dimensions(), [2, 2]);
    Ok(())
}
