//! Tests of sizes and costs on graphs of a few nodes.

use super::*;
use crate::onnx::test_graphs::{inner, model, node, number, numbers, tensor, text, value};
use crate::pb::tensor_proto::DataType;
use crate::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// Returns a graph with the input `x` and the output of the last node.
fn graph(nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) -> GraphProto {
    let output = nodes.last().and_then(|node| node.output.first()).cloned();
    GraphProto {
        node: nodes,
        initializer: tensors,
        input: vec![named("x")],
        output: vec![named(&output.unwrap_or_default())],
        ..Default::default()
    }
}

/// Returns the declaration of a value without sizes.
fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: name.to_owned(),
        ..Default::default()
    }
}

fn outline(nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) -> Result<Outline, String> {
    Outline::new(&model(17, graph(nodes, tensors)))
}

/// Returns the largest number of bytes that a value with these sizes takes.
fn bytes(sizes: &[u64]) -> u64 {
    sizes.iter().product::<u64>() * 4
}

/// Returns the cost for an input `x` of these sizes.
fn cost(nodes: Vec<NodeProto>, tensors: Vec<TensorProto>, x: &[u32]) -> Result<Cost, String> {
    outline(nodes, tensors)?.cost(&[("x", x)])
}

/// Returns the bytes of the result of the last node, which take more memory than `x`.
fn result_bytes(
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
    x: &[u32],
) -> Result<u64, String> {
    let sizes: Vec<u64> = x.iter().copied().map(u64::from).collect();
    let cost = cost(nodes, tensors, x)?;
    Ok(cost.live_bytes - bytes(&sizes))
}

fn int64s(name: &str, numbers: &[i64]) -> TensorProto {
    tensor(name, DataType::Int64, numbers)
}

fn floats(name: &str, numbers: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: DataType::Float as i32,
        dims: vec![numbers.len() as i64],
        float_data: numbers.to_vec(),
        ..Default::default()
    }
}

fn scalar(mut tensor: TensorProto) -> TensorProto {
    tensor.dims.clear();
    tensor
}

fn weights(name: &str, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: DataType::Float as i32,
        dims: dims.to_vec(),
        ..Default::default()
    }
}

#[test]
fn a_chain_takes_two_buffers_and_one_multiplication_per_element() -> anyhow::Result<()> {
    let nodes = vec![
        node("Relu", &["x"], "a"),
        node("Exp", &["a"], "b"),
        node("Tanh", &["b"], "c"),
    ];
    let cost = cost(nodes, Vec::new(), &[10, 100]).map_err(anyhow::Error::msg)?;
    assert_eq!(cost.live_bytes, 2 * bytes(&[1000]));
    assert_eq!(cost.multiplications, 3000);
    Ok(())
}

#[test]
fn a_value_that_is_read_later_keeps_its_buffer() -> anyhow::Result<()> {
    let nodes = vec![
        node("Relu", &["x"], "a"),
        node("Exp", &["a"], "b"),
        node("Add", &["b", "x"], "c"),
    ];
    let cost = cost(nodes, Vec::new(), &[1000]).map_err(anyhow::Error::msg)?;
    assert_eq!(cost.live_bytes, 3 * bytes(&[1000]));
    Ok(())
}

#[test]
fn products_and_convolutions_count_their_multiplications() -> anyhow::Result<()> {
    let nodes = vec![node("MatMul", &["x", "w"], "y")];
    let product = cost(nodes, vec![weights("w", &[300, 50])], &[7, 20, 300]);
    let product = product.map_err(anyhow::Error::msg)?;
    assert_eq!(product.multiplications, 7 * 20 * 50 * 300);

    let conv = numbers(node("Conv", &["x", "w"], "y"), "kernel_shape", &[3, 3]);
    let conv = numbers(conv, "strides", &[2, 2]);
    let conv = numbers(conv, "pads", &[1, 1, 1, 1]);
    let conv = cost(
        vec![conv],
        vec![weights("w", &[16, 3, 3, 3])],
        &[1, 3, 32, 32],
    );
    let conv = conv.map_err(anyhow::Error::msg)?;
    assert_eq!(conv.multiplications, 16 * 16 * 16 * 27);

    let einsum = text(node("Einsum", &["x", "w"], "y"), "equation", "bij,jk->bik");
    let einsum = cost(vec![einsum], vec![weights("w", &[30, 40])], &[2, 10, 30]);
    let einsum = einsum.map_err(anyhow::Error::msg)?;
    assert_eq!(einsum.multiplications, 2 * 10 * 30 * 40);
    Ok(())
}

