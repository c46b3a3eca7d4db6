//! Tests of the limits and of the values that have none.

use super::*;
use crate::onnx::test_graphs::{inner, model, node, number, numbers, tensor, value};

/// Returns the limits of a graph with inputs `a` and `b` of INT64 and `f` of FLOAT.
fn limits(nodes: Vec<NodeProto>, output: DataType) -> Result<Vec<Option<i64>>, String> {
    let graph = GraphProto {
        input: vec![
            value("a", DataType::Int64, &[-1, 16]),
            value("f", DataType::Float, &[-1, 16]),
            value("b", DataType::Int64, &[-1, 16]),
        ],
        output: vec![value("y", output, &[-1])],
        initializer: vec![
            tensor("one", DataType::Int64, &[1]),
            tensor("thousand", DataType::Int64, &[1000]),
            tensor("most", DataType::Int64, &[i64::MAX]),
            tensor("scale", DataType::Float, &[2]),
        ],
        node: nodes,
        ..Default::default()
    };
    let limits = IntegerLimits::of(&model(17, graph))?;
    Ok(limits.inputs.iter().map(|input| input.limit).collect())
}

fn cast(input: &str, output: &str, to: DataType) -> NodeProto {
    number(node("Cast", &[input], output), "to", to as i64)
}

const WORD: Option<i64> = Some(i32::MAX as i64);

#[test]
fn an_input_that_is_only_moved_or_compared_has_32_bits() {
    let moved = vec![
        node("Unsqueeze", &["a", "one"], "u"),
        node("Equal", &["u", "b"], "e"),
        node("Where", &["e", "u", "b"], "y"),
    ];
    assert_eq!(limits(moved, DataType::Int64), Ok(vec![WORD, None, WORD]));
    let floats = vec![
        cast("a", "c", DataType::Float),
        node("Mul", &["c", "f"], "y"),
    ];
    assert_eq!(limits(floats, DataType::Float), Ok(vec![WORD, None, WORD]));
}

#[test]
fn arithmetic_lowers_the_limits_of_the_inputs_it_depends_on() {
    let sum = vec![node("Add", &["a", "one"], "y")];
    let bits = |bits: u32| Some((1_i64 << bits) - 1);
    assert_eq!(limits(sum, DataType::Int64), Ok(vec![bits(24), None, WORD]));
    let product = vec![node("Mul", &["a", "thousand"], "y")];
    assert_eq!(
        limits(product, DataType::Int64),
        Ok(vec![bits(20), None, WORD])
    );
    let both = vec![node("Mul", &["a", "b"], "y")];
    assert_eq!(
        limits(both, DataType::Int64),
        Ok(vec![bits(12), None, bits(12)])
    );
    // 16 elements are summed along the last axis, and any number of them along the first one.
    let last = vec![numbers(node("ReduceSum", &["a"], "y"), "axes", &[-1])];
    assert_eq!(
        limits(last, DataType::Int64),
        Ok(vec![bits(24), None, WORD])
    );
    let first = vec![numbers(node("ReduceSum", &["a"], "y"), "axes", &[0])];
    assert_eq!(
        limits(first, DataType::Int64),
        Ok(vec![bits(6), None, WORD])
    );
}

#[test]
fn a_number_beyond_its_limit_is_refused_with_the_name_of_the_input() {
    let limits = IntegerLimits {
        inputs: vec![
            InputLimit {
                name: "x".to_owned(),
                limit: None,
            },
            InputLimit {
                name: "ids".to_owned(),
                limit: Some(255),
            },
        ],
    };
    assert_eq!(limits.check(0, [i64::MAX].into_iter()), Ok(()));
    assert_eq!(limits.check(1, [255, -255, 0].into_iter()), Ok(()));
    assert_eq!(
        limits.check(1, [3, -256].into_iter()).unwrap_err(),
        "`ids`: rten computes INT64 with 32 bits; -256 is beyond 255"
    );
    assert!(limits.check(1, [i64::MIN].into_iter()).is_err());
    assert_eq!(limits.check(7, [i64::MAX].into_iter()), Ok(()));
}

