//! Tests of operators on texts, as the text pipelines of scikit-learn use them. The expected values are
//! those of onnxruntime.

use super::onnx_file::{Axis, OnnxFile, int, ints};
use super::refusals::refusal;
use super::{encode, load_file, values};
use crate::tract::Tract;
use crate::{Backend, BackendError, Graph, LoadOptions, ModelSource};
use bytes::Bytes;
use std::sync::Arc;
use tract_onnx::pb::AttributeProto;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use wisp_tensor::memory_budget::MemoryBudget;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::String as i32,
        s: value.as_bytes().to_vec(),
        ..Default::default()
    }
}

fn texts(name: &str, values: &[&str]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Strings as i32,
        strings: values
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect(),
        ..Default::default()
    }
}

/// Returns a model of one operator over strings `x`.
fn operator(op_type: &str, axes: &[Axis], attributes: Vec<AttributeProto>) -> OnnxFile {
    let mut file = OnnxFile::default()
        .input("x", DataType::String, axes)
        .node(op_type, &["x"], &["y"])
        .attributes(attributes)
        .output("y");
    if op_type == "Tokenizer" {
        file.graph.node[0].domain = "com.microsoft".to_owned();
    }
    file.graph.output[0].r#type = None;
    file
}

fn input(dimensions: &[u32], words: &[&str]) -> anyhow::Result<Vec<NamedTensor>> {
    let words = Tensor::from_elements(words.iter().map(|word| word.as_bytes()))?;
    let shape = Shape::new(dimensions.to_vec())?;
    Ok(vec![NamedTensor {
        name: "x".to_owned(),
        tensor: Tensor::new(ElementType::Bytes, shape, words.into_content())?,
    }])
}

/// Returns the shape and the strings of the output for a list of words.
fn strings(graph: &Arc<dyn Graph>, words: &[&str]) -> anyhow::Result<(Vec<u32>, Vec<String>)> {
    let outputs = graph.compute(&input(&[u32::try_from(words.len())?], words)?)?;
    let tensor = &outputs[0].tensor;
    let found = tensor
        .elements()
        .map(|word| String::from_utf8_lossy(word).into_owned());
    Ok((tensor.shape().dimensions().to_vec(), found.collect()))
}

#[test]
fn strings_are_normalized_and_stop_words_removed() -> anyhow::Result<()> {
    for (attributes, expected) in [
        (
            vec![text("case_change_action", "LOWER")],
            ["the", "cat", "the"].as_slice(),
        ),
        (vec![texts("stopwords", &["the"])], &["Cat"]),
        (
            vec![
                texts("stopwords", &["the"]),
                int("is_case_sensitive", 1),
                text("case_change_action", "UPPER"),
            ],
            &["THE", "CAT"],
        ),
        (vec![texts("stopwords", &["THE", "cat"])], &[""]),
    ] {
        let graph = load_file(operator(
            "StringNormalizer",
            &[Axis::Named("n")],
            attributes,
        ))?;
        let (shape, found) = strings(&graph, &["The", "Cat", "the"])?;
        assert_eq!(found, expected);
        assert_eq!(shape, [u32::try_from(expected.len())?]);
    }
    let file = operator(
        "StringNormalizer",
        &[Axis::Size(2), Axis::Size(2)],
        vec![text("case_change_action", "LOWER")],
    );
    assert!(refusal(load_file(file)).contains("one list of strings"));
    Ok(())
}

#[test]
fn numbers_are_read_from_strings() -> anyhow::Result<()> {
    let int32 = i64::from(DataType::Int32 as i32);
    let file = operator("Cast", &[Axis::Named("n")], vec![int("to", int32)]);
    // An empty string is no number, so that the graph does not compute with the usual sample.
    let graph = load_file(file)?;
    let outputs = graph.compute(&input(&[2], &["17", "-3"])?)?;
    let expected: Vec<u8> = [17i32, -3].iter().flat_map(|n| n.to_le_bytes()).collect();
    assert_eq!(outputs[0].tensor.content(), &expected[..]);
    let refused = graph.compute(&input(&[1], &["x"])?);
    assert!(
        matches!(refused, Err(BackendError::Inputs { .. })),
        "{refused:?}"
    );
    assert!(graph.compute(&graph.sample_inputs()?).is_ok());
    Ok(())
}

fn tokenizer(expression: &str, mark: i64) -> Vec<AttributeProto> {
    vec![
        int("mark", mark),
        int("mincharnum", 1),
        text("pad_value", "#"),
        text("tokenexp", expression),
    ]
}