#[test]
fn sizes_are_followed_through_integers() -> anyhow::Result<()> {
    // A view of the first axis and everything else.
    let nodes = [
        node("Shape", &["x"], "s"),
        node("Gather", &["s", "zero"], "n"),
        node("Unsqueeze", &["n", "axes"], "nv"),
        node("Concat", &["nv", "rest"], "shape"),
        node("Reshape", &["x", "shape"], "y"),
        node("MatMul", &["y", "w"], "z"),
    ];
    let concat = number(nodes[3].clone(), "axis", 0);
    let nodes = [&nodes[..3], &[concat], &nodes[4..]].concat();
    let tensors = vec![
        scalar(int64s("zero", &[0])),
        int64s("axes", &[0]),
        int64s("rest", &[-1]),
        weights("w", &[600, 1000]),
    ];
    let cost = cost(nodes, tensors, &[5, 20, 30]).map_err(anyhow::Error::msg)?;
    assert!(cost.multiplications >= 5 * 600 * 1000);
    assert!(cost.live_bytes >= bytes(&[3000]) * 2 + bytes(&[5, 1000]));
    Ok(())
}

#[test]
fn sizes_are_followed_through_floats() -> anyhow::Result<()> {
    // As PyTorch exports `interpolate(scale_factor=1.5)`.
    let nodes = vec![
        node("Shape", &["x"], "s"),
        node("Slice", &["s", "two", "four"], "hw"),
        number(node("Cast", &["hw"], "f"), "to", 1),
        node("Mul", &["f", "scale"], "m"),
        node("Floor", &["m"], "fl"),
        number(node("Cast", &["fl"], "i"), "to", 7),
        node("Slice", &["s", "zero", "two"], "nc"),
        number(node("Concat", &["nc", "i"], "sizes"), "axis", 0),
        node("Resize", &["x", "", "", "sizes"], "y"),
    ];
    let tensors = vec![
        int64s("zero", &[0]),
        int64s("two", &[2]),
        int64s("four", &[4]),
        scalar(floats("scale", &[1.5])),
    ];
    let result = result_bytes(nodes, tensors, &[1, 3, 31, 40]).map_err(anyhow::Error::msg)?;
    assert!(
        (bytes(&[3, 46, 60])..bytes(&[3, 46, 60]) + 200).contains(&result),
        "{result}"
    );
    Ok(())
}

#[test]
fn scales_are_floats() -> anyhow::Result<()> {
    let nodes = vec![node("Resize", &["x", "", "scales"], "y")];
    let tensors = vec![floats("scales", &[1.0, 1.0, 2.5, 0.5])];
    let result = result_bytes(nodes, tensors, &[2, 3, 10, 10]).map_err(anyhow::Error::msg)?;
    assert_eq!(result, bytes(&[2, 3, 25, 5]));
    Ok(())
}

