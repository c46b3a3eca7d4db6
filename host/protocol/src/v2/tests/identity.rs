//! Property tests: encoded tensors decode to themselves, and decoding arbitrary bytes does not panic.

use super::*;
use crate::call::{InferResponse, ModelName};
use crate::fixture::damaged;
use crate::v2::response::OutputForm;
use crate::v2::{check_unload, decode_index, decode_load, request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The bytes of `count` elements that have a JSON form.
fn json_content(element_type: ElementType, count: usize) -> BoxedStrategy<Vec<u8>> {
    // A NaN has many bits, and one form in JSON.
    let any_f32 = any::<f32>().prop_filter("not NaN", |number| !number.is_nan());
    let any_f64 = any::<f64>().prop_filter("not NaN", |number| !number.is_nan());
    match element_type {
        ElementType::Bool => vec(0u8..=1, count).boxed(),
        ElementType::Fp32 => vec(any_f32, count)
            .prop_map(|numbers| f32_bytes(&numbers))
            .boxed(),
        ElementType::Fp64 => vec(any_f64, count)
            .prop_map(|numbers| numbers.iter().flat_map(|n| n.to_le_bytes()).collect())
            .boxed(),
        ElementType::Bytes => vec(any::<String>(), count)
            .prop_map(|texts| elements(texts.iter().map(String::as_bytes)))
            .boxed(),
        _ => binary_content(element_type, count),
    }
}

/// Arbitrary valid bytes of a tensor of `count` elements.
fn binary_content(element_type: ElementType, count: usize) -> BoxedStrategy<Vec<u8>> {
    match element_type.size() {
        Some(_) if element_type == ElementType::Bool => vec(0u8..=1, count).boxed(),
        Some(size) => vec(any::<u8>(), count * size).boxed(),
        None => vec(any::<Vec<u8>>(), count)
            .prop_map(|texts| elements(texts.iter().map(Vec::as_slice)))
            .boxed(),
    }
}

fn elements<'a>(elements: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    Tensor::from_elements(elements)
        .unwrap()
        .into_content()
        .to_vec()
}

fn output() -> impl Strategy<Value = (NamedTensor, OutputForm)> {
    let types = select(ElementType::ALL.to_vec());
    let dimensions = vec(0u32..4, 0..4);
    (types, dimensions, any::<bool>(), any::<String>()).prop_flat_map(
        |(element_type, dimensions, json, name)| {
            let count = dimensions.iter().product::<u32>() as usize;
            let has_json = !matches!(element_type, ElementType::Fp16 | ElementType::Bf16);
            let (form, content) = match json && has_json {
                true => (OutputForm::Json, json_content(element_type, count)),
                false => (OutputForm::Binary, binary_content(element_type, count)),
            };
            content
                .prop_map(move |content| (tensor(&name, element_type, &dimensions, &content), form))
        },
    )
}

/// Returns a model with `count` inputs and outputs.
fn wide_model(count: usize) -> ModelDescription {
    let specs = vec![spec("any", ElementType::Fp32, &[-1]); count];
    let mut model = model(specs.clone(), 0);
    model.signature.outputs = specs;
    model
}

