//! Arithmetic that leaves the range of an integer type, divisions, shifts and indices.

use super::{Case, Wanted, graph, integers, onnx_type, wrapped};
use crate::harness::onnx::{Attribute, Graph, INT64, Model, Tensor, Value};
use wisp_tensor::ElementType;

const ALL: [ElementType; 8] = [
    ElementType::Int8,
    ElementType::Int16,
    ElementType::Int32,
    ElementType::Int64,
    ElementType::Uint8,
    ElementType::Uint16,
    ElementType::Uint32,
    ElementType::Uint64,
];

const SIGNED: [ElementType; 4] = [
    ElementType::Int8,
    ElementType::Int16,
    ElementType::Int32,
    ElementType::Int64,
];

const BOTH: &[&str] = &["tract", "onnxruntime"];

/// Returns the smallest and the greatest number of an integer type, as the bits of an i64.
fn range(element_type: ElementType) -> (i64, i64) {
    let bits = 8 * element_type.size().unwrap_or(8);
    match SIGNED.contains(&element_type) {
        true => (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)),
        false => (0, wrapped(element_type, -1)),
    }
}

fn dimensions(numbers: &[i64]) -> [u32; 1] {
    [u32::try_from(numbers.len()).expect("few")]
}

/// Returns the case of an operator with the operands `x` and `d`.
fn binary(
    (operator, element_type): (&str, ElementType),
    [x, d]: [&[i64]; 2],
    wanted: Wanted,
) -> Case {
    let inputs = [
        ("x", element_type, &[None][..]),
        ("d", element_type, &[None]),
    ];
    Case {
        name: format!("{operator} of {element_type} {x:?} {d:?}"),
        model: Model::of(graph(&inputs, (element_type, 1)).node(operator, &["x", "d"], &["y"])),
        inputs: vec![
            integers("x", element_type, &dimensions(x), x),
            integers("d", element_type, &dimensions(d), d),
        ],
        wanted,
        must: BOTH,
        except: &[],
    }
}

/// Returns the case of an operator with the operand `x` and an output of `rank` axes.
fn unary(
    (operator, element_type): (&str, ElementType),
    x: &[i64],
    (wanted, rank): (Vec<i64>, usize),
) -> Case {
    let graph = graph(&[("x", element_type, &[None])], (element_type, rank));
    Case {
        name: format!("{operator} of {element_type} {x:?}"),
        model: Model::of(graph.node(operator, &["x"], &["y"])),
        inputs: vec![integers("x", element_type, &dimensions(x), x)],
        wanted: Wanted::Numbers(wanted),
        must: BOTH,
        except: &[],
    }
}

/// Changes the graph of a case.
fn with(mut case: Case, change: impl FnOnce(Graph) -> Graph) -> Case {
    case.model.graph = case.model.graph.take().map(change);
    case
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for element_type in ALL {
        cases.extend(overflows(element_type));
    }
    for element_type in SIGNED {
        cases.extend(divisions(element_type));
    }
    for element_type in [ElementType::Int32, ElementType::Int64] {
        cases.extend(powers(element_type));
        cases.extend(folds(element_type));
    }
    cases.extend(shifts());
    cases.push(product_of_many());
    cases.push(index_in_a_branch());
    cases.push(division_in_a_branch());
    cases
}

/// Returns sums, differences, products and opposites that do not fit the type.
fn overflows(element_type: ElementType) -> Vec<Case> {
    let (least, greatest) = range(element_type);
    let (x, d) = ([greatest, least, 100], [1, greatest, 100]);
    let operands: [&[i64]; 2] = [&x, &d];
    let combined = |combine: fn(i64, i64) -> i64| {
        let pairs = x.iter().zip(d);
        let results = pairs.map(|(&x, d)| wrapped(element_type, combine(x, d)));
        Wanted::Numbers(results.collect())
    };
    let mut cases = vec![
        binary(("Add", element_type), operands, combined(i64::wrapping_add)),
        binary(("Sub", element_type), operands, combined(i64::wrapping_sub)),
        binary(("Mul", element_type), operands, combined(i64::wrapping_mul)),
    ];
    if SIGNED.contains(&element_type) {
        let numbers = [least, greatest, -5];
        let results = |map: fn(i64) -> i64| {
            let results = numbers.map(|number| wrapped(element_type, map(number)));
            (results.to_vec(), 1)
        };
        cases.extend([
            unary(("Abs", element_type), &numbers, results(i64::wrapping_abs)),
            unary(("Neg", element_type), &numbers, results(i64::wrapping_neg)),
        ]);
    }
    cases
}