#[test]
fn padding_as_pytorch_exports_it_is_followed() -> anyhow::Result<()> {
    // Pairs of pads, last axis first, become the starts of all axes and then the ends.
    let nodes = vec![
        node("Reshape", &["pairs", "two"], "r"),
        node("Slice", &["r", "last", "first", "axis", "back"], "reversed"),
        numbers(node("Transpose", &["reversed"], "t"), "perm", &[1, 0]),
        node("Reshape", &["t", "all"], "pads"),
        node("Pad", &["x", "pads"], "y"),
    ];
    let tensors = vec![
        int64s("pairs", &[5, 7, 0, 0]),
        int64s("two", &[-1, 2]),
        int64s("last", &[-1]),
        int64s("first", &[i64::MIN]),
        int64s("axis", &[0]),
        int64s("back", &[-1]),
        int64s("all", &[-1]),
    ];
    let result = result_bytes(nodes, tensors, &[8, 10]).map_err(anyhow::Error::msg)?;
    assert_eq!(result, bytes(&[8, 22]));
    Ok(())
}

#[test]
fn a_size_from_a_value_of_the_request_is_refused() {
    let range = || node("Range", &["zero", "x", "one"], "r");
    let tensors = || vec![scalar(int64s("zero", &[0])), scalar(int64s("one", &[1]))];
    let refused = cost(vec![range()], tensors(), &[]).err();
    assert_eq!(
        refused.as_deref(),
        Some("the size of `r` (Range) follows from values of the request")
    );
    // As many axes as the client likes are not even listed.
    let expand = vec![node("Expand", &["one", "x"], "y")];
    assert!(cost(expand, tensors(), &[2_000_000_000]).is_err());
    let reshape = vec![node("Reshape", &["one", "x"], "y")];
    assert!(cost(reshape, tensors(), &[2_000_000_000]).is_err());
    let fill = vec![node("ConstantOfShape", &["x"], "y")];
    assert!(cost(fill, tensors(), &[2]).is_err());
}

#[test]
fn selections_are_bounded_by_what_they_select_from() -> anyhow::Result<()> {
    let nodes = vec![
        node("NonZero", &["x"], "found"),
        numbers(node("Transpose", &["found"], "rows"), "perm", &[1, 0]),
        node("GatherND", &["x", "rows"], "y"),
    ];
    let bounded = cost(nodes, Vec::new(), &[40, 50]).map_err(anyhow::Error::msg)?;
    assert!(bounded.live_bytes >= bytes(&[2000]) + 2 * bytes(&[2, 2000]));

    let top = NodeProto {
        output: vec!["values".to_owned(), "indices".to_owned()],
        ..node("TopK", &["w", "x"], "values")
    };
    let top = cost(vec![top], vec![weights("w", &[8, 100])], &[1]).map_err(anyhow::Error::msg)?;
    assert!(top.live_bytes >= 2 * bytes(&[8, 100]));

    let slice = vec![node("Slice", &["w", "zero", "x"], "y")];
    let tensors = vec![weights("w", &[500]), int64s("zero", &[0])];
    let slice = cost(slice, tensors, &[1]).map_err(anyhow::Error::msg)?;
    assert!(slice.live_bytes >= bytes(&[500]));
    Ok(())
}

#[test]
fn a_size_computed_from_a_bound_is_a_bound() -> anyhow::Result<()> {
    // 100 minus the number of results: up to 100.
    let nodes = vec![
        node("NonZero", &["x"], "found"),
        number(node("Shape", &["found"], "s"), "start", 1),
        node("Sub", &["hundred", "s"], "rest"),
        node("ConstantOfShape", &["rest"], "y"),
    ];
    let tensors = vec![int64s("hundred", &[100])];
    let cost = cost(nodes, tensors, &[90]).map_err(anyhow::Error::msg)?;
    assert!(cost.live_bytes >= bytes(&[90]) + bytes(&[100]));
    Ok(())
}

#[test]
fn a_bound_that_both_shapes_contain_cancels() -> anyhow::Result<()> {
    // Found rows of 2 become pairs of rows of 4, without the bound being squared.
    let nodes = vec![
        node("NonZero", &["x"], "found"),
        number(node("Shape", &["found"], "s"), "start", 1),
        number(node("Concat", &["s", "rest"], "shape"), "axis", 0),
        node("Reshape", &["found", "shape"], "y"),
        node("MatMul", &["y", "w"], "z"),
    ];
    let tensors = vec![int64s("rest", &[-1]), weights("w", &[2, 10])];
    let cost = cost(nodes, tensors, &[50, 50]).map_err(anyhow::Error::msg)?;
    assert!(cost.live_bytes < bytes(&[2500, 2500]));
    Ok(())
}