#[test]
fn an_integer_without_a_bound_is_refused_unless_it_is_an_index_or_a_size() {
    let converted = || cast("f", "c", DataType::Int64);
    assert_eq!(
        limits(vec![converted(), node("Neg", &["c"], "y")], DataType::Int64).unwrap_err(),
        "operator Cast of `c`: rten computes INT64 with 32 bits, and the numbers may have more"
    );
    let index = vec![converted(), node("Gather", &["a", "c"], "y")];
    assert_eq!(limits(index, DataType::Int64), Ok(vec![WORD, None, WORD]));
    // Sizes of shapes that are scaled in floats.
    let scaled = vec![
        node("Shape", &["f"], "s"),
        cast("s", "n", DataType::Float),
        node("Mul", &["n", "scale"], "m"),
        node("Floor", &["m"], "l"),
        cast("l", "i", DataType::Int64),
        node("Add", &["i", "a"], "y"),
    ];
    assert!(limits(scaled, DataType::Int64).is_ok());
    let bounded = vec![
        node("Sigmoid", &["f"], "s"),
        cast("s", "y", DataType::Int64),
    ];
    assert_eq!(limits(bounded, DataType::Int64), Ok(vec![WORD, None, WORD]));
}

#[test]
fn a_constant_beyond_32_bits_may_only_be_an_end() {
    let slice = vec![
        node("Concat", &["most", "one"], "ends"),
        node("Slice", &["a", "one", "ends"], "y"),
    ];
    assert_eq!(limits(slice, DataType::Int64), Ok(vec![WORD, None, WORD]));
    let clip = vec![node("Clip", &["a", "", "most"], "y")];
    assert_eq!(limits(clip, DataType::Int64), Ok(vec![WORD, None, WORD]));
    let sum = vec![node("Add", &["a", "most"], "y")];
    assert_eq!(
        limits(sum, DataType::Int64).unwrap_err(),
        "constant `most` contains a number beyond 32 bits, with which rten computes INT64"
    );
}

#[test]
fn products_of_sizes_count_elements() {
    let elements = vec![
        node("Shape", &["f"], "s"),
        node("ReduceProd", &["s"], "n"),
        cast("n", "y", DataType::Float),
    ];
    assert_eq!(
        limits(elements, DataType::Float),
        Ok(vec![WORD, None, WORD])
    );
    // Of other numbers, only products of flags are bounded.
    let product = vec![node("ReduceProd", &["a"], "y")];
    assert_eq!(
        limits(product, DataType::Int64),
        Ok(vec![Some(1), None, WORD])
    );
}

/// Returns a loop whose carried value `c` is computed by one operator.
fn repeated(operator: NodeProto) -> Vec<NodeProto> {
    let body = GraphProto {
        input: vec![
            value("i", DataType::Int64, &[]),
            value("k", DataType::Bool, &[]),
            value("c", DataType::Int64, &[]),
        ],
        output: vec![
            value("k", DataType::Bool, &[]),
            value("d", DataType::Int64, &[]),
        ],
        node: vec![operator],
        ..Default::default()
    };
    vec![inner(node("Loop", &["one", "", "one"], "y"), "body", body)]
}

#[test]
fn a_counter_of_a_loop_is_bounded_and_a_product_is_not() {
    let counter = repeated(node("Add", &["c", "thousand"], "d"));
    assert_eq!(limits(counter, DataType::Int64), Ok(vec![WORD, None, WORD]));
    let constant = repeated(node("Min", &["c", "thousand"], "d"));
    assert_eq!(
        limits(constant, DataType::Int64),
        Ok(vec![WORD, None, WORD])
    );
    let product = repeated(node("Mul", &["c", "thousand"], "d"));
    assert!(limits(product, DataType::Int64).is_err());
    // A captured input is limited as well.
    let captured = repeated(node("Add", &["i", "a"], "d"));
    let limits = limits(captured, DataType::Int64);
    assert_eq!(limits, Ok(vec![Some((1 << 24) - 1), None, WORD]));
}

#[test]
fn nested_loops_end_in_an_error_and_not_in_endless_work() {
    let mut nodes = repeated(node("Add", &["c", "one"], "d"));
    for _ in 0..20 {
        let mut inside = nodes.remove(0);
        inside.output = vec!["d".to_owned()];
        nodes = repeated(inside);
    }
    assert!(
        limits(nodes, DataType::Int64)
            .unwrap_err()
            .contains("nested loops")
    );
}
