//! Tests of models crafted to harm: unreasonable sizes, graphs with loops or without an end,
//! contradictory files.

use super::{LOADED, REFUSED, check_all, load, load_with, survived};
use crate::harness::child::Outcome;
use crate::harness::onnx::{Attribute, FLOAT, Graph, INT64, Node, Tensor, Value};
use anyhow::Result;
use tempfile::NamedTempFile;

/// The expected outcome of a model.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// Rejected, with a message that contains this string.
    Refused(&'static str),
    /// Loaded, or rejected with any message.
    Survived,
    Loaded,
}

use Expected::{Loaded, Refused, Survived};

/// A model, with a name that describes the defect.
type Attack = (&'static str, Expected, Vec<u8>);

/// Beyond any memory, but within the range of sizes.
const HUGE: i64 = 1 << 40;

#[test]
fn hostile_graphs_are_refused_in_bounded_memory_and_time() -> Result<()> {
    check_all(attacks().into_iter(), |child, (name, expected, content)| {
        let file = NamedTempFile::new()?;
        std::fs::write(file.path(), content)?;
        let outcome = load(child, file.path())?;
        let is_right = match (&outcome, expected) {
            (outcome, Survived) => survived(outcome),
            (Outcome::Response(response), Refused(text)) => {
                response.starts_with(REFUSED) && response.contains(text)
            }
            (Outcome::Response(response), Loaded) => response == LOADED,
            _ => false,
        };
        Ok((!is_right).then(|| format!("{name}: {outcome}, expected {expected:?}")))
    })
}

/// rten may accept a graph that tract refuses; the test checks memory, time and the process.
#[test]
fn hostile_graphs_do_not_end_a_process_with_rten() -> Result<()> {
    check_all(attacks().into_iter(), |child, (name, _, content)| {
        let file = NamedTempFile::new()?;
        std::fs::write(file.path(), content)?;
        let outcome = load_with("rten", child, file.path())?;
        Ok((!survived(&outcome)).then(|| format!("{name}: {outcome}")))
    })
}

fn attacks() -> Vec<Attack> {
    [
        structures(),
        declarations(),
        explosions(),
        demands(),
        multitudes(),
    ]
    .concat()
}

/// The shape of a batch of any size with three floats per row.
const ROW: [Option<i64>; 2] = [None, Some(3)];

fn row() -> Graph {
    Graph::from_x_to_y(&ROW)
}

/// Graphs with an invalid structure.
fn structures() -> Vec<Attack> {
    let twice = row()
        .node("Relu", &["x"], &["y"])
        .node("Neg", &["x"], &["y"]);
    let mut untyped = row().node("Relu", &["x"], &["y"]);
    untyped.input[0].r#type = None;
    let mut foreign = row().node("Relu", &["x"], &["y"]);
    foreign.node[0].domain = "somebody.else".to_owned();
    let mut names = row().node("Relu", &["x"], &["y"]);
    names.input.push(names.input[0].clone());
    let mut branches = row();
    branches.input.push(Value::of("c", 9, &[]));
    let branch = || Graph {
        output: vec![Value::of("b", FLOAT, &ROW)],
        ..Graph::default()
    };
    let branches = branches
        .node("If", &["c"], &["y"])
        .with(Attribute::graph("then_branch", branch()))
        .with(Attribute::graph("else_branch", branch()));
    vec![
        ("no graph", Refused("an empty file"), vec![]),
        ("an empty graph", Refused(""), Graph::default().bytes()),
        (
            "a node that takes what it gives",
            Refused(""),
            row().node("Relu", &["y"], &["y"]).bytes(),
        ),
        (
            "two nodes that take from one another",
            Refused(""),
            row()
                .node("Add", &["x", "b"], &["a"])
                .node("Relu", &["a"], &["b"])
                .node("Relu", &["b"], &["y"])
                .bytes(),
        ),
        ("two nodes that give the same", Survived, twice.bytes()),
        ("an input without a type", Refused("`x`"), untyped.bytes()),
        ("two inputs of one name", Refused(""), names.bytes()),
        (
            "an operator of nobody's",
            Refused("somebody.else"),
            foreign.bytes(),
        ),
        (
            "an operator without inputs",
            Refused("Add"),
            row().node("Add", &[], &["y"]).bytes(),
        ),
        (
            "an operator with too many inputs",
            Refused(""),
            row().node("Relu", &["x", "x", "x"], &["y"]).bytes(),
        ),
        (
            "an operator without outputs",
            Refused(""),
            row().node("Relu", &["x"], &[]).bytes(),
        ),
        (
            "an output that nobody computes",
            Refused(""),
            row().node("Relu", &["x"], &["z"]).bytes(),
        ),
        (
            "an axis that goes to two places",
            Refused("Transpose"),
            Graph::from_x_to_y(&[Some(2), Some(3), Some(4), Some(5)])
                .node("Transpose", &["x"], &["y"])
                .with(Attribute::ints("perm", &[0, 3, 3, 2]))
                .bytes(),
        ),
        ("branches that give nothing", Refused(""), branches.bytes()),
    ]
}

/// Tensors and inputs that contradict their declarations.
fn declarations() -> Vec<Attack> {
    let raw = |length: usize| {
        let weights = Tensor {
            raw_data: vec![0; length],
            ..Tensor::of("w", FLOAT, &[3])
        };
        row()
            .initializer(weights)
            .node("Add", &["x", "w"], &["y"])
            .bytes()
    };
    let weights = |dims: &[i64], values: &[f32]| {
        row()
            .floats("w", dims, values)
            .node("Add", &["x", "w"], &["y"])
            .bytes()
    };
    let input = |axes: &[Option<i64>]| {
        let graph = Graph::from_x_to_y(axes);
        graph.node("Relu", &["x"], &["y"]).bytes()
    };
    let mut noted = row()
        .node("Neg", &["x"], &["n"])
        .node("Relu", &["n"], &["y"]);
    noted.value_info = vec![Value::of("n", FLOAT, &[Some(7), Some(5), Some(3)])];
    let mut promised = row().node("Relu", &["x"], &["y"]);
    promised.output = vec![Value::of("y", INT64, &[Some(9)])];
    let untyped = Tensor {
        raw_data: vec![0; 12],
        ..Tensor::of("w", 77, &[3])
    };
    let strings = Tensor {
        raw_data: vec![0; 12],
        ..Tensor::of("w", 8, &[3])
    };
    let typed = |tensor: Tensor| {
        row()
            .initializer(tensor)
            .node("Add", &["x", "w"], &["y"])
            .bytes()
    };
    vec![
        ("weights of the right size", Loaded, raw(12)),
        ("weights short of a byte", Refused("`w`"), raw(11)),
        ("weights short of a number", Refused("`w`"), raw(8)),
        ("weights of a byte too many", Refused("`w`"), raw(13)),
        ("weights of a number too many", Refused("`w`"), raw(16)),
        ("weights that are not there", Refused("`w`"), raw(0)),
        (
            "numbers too few",
            Refused("`w`"),
            weights(&[3], &[1.0, 2.0]),
        ),
        ("numbers too many", Refused("`w`"), weights(&[3], &[1.0; 4])),
        ("a negative axis", Refused("`w`"), weights(&[-3], &[1.0; 3])),
        ("a huge axis", Refused("`w`"), weights(&[HUGE], &[1.0])),
        (
            "the largest axis",
            Refused("`w`"),
            weights(&[i64::MAX], &[1.0]),
        ),
        (
            "axes whose product overflows",
            Refused("`w`"),
            weights(&[1 << 32, 1 << 32], &[]),
        ),
        (
            "axes whose product overflows to the size there is",
            Refused("`w`"),
            weights(&[1 << 32, 1 << 32, 3], &[]),
        ),
        (
            "an empty axis among huge ones",
            Survived,
            weights(&[i64::MAX, 0, i64::MAX], &[]),
        ),
        (
            "a thousand axes",
            Refused("1000 axes"),
            weights(&[1; 1000], &[1.0]),
        ),
        ("weights of no type", Refused("`w`"), typed(untyped)),
        ("strings as bytes", Refused("`w`"), typed(strings)),
        ("an input of a huge axis", Refused(""), input(&[Some(HUGE)])),
        (
            "an input of the largest axis",
            Refused(""),
            input(&[Some(i64::MAX)]),
        ),
        (
            "an input of a negative axis",
            Survived,
            input(&[None, Some(-5)]),
        ),
        (
            "an input whose size overflows",
            Refused(""),
            input(&[Some(1 << 31), Some(1 << 31), Some(1 << 31)]),
        ),
        (
            "an input of a thousand axes",
            Refused(""),
            input(&[Some(1); 1000]),
        ),
        ("a value noted with another shape", Survived, noted.bytes()),
        (
            "an output declared as another type",
            Survived,
            promised.bytes(),
        ),
    ]
}

/// Small files that compute to something huge, from constants alone and with an input.
fn explosions() -> Vec<Attack> {
    let shaped = |op_type: &str, shape: &[i64]| {
        let rank = i64::try_from(shape.len()).unwrap_or(0);
        row()
            .integers("shape", &[rank], shape)
            .node(op_type, &["shape"], &["huge"])
            .node("ReduceSum", &["huge"], &["sum"])
            .node("Add", &["x", "sum"], &["y"])
            .bytes()
    };
    let expanded = |op_type: &str, source: &str, values: &[i64]| {
        let rank = i64::try_from(values.len()).unwrap_or(0);
        row()
            .floats("one", &[1, 1], &[1.0])
            .integers("values", &[rank], values)
            .node(op_type, &[source, "values"], &["huge"])
            .node("ReduceSum", &["huge"], &["sum"])
            .node("Add", &["x", "sum"], &["y"])
            .bytes()
    };
    let range = row()
        .integers("start", &[], &[0])
        .integers("limit", &[], &[HUGE])
        .integers("delta", &[], &[1])
        .node("Range", &["start", "limit", "delta"], &["r"])
        .node("Size", &["r"], &["size"])
        .node("Cast", &["size"], &["f"])
        .with(Attribute::int("to", 1))
        .node("Add", &["x", "f"], &["y"]);
    // The shape itself is computed, by twenty doublings of 2^20.
    let mut computed = row()
        .integers("two", &[1], &[2])
        .integers("s0", &[1], &[1 << 20]);
    for step in 0..20 {
        let (before, after) = (format!("s{step}"), format!("s{}", step + 1));
        computed = computed.node("Mul", &[&before, "two"], &[&after]);
    }
    let computed = computed
        .node("ConstantOfShape", &["s20"], &["huge"])
        .node("ReduceSum", &["huge"], &["sum"])
        .node("Add", &["x", "sum"], &["y"]);
    let doubled = |source: &str| {
        let mut graph = row()
            .floats("d0", &[1], &[1.0])
            .node("Neg", &["x"], &["e0"]);
        let letter = source;
        for step in 0..40 {
            let (before, after) = (format!("{letter}{step}"), format!("{letter}{}", step + 1));
            graph = graph
                .node("Concat", &[&before, &before], &[&after])
                .with(Attribute::int("axis", 0));
        }
        graph
            .node("ReduceSum", &[&format!("{letter}40")], &["sum"])
            .node("Add", &["x", "sum"], &["y"])
            .bytes()
    };
    let outer = row()
        .integers("rows", &[2], &[1 << 20, 1])
        .integers("columns", &[2], &[1, 1 << 20])
        .node("ConstantOfShape", &["rows"], &["a"])
        .node("ConstantOfShape", &["columns"], &["b"])
        .node("MatMul", &["a", "b"], &["huge"])
        .node("ReduceSum", &["huge"], &["sum"])
        .node("Add", &["x", "sum"], &["y"]);
    let image = [Some(1), Some(1), Some(8), Some(8)];
    let pooled = Graph::from_x_to_y(&image)
        .node("MaxPool", &["x"], &["y"])
        .with(Attribute::ints("kernel_shape", &[1, 1]))
        .with(Attribute::ints("pads", &[1 << 20; 4]));
    let convolved = Graph::from_x_to_y(&image)
        .floats("w", &[1, 1, 1, 1], &[1.0])
        .node("Conv", &["x", "w"], &["y"])
        .with(Attribute::ints("pads", &[1 << 20; 4]));
    let resized = Graph::from_x_to_y(&image)
        .floats("none", &[0], &[])
        .integers("sizes", &[4], &[1, 1, 1 << 20, 1 << 20])
        .node("Resize", &["x", "none", "none", "sizes"], &["y"]);
    let random = row()
        .node("RandomNormal", &[], &["huge"])
        .with(Attribute::ints("shape", &[HUGE]))
        .node("ReduceSum", &["huge"], &["sum"])
        .node("Add", &["x", "sum"], &["y"]);
    let mut chosen =
        row()
            .node("Expand", &["x", "shape"], &["z"])
            .node("ReduceSum", &["z"], &["y"]);
    chosen.input.push(Value::of("shape", INT64, &[Some(2)]));
    vec![
        (
            "ConstantOfShape",
            Refused("huge"),
            shaped("ConstantOfShape", &[HUGE]),
        ),
        (
            "ConstantOfShape beyond sizes",
            Refused("huge"),
            shaped("ConstantOfShape", &[HUGE, HUGE]),
        ),
        (
            "ConstantOfShape of an exabyte",
            Refused("huge"),
            shaped("ConstantOfShape", &[1 << 28, 1 << 30]),
        ),
        (
            "ConstantOfShape of some gigabytes",
            Refused("huge"),
            shaped("ConstantOfShape", &[6 << 28]),
        ),
        (
            "ConstantOfShape of less than nothing",
            Refused(""),
            shaped("ConstantOfShape", &[-5]),
        ),
        (
            "Expand of a constant",
            Refused("huge"),
            expanded("Expand", "one", &[1 << 20, 1 << 20]),
        ),
        (
            "Expand of an input",
            Survived,
            expanded("Expand", "x", &[HUGE, 1, 3]),
        ),
        (
            "Tile of a constant",
            Refused("huge"),
            expanded("Tile", "one", &[1 << 20, 1 << 20]),
        ),
        (
            "Tile of an input",
            Refused(""),
            expanded("Tile", "x", &[1 << 20, 1 << 20]),
        ),
        (
            "Pad of a constant",
            Refused("huge"),
            expanded("Pad", "one", &[1 << 20; 4]),
        ),
        (
            "Pad of an input",
            Refused(""),
            expanded("Pad", "x", &[1 << 20; 4]),
        ),
        ("Range", Refused(""), range.bytes()),
        ("a computed shape", Refused(""), computed.bytes()),
        ("constants doubled and doubled", Refused(""), doubled("d")),
        ("an input doubled and doubled", Refused(""), doubled("e")),
        ("an outer product", Refused(""), outer.bytes()),
        ("MaxPool", Refused(""), pooled.bytes()),
        ("Conv", Refused(""), convolved.bytes()),
        ("Resize", Refused(""), resized.bytes()),
        ("RandomNormal", Refused(""), random.bytes()),
        ("a shape that the client chooses", Survived, chosen.bytes()),
    ]
}

/// Graphs whose parts are not too large, but need more memory or time than is available in total.
fn demands() -> Vec<Attack> {
    let mut many = row().node("Relu", &["x"], &["y"]);
    for input in 0..100 {
        let wide = Value::of(&format!("x{input}"), FLOAT, &[Some(1 << 25)]);
        many.input.push(wide);
    }
    let side = Some(1 << 14);
    let column = || Graph::from_x_to_y(&[side, Some(1)]).node("Transpose", &["x"], &["t"]);
    let mut products = column();
    products.output.clear();
    for output in 0..20 {
        let name = format!("y{output}");
        products = products.node("MatMul", &["x", "t"], &[&name]);
        products.output.push(Value::of(&name, FLOAT, &[side, side]));
    }
    let mut labour = column().node("MatMul", &["x", "t"], &["p0"]);
    for step in 0..20 {
        let (before, after) = (format!("p{step}"), format!("p{}", step + 1));
        labour = labour.node("MatMul", &[&before, &before], &[&after]);
    }
    let labour = labour.node("Relu", &["p20"], &["y"]);
    let inner = Graph {
        output: vec![Value::of("sum", FLOAT, &[])],
        ..Graph::default()
    };
    let inner = inner
        .integers("shape", &[2], &[1 << 28, 1 << 28])
        .node("ConstantOfShape", &["shape"], &["inner"])
        .node("ReduceSum", &["inner"], &["sum"])
        .with(Attribute::int("keepdims", 0));
    let mut branch = row()
        .node("If", &["c"], &["chosen"])
        .with(Attribute::graph("then_branch", inner.clone()))
        .with(Attribute::graph("else_branch", inner))
        .node("Add", &["x", "chosen"], &["y"]);
    branch.input.push(Value::of("c", 9, &[]));
    vec![
        (
            "many large inputs",
            Refused("an input cannot be created"),
            many.bytes(),
        ),
        (
            "many large outputs",
            Refused("too much memory"),
            products.bytes(),
        ),
        (
            "too many multiplications",
            Refused("too long"),
            labour.bytes(),
        ),
        ("an explosion within a branch", Survived, branch.bytes()),
    ]
}

/// Excessive numbers of nodes, inputs and other parts.
fn multitudes() -> Vec<Attack> {
    let mut chain = row();
    let mut wide = row();
    let mut before = "x".to_owned();
    for node in 0..100_000 {
        let after = format!("n{node}");
        chain.node.push(relu(&before, &after));
        wide.node.push(relu("x", &after));
        before = after;
    }
    chain.node.push(relu(&before, "y"));
    wide.node.push(relu(&before, "y"));
    let mut long = row();
    let mut before = "x".to_owned();
    for node in 0..20_000 {
        let after = format!("n{node}");
        long.node.push(relu(&before, &after));
        before = after;
    }
    long.node.push(relu(&before, "y"));
    let mut weights = row();
    for weight in 0..100_000 {
        weights = weights.floats(&format!("w{weight}"), &[1], &[1.0]);
    }
    vec![
        (
            "a chain of many nodes",
            Refused("100001 nodes"),
            chain.bytes(),
        ),
        (
            "many nodes that nobody needs",
            Refused("100001 nodes"),
            wide.bytes(),
        ),
        (
            "many weights that nobody needs",
            Survived,
            weights.node("Relu", &["x"], &["y"]).bytes(),
        ),
        ("a long chain of nodes", Survived, long.bytes()),
        ("graphs within graphs", Refused(""), nested(1000)),
        ("some graphs within graphs", Survived, nested(20)),
    ]
}

fn relu(input: &str, output: &str) -> Node {
    Node {
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        op_type: "Relu".to_owned(),
        ..Node::default()
    }
}

/// Returns nested branches, written from the inside out: encoding such a deep message would itself need
/// a large stack.
fn nested(depth: usize) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| {
        let mut length = content.len();
        let mut bytes = vec![number << 3 | 2];
        while length >= 128 {
            bytes.push(u8::try_from(length % 128).unwrap_or(0) | 128);
            length /= 128;
        }
        bytes.push(u8::try_from(length).unwrap_or(0));
        [bytes.as_slice(), content].concat()
    };
    let value = |name: &[u8]| field(1, name);
    let mut graph = [
        field(1, &[field(2, b"b"), field(4, b"Constant")].concat()),
        field(12, &value(b"b")),
    ]
    .concat();
    for _ in 0..depth {
        let branch = |name: &[u8]| {
            let content = [
                field(1, name),
                field(6, &graph),
                vec![20 << 3 & 0x7f | 0x80, 1, 5],
            ];
            field(5, &content.concat())
        };
        let node = [
            field(1, b"c"),
            field(2, b"b"),
            field(4, b"If"),
            branch(b"then_branch"),
        ]
        .concat();
        graph = [field(1, &node), field(12, &value(b"b"))].concat();
    }
    let operators = field(8, &[2 << 3, 17]);
    [&[1 << 3, 8], field(7, &graph).as_slice(), &operators].concat()
}