fn branches(taken: &str) -> NodeProto {
    let body = |node: NodeProto| GraphProto {
        input: Vec::new(),
        ..graph(vec![node], vec![int64s("twice", &[2])])
    };
    let branch = inner(
        node("If", &[taken], "y"),
        "then_branch",
        body(node("Tile", &["x", "twice"], "t")),
    );
    inner(branch, "else_branch", body(node("Relu", &["x"], "e")))
}

#[test]
fn of_two_branches_the_larger_counts_unless_one_is_known() -> anyhow::Result<()> {
    let condition = |flag: i64| scalar(tensor("c", DataType::Bool, &[flag]));
    let open = vec![
        node("ReduceMax", &["x"], "m"),
        number(node("Cast", &["m"], "c"), "to", 9),
    ];
    let open = [open, vec![branches("c")]].concat();
    let open = cost(open, Vec::new(), &[1000]).map_err(anyhow::Error::msg)?;
    let large = cost(vec![branches("c")], vec![condition(1)], &[1000]);
    let large = large.map_err(anyhow::Error::msg)?;
    let small = cost(vec![branches("c")], vec![condition(0)], &[1000]);
    let small = small.map_err(anyhow::Error::msg)?;
    assert!(open.live_bytes >= large.live_bytes);
    assert!(large.live_bytes >= bytes(&[3000]));
    assert_eq!(small.live_bytes, bytes(&[2000]));
    Ok(())
}

/// Returns a loop over a body with the one given node, which computes `next` from `carried`.
fn repeated(trips: &str, step: NodeProto) -> NodeProto {
    let body = GraphProto {
        node: vec![node("Identity", &["go"], "on"), step],
        input: vec![named("i"), named("go"), named("carried")],
        output: vec![named("on"), named("next")],
        ..Default::default()
    };
    inner(node("Loop", &[trips, "", "x"], "y"), "body", body)
}

#[test]
fn a_loop_costs_its_body_for_every_iteration() -> anyhow::Result<()> {
    let nodes = vec![repeated("trips", node("Relu", &["carried"], "next"))];
    let cost = cost(nodes, vec![scalar(int64s("trips", &[20]))], &[1000]);
    let cost = cost.map_err(anyhow::Error::msg)?;
    // The condition is one more.
    assert_eq!(cost.multiplications, 20 * 1001);
    Ok(())
}

#[test]
fn a_loop_whose_values_grow_is_followed() -> anyhow::Result<()> {
    let step = || number(node("Concat", &["carried", "carried"], "next"), "axis", 0);
    let looped = |trips: i64| {
        let trips = vec![scalar(int64s("trips", &[trips]))];
        cost(vec![repeated("trips", step())], trips, &[1000])
    };
    let cost = looped(5).map_err(anyhow::Error::msg)?;
    assert!(cost.live_bytes >= bytes(&[32_000]));
    // A size of more than 32 bits.
    assert!(looped(40).is_err());
    Ok(())
}

#[test]
fn a_loop_whose_iterations_a_request_chooses_is_refused() {
    let step = node("Relu", &["carried"], "next");
    let nodes = vec![node("ReduceMax", &["x"], "m"), repeated("m", step)];
    let refused = cost(nodes, Vec::new(), &[10]).err();
    assert_eq!(
        refused.as_deref(),
        Some("the number of iterations of `y` follows from values of the request")
    );
}