fn divisions(element_type: ElementType) -> Vec<Case> {
    let (least, _) = range(element_type);
    let dividends = [least, 7, -7];
    let operands: [&[i64]; 2] = [&dividends, &[-1, -1, 2]];
    let numbers = |numbers: [i64; 3]| Wanted::Numbers(numbers.to_vec());
    let div = ("Div", element_type);
    let modulo = ("Mod", element_type);
    let many_by_one = Wanted::Numbers(vec![least, -4]);
    let one_by_many = Wanted::Numbers(vec![least, least / 2]);
    vec![
        binary(div, operands, numbers([least, -7, -3])),
        binary(modulo, operands, numbers([0, 0, 1])),
        binary(div, [&[least, 4], &[-1]], many_by_one),
        binary(div, [&[least], &[-1, 2]], one_by_many),
        binary(div, [&[1, 2], &[3, 0]], Wanted::Refusal),
        binary(modulo, [&[1, 2], &[3, 0]], Wanted::Refusal),
    ]
}

fn powers(element_type: ElementType) -> Vec<Case> {
    let pow = ("Pow", element_type);
    let exact = Wanted::Numbers(vec![1024, 81, -8, 1, -1, 1, 0, 1]);
    let bases = [3i64, 2, 46_341, -3];
    let exponents = [50u32, 63, 2, 41];
    let results = bases.iter().zip(exponents);
    let results =
        results.map(|(base, exponent)| wrapped(element_type, base.wrapping_pow(exponent)));
    let wrapping = binary(
        pow,
        [&bases, &exponents.map(i64::from)],
        Wanted::Numbers(results.collect()),
    );
    let of_zero = binary(pow, [&[2, 0], &[3, -1]], Wanted::Refusal);
    vec![
        binary(
            pow,
            [&[2, 3, -2, 1, -1, -1, 2, 7], &[10, 4, 3, -5, -3, -4, -1, 0]],
            exact,
        ),
        // ONNX Runtime computes powers as FLOAT64.
        Case {
            except: &["onnxruntime"],
            ..wrapping
        },
        // ONNX Runtime and rten convert infinity to an integer.
        Case {
            except: &["onnxruntime", "rten"],
            ..of_zero
        },
    ]
}

/// Returns sums and products over an axis.
fn folds(element_type: ElementType) -> Vec<Case> {
    let (_, greatest) = range(element_type);
    let numbers = [greatest, 1, 100];
    let sum = wrapped(element_type, greatest.wrapping_add(101));
    let product = wrapped(element_type, greatest.wrapping_mul(100));
    let running = vec![
        greatest,
        wrapped(element_type, greatest.wrapping_add(1)),
        sum,
    ];
    let cumulated = unary(("CumSum", element_type), &numbers, (running, 1));
    let product = unary(("ReduceProd", element_type), &numbers, (vec![product], 0));
    let mut cases = vec![
        with(cumulated, |graph| {
            let mut graph = graph.integers("axis", &[], &[0]);
            graph.node[0].input.push("axis".to_owned());
            graph
        }),
        // ONNX Runtime multiplies as floats.
        Case {
            except: &["onnxruntime"],
            ..with(product, |graph| graph.with(Attribute::int("keepdims", 0)))
        },
    ];
    if element_type == ElementType::Int32 {
        let sum = unary(("ReduceSum", element_type), &numbers, (vec![sum], 0));
        // ONNX Runtime adds as FLOAT64.
        cases.push(Case {
            except: &["onnxruntime"],
            ..with(sum, |graph| graph.with(Attribute::int("keepdims", 0)))
        });
    }
    cases
}

fn shifts() -> Vec<Case> {
    let types = [
        (ElementType::Uint8, BOTH),
        (ElementType::Uint32, BOTH),
        (ElementType::Uint64, BOTH),
        // ONNX Runtime does not shift them.
        (ElementType::Uint16, &["tract"]),
    ];
    let mut cases = Vec::new();
    for (element_type, must) in types {
        let width = 8 * element_type.size().unwrap_or(8);
        let width = u32::try_from(width).expect("at most 64");
        let distances = [1, width - 1, width, 200].map(i64::from);
        let shifted = |shift: fn(u64, u32) -> Option<u64>| {
            let numbers = distances.map(|distance| {
                let distance = u32::try_from(distance).expect("positive");
                let shifted = shift(129, distance).unwrap_or(0);
                wrapped(element_type, shifted.cast_signed())
            });
            Wanted::Numbers(numbers.to_vec())
        };
        for (direction, wanted) in [
            ("LEFT", shifted(u64::checked_shl)),
            ("RIGHT", shifted(u64::checked_shr)),
        ] {
            let operands: [&[i64]; 2] = [&[129; 4], &distances];
            let shift = binary(("BitShift", element_type), operands, wanted);
            cases.push(Case {
                must,
                ..with(shift, |graph| {
                    graph.with(Attribute::string("direction", direction))
                })
            });
        }
    }
    cases
}