proptest! {
    #![proptest_config(crate::fixture::cases())]

    #[test]
    fn an_encoded_response_decodes_to_itself(outputs in vec(output(), 0..4), id in any::<Option<String>>()) {
        let mut outputs = outputs;
        outputs.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        outputs.dedup_by(|(a, _), (b, _)| a.name == b.name);
        let model = wide_model(outputs.len());
        let forms = outputs.iter().map(|(output, form)| (output.name.clone(), *form)).collect();
        let reply = V2Encoder { id: id.clone(), default: OutputForm::Json, forms, classes: Vec::new() };
        let outputs: Vec<NamedTensor> = outputs.into_iter().map(|(output, _)| output).collect();
        let response = InferResponse { outputs: outputs.clone(), parameters: Vec::new() };
        let encoded = reply.clone().encode(response, &model).unwrap();

        // The outputs of a response have the same members as the inputs of a request.
        let text = str::from_utf8(&encoded.chunks[0]).unwrap();
        let text = text.replacen(r#""outputs":["#, r#""inputs":["#, 1);
        let rest = Bytes::from(encoded.chunks[1..].concat());
        prop_assert_eq!(encoded.header_length.is_some(), reply.forms.iter().any(|(_, form)| *form == OutputForm::Binary));
        let (request, again) = request::decode(text.as_bytes(), rest, &model).unwrap();
        prop_assert_eq!(request.inputs, outputs);
        prop_assert_eq!(again.id, id.filter(|id| !id.is_empty()));
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in any::<Vec<u8>>(), header_length in any::<Option<u8>>()) {
        let body = Bytes::from(body);
        let _ = decode_index(&body);
        let _ = decoder(header_length.map(usize::from), &[]).decode(body, &two_inputs());
    }

    #[test]
    fn damaged_requests_never_panic(
        position: prop::sample::Index,
        damage in vec(any::<u8>(), 0..4),
        cut in 0usize..8,
        header_length in 0usize..400,
    ) {
        let json = r#"{"id":"7","parameters":{"a":1,"binary_data_output":true},"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[[1.5,-2e3]]},
            {"name":"t","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}}],"outputs":[{"name":"y","parameters":{"binary_data":false}}]}"#;
        let body = [json.as_bytes(), b"\x01\0\0\0a\0\0\0\0"].concat();
        let body = damaged(&body, position.index(body.len()), cut, damage);
        for length in [None, Some(json.len()), Some(header_length)] {
            let _ = decoder(length, &[]).decode(body.clone(), &two_inputs());
        }
    }

    /// A long array is decoded separately from the rest of the body, with the same result.
    #[test]
    fn damaged_long_arrays_are_decoded_as_without_extraction(
        position: prop::sample::Index,
        damage in vec(select(b"0123456789.,eE+-[] \n\"{}:".to_vec()), 0..4),
        cut in 0usize..4,
        is_nested: bool,
        numbers in vec("-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,17})?(e-?[0-9])?", 1..4),
    ) {
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).cycle().take(600).collect();
        let rows = numbers.chunks(2).map(|row| format!("[{}]", row.join(", ")));
        let data = match is_nested {
            true => rows.collect::<Vec<_>>().join(" , "),
            false => numbers.join(","),
        };
        let body = format!(r#"{{"inputs":[{{"data":[{data}],"name":"x","shape":[300,2],"datatype":"FP64"}}]}}"#);
        for body in [
            Bytes::from(body.clone()),
            damaged(body.as_bytes(), position.index(body.len()), cut, damage),
        ] {
            let text = str::from_utf8(&body).unwrap();
            let model = two_inputs();
            let whole = request::decode_text(text, request::Source::Whole, Bytes::new(), &model);
            prop_assert_eq!(request::decode(&body, Bytes::new(), &model), whole);
        }
    }

    #[test]
    fn arbitrary_and_damaged_controls_never_panic(
        body in any::<Vec<u8>>(),
        position: prop::sample::Index,
        damage in vec(any::<u8>(), 0..4),
        cut in 0usize..8,
    ) {
        let model = ModelName::new("m").unwrap();
        let valid = br#"{"parameters":{"config":"{\"input\":[]}","file:1/model.onnx":"AA=="}}"#;
        for body in [Bytes::from(body), damaged(valid, position.index(valid.len()), cut, damage)] {
            let _ = decode_load(&model, &body);
            let _ = check_unload(&body);
            let _ = decode_index(&body);
        }
    }

    #[test]
    fn wrong_sizes_never_panic(
        sizes in vec(any::<u32>(), 0..6),
        declared in any::<u64>(),
        data in "[\\[\\]0-9,.eE\"\\\\ a-z{}-]{0,40}",
        datatype in select(ElementType::ALL.to_vec()),
    ) {
        let parameters = format!(r#""parameters":{{"binary_data_size":{declared}}}"#);
        for content in [parameters, format!(r#""data":{data}"#)] {
            let json = format!(r#"{{"inputs":[{{"name":"x","shape":{sizes:?},"datatype":"{datatype}",{content}}}]}}"#);
            let _ = decode_binary(&json, b"some bytes");
        }
    }
}