#[test]
fn operators_that_rten_does_not_compute_are_refused_while_loading() {
    let refusal = |nodes| outline(nodes, Vec::new()).err().unwrap_or_default();
    assert_eq!(
        refusal(vec![node("SequenceAt", &["x"], "y")]),
        "operator `SequenceAt` is not supported"
    );
    let custom = NodeProto {
        domain: "ai.onnx.ml".to_owned(),
        ..node("Scaler", &["x"], "y")
    };
    assert_eq!(
        refusal(vec![custom]),
        "operator `ai.onnx.ml.Scaler` is not supported"
    );
    let unsorted = vec![node("Relu", &["b"], "a"), node("Relu", &["x"], "b")];
    assert!(refusal(unsorted).contains("reads `b`"));
    let two = [node("Relu", &["x"], "y"), node("Relu", &["x"], "y")];
    assert!(refusal(two.to_vec()).contains("more than one value"));
}

#[test]
fn constants_that_are_too_large_are_refused_while_loading() {
    let nodes = vec![
        node("ConstantOfShape", &["shape"], "c"),
        node("Add", &["x", "c"], "y"),
    ];
    let load = |sizes: &[i64]| outline(nodes.clone(), vec![int64s("shape", sizes)]);
    assert!(load(&[1000, 1000]).is_ok());
    let refused = load(&[100_000, 100_000]).err().unwrap_or_default();
    assert!(refused.contains("40000000000 bytes"), "{refused}");
}

#[test]
fn consequences_of_declared_sizes_are_checked_while_loading() {
    let load = |sizes: &[i64]| {
        let nodes = vec![
            node("Shape", &["x"], "s"),
            node("ConstantOfShape", &["s"], "c"),
            node("Add", &["x", "c"], "y"),
        ];
        let input = vec![value("x", DataType::Float, sizes)];
        let graph = GraphProto {
            input,
            ..graph(nodes, Vec::new())
        };
        Outline::new(&model(17, graph)).err().unwrap_or_default()
    };
    assert!(load(&[100_000, 100_000]).contains("too much memory"));
    // The sizes of a request are checked with it.
    assert_eq!(load(&[-1, 100_000]), "");
}

#[test]
fn constants_take_no_memory_of_a_computation() -> anyhow::Result<()> {
    let nodes = vec![
        node("ConstantOfShape", &["shape"], "c"),
        node("Exp", &["c"], "e"),
        node("Add", &["x", "e"], "y"),
    ];
    let cost = cost(nodes, vec![int64s("shape", &[1000])], &[1]).map_err(anyhow::Error::msg)?;
    assert_eq!(cost.live_bytes, bytes(&[1000]) + bytes(&[1]));
    assert_eq!(cost.multiplications, 1000);
    Ok(())
}

#[test]
fn attributes_of_old_files_are_inputs() -> anyhow::Result<()> {
    let slice = numbers(node("Slice", &["x"], "y"), "starts", &[2]);
    let slice = numbers(numbers(slice, "ends", &[i64::MAX]), "axes", &[1]);
    let result = result_bytes(vec![slice], Vec::new(), &[10, 12]).map_err(anyhow::Error::msg)?;
    assert_eq!(result, bytes(&[10, 10]));
    let squeeze = vec![numbers(node("Squeeze", &["x"], "y"), "axes", &[0])];
    let result = result_bytes(squeeze, Vec::new(), &[1, 64]).map_err(anyhow::Error::msg)?;
    assert_eq!(result, bytes(&[64]));
    Ok(())
}

#[test]
fn too_many_axes_and_large_inputs_are_refused() {
    let nodes = || vec![node("Unsqueeze", &["x", "axes"], "y")];
    let axes: Vec<i64> = (0..16).collect();
    assert!(cost(nodes(), vec![int64s("axes", &axes)], &[2]).is_err());
    assert!(cost(nodes(), vec![int64s("axes", &axes[..15])], &[2]).is_ok());
    let relu = vec![node("Relu", &["x"], "y")];
    assert!(cost(relu, Vec::new(), &[u32::MAX]).is_err());
}