/// Returns a product of vectors whose sum does not fit INT32.
fn product_of_many() -> Case {
    const COUNT: u32 = 70_000;
    let bytes = ElementType::Uint8;
    let (row, column) = ([Some(1), Some(70_000)], [Some(70_000), Some(1)]);
    let graph = graph(
        &[("x", bytes, &row), ("d", bytes, &column)],
        (ElementType::Int32, 2),
    );
    let numbers = vec![255; 70_000];
    let sum = wrapped(ElementType::Int32, 255 * 255 * i64::from(COUNT));
    Case {
        name: "MatMulInteger of 70,000".to_owned(),
        model: Model::of(graph.node("MatMulInteger", &["x", "d"], &["y"])),
        inputs: vec![
            integers("x", bytes, &[1, COUNT], &numbers),
            integers("d", bytes, &[COUNT, 1], &numbers),
        ],
        wanted: Wanted::Numbers(vec![sum]),
        must: BOTH,
        except: &[],
    }
}

/// Returns a graph that computes `branch` if `c`, and copies its input `i` otherwise.
fn choice(inputs: &[(&str, ElementType, &[Option<i64>])], branch: Graph) -> Graph {
    let output = |name: &str| vec![Value::of(name, INT64, &[None])];
    let branch = Graph {
        name: "then".to_owned(),
        output: output("then_y"),
        ..branch
    };
    let otherwise = Graph {
        name: "else".to_owned(),
        output: output("else_y"),
        ..Graph::default()
    }
    .node("Identity", &["i"], &["else_y"]);
    graph(inputs, (ElementType::Int64, 1))
        .node("If", &["c"], &["y"])
        .with(Attribute::graph("then_branch", branch))
        .with(Attribute::graph("else_branch", otherwise))
}

/// Returns a gather whose index, times the length of a row, is 2^64.
fn index_in_a_branch() -> Case {
    let axes: &[Option<i64>] = &[None];
    let inputs = [
        ("c", ElementType::Bool, &[][..]),
        ("i", ElementType::Int64, axes),
    ];
    let rows = Tensor {
        int64_data: (0..12).collect(),
        ..Tensor::of("w", INT64, &[3, 4])
    };
    let branch = Graph::default()
        .initializer(rows)
        .integers("flat", &[1], &[-1])
        .node("Gather", &["w", "i"], &["rows"])
        .node("Reshape", &["rows", "flat"], &["then_y"]);
    Case {
        name: "an index of 2^62 in a branch".to_owned(),
        model: Model::of(choice(&inputs, branch)),
        inputs: vec![
            integers("c", ElementType::Bool, &[], &[1]),
            integers("i", ElementType::Int64, &[1], &[1 << 62]),
        ],
        wanted: Wanted::Refusal,
        must: &["onnxruntime"],
        except: &[],
    }
}

fn division_in_a_branch() -> Case {
    let axes: &[Option<i64>] = &[None];
    let inputs = [
        ("c", ElementType::Bool, &[][..]),
        ("i", ElementType::Int64, axes),
        ("d", ElementType::Int64, axes),
    ];
    let branch = Graph::default().node("Div", &["i", "d"], &["then_y"]);
    Case {
        name: "a division in a branch".to_owned(),
        model: Model::of(choice(&inputs, branch)),
        inputs: vec![
            integers("c", ElementType::Bool, &[], &[1]),
            integers("i", ElementType::Int64, &[2], &[i64::MIN, 9]),
            integers("d", ElementType::Int64, &[2], &[-1, 2]),
        ],
        wanted: Wanted::Numbers(vec![i64::MIN, 4]),
        must: &["onnxruntime"],
        except: &[],
    }
}

#[test]
fn the_range_of_a_type_is_that_of_its_bits() {
    assert_eq!(range(ElementType::Int8), (-128, 127));
    assert_eq!(range(ElementType::Uint16), (0, 65_535));
    assert_eq!(range(ElementType::Int64), (i64::MIN, i64::MAX));
    assert_eq!(range(ElementType::Uint64), (0, -1));
    assert_eq!(onnx_type(ElementType::Int64), INT64);
}