#[test]
fn texts_are_split_into_padded_rows_of_tokens() -> anyhow::Result<()> {
    let axes = [Axis::Named("n")];
    let graph = load_file(operator("Tokenizer", &axes, tokenizer("[a-zA-Z0-9_]+", 0)))?;
    let found = strings(&graph, &["a bc", "", "d\u{e9}f gh1_"])?;
    let expected = ["a", "bc", "#", "#", "#", "#", "d", "f", "gh1_"].map(str::to_owned);
    assert_eq!(found, (vec![3, 3], expected.to_vec()));
    assert_eq!(strings(&graph, &["", " "])?, (vec![2, 0], vec![]));
    let graph = load_file(operator("Tokenizer", &axes, tokenizer("[a-z]+", 1)))?;
    let found = strings(&graph, &["a bc", "d"])?;
    let expected = ["\u{2}", "a", "bc", "\u{3}", "\u{2}", "d", "\u{3}", "#"].map(str::to_owned);
    assert_eq!(found, (vec![2, 4], expected.to_vec()));
    let lookahead = operator("Tokenizer", &axes, tokenizer("a(?=b)", 0));
    assert!(refusal(load_file(lookahead)).contains("invalid tokenexp"));
    Ok(())
}

#[test]
fn tokens_beyond_the_memory_are_refused_before_they_are_made() -> anyhow::Result<()> {
    let file = operator("Tokenizer", &[Axis::Named("n")], tokenizer(".", 0));
    let memory = Arc::new(MemoryBudget::new(64 << 20));
    let backend = Tract::with_memory(Arc::clone(&memory));
    let graph = backend.load(ModelSource::onnx(&encode(file)), &LoadOptions::default())?;
    // One long text makes all rows long.
    let long = "a".repeat(1 << 14);
    let mut words = vec![""; 1000];
    words[7] = &long;
    let refused = graph.compute(&input(&[1000], &words)?);
    assert!(
        matches!(refused, Err(BackendError::Inputs { .. })),
        "{refused:?}"
    );
    assert_eq!(memory.reserved(), 0);
    graph.compute(&input(&[1], &[&long])?)?;
    Ok(())
}

/// Returns the attributes of a vectorizer for the items 0, 1, 2 of its pool, and the pairs 0 1 and 2 0.
fn vectorizer(mode: &str) -> Vec<AttributeProto> {
    vec![
        text("mode", mode),
        int("min_gram_length", 1),
        int("max_gram_length", 2),
        int("max_skip_count", 1),
        ints("ngram_counts", &[0, 3]),
        ints("ngram_indexes", &[4, 0, 1, 2, 3]),
    ]
}

#[test]
fn n_grams_are_counted_and_weighted() -> anyhow::Result<()> {
    let mut weights = text("weights", "");
    weights.r#type = AttributeType::Floats as i32;
    weights.floats = vec![10.0, 20.0, 30.0, 40.0, 50.0];
    let ids = [5i64, 6, 7, 5, 6, 7, 7, 5, 9, 6];
    for (mode, expected) in [
        ("TF", [2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0]),
        (
            "IDF",
            [20.0, 30.0, 40.0, 50.0, 10.0, 20.0, 30.0, 40.0, 50.0, 10.0],
        ),
        (
            "TFIDF",
            [40.0, 30.0, 80.0, 50.0, 20.0, 20.0, 60.0, 40.0, 100.0, 10.0],
        ),
    ] {
        let mut attributes = vectorizer(mode);
        attributes.push(weights.clone());
        attributes.push(ints("pool_int64s", &[5, 6, 7, 5, 6, 7, 5]));
        let axes = [Axis::Named("n"), Axis::Named("length")];
        let mut file = operator("TfIdfVectorizer", &axes, attributes);
        file.graph.input.clear();
        let graph = load_file(file.input("x", DataType::Int64, &axes))?;
        let content: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let tensor = Tensor::new(
            ElementType::Int64,
            Shape::new(vec![2, 5])?,
            Bytes::from(content),
        )?;
        let name = "x".to_owned();
        let outputs = graph.compute(&[NamedTensor { name, tensor }])?;
        assert_eq!(outputs[0].tensor.shape().dimensions(), [2, 5]);
        assert_eq!(values(&outputs[0].tensor), expected, "{mode}");
    }
    Ok(())
}

#[test]
fn words_are_vectorized_and_invalid_pools_refused() -> anyhow::Result<()> {
    let axes = [Axis::Named("n")];
    let with_pool = |pool: &[&str]| {
        let mut attributes = vectorizer("TF");
        attributes.push(texts("pool_strings", pool));
        load_file(operator("TfIdfVectorizer", &axes, attributes))
    };
    let graph = with_pool(&["a", "b", "c", "a", "b", "c", "a"])?;
    let outputs = graph.compute(&input(&[5], &["a", "b", "c", "a", "b"])?)?;
    assert_eq!(values(&outputs[0].tensor), [2.0, 1.0, 2.0, 1.0, 2.0]);
    assert!(refusal(with_pool(&["a", "a", "c", "a", "b", "c", "a"])).contains("twice"));
    assert!(refusal(with_pool(&["a", "b", "c", "a", "b", "c"])).contains("2-grams"));
    assert!(refusal(with_pool(&["a", "b", "c", "a", "b"])).contains("fewer n-grams"));
    Ok(())
}
