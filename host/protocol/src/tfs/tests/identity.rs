//! Property tests: floats in a response decode to themselves, and decoding arbitrary bytes does not
//! panic.

use super::*;
use crate::fixture::damaged;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const VERBS: [Verb; 3] = [Verb::Predict, Verb::Classify, Verb::Regress];

const BODIES: [&str; 3] = [
    r#"{"signature_name":"serving_default","instances":[{"x":[1.5,-2e3],"t":"\u00e9"},{"t":{"b64":"/wA="},"x":[NaN,-Infinity]}]}"#,
    r#"{"inputs":{"x":[[1.5,-2e3],[Infinity,0]],"t":["a",{"b64":"YQ"}]}}"#,
    r#"{"context":{"t":"c"},"examples":[{"x":[1,2]},{"x":[3,4],"t":["d"]}]}"#,
];

/// Returns a model that supports all three verbs.
fn for_all_verbs() -> ModelDescription {
    let mut model = two_inputs();
    model.signature.outputs = vec![
        spec("scores", ElementType::Fp32, &[-1, 3]),
        spec("outputs", ElementType::Fp32, &[-1]),
    ];
    model
}

/// Returns the bits of floats, with the same bits for every NaN.
fn bits(numbers: impl IntoIterator<Item = f32>) -> Vec<u32> {
    let one_nan = |n: f32| if n.is_nan() { f32::NAN } else { n };
    numbers.into_iter().map(|n| one_nan(n).to_bits()).collect()
}

#[test]
fn the_bodies_that_are_damaged_below_are_valid() -> anyhow::Result<()> {
    decode(Verb::Predict, BODIES[0], &for_all_verbs())?;
    decode(Verb::Predict, BODIES[1], &for_all_verbs())?;
    decode(Verb::Classify, BODIES[2], &for_all_verbs())?;
    decode(Verb::Regress, BODIES[2], &for_all_verbs())?;
    Ok(())
}

proptest! {
    #![proptest_config(crate::fixture::cases())]

    #[test]
    fn floats_of_a_response_are_valid_in_a_request(rows in vec(any::<[u32; 2]>(), 1..5)) {
        let numbers: Vec<f32> = rows.iter().flatten().map(|&bits| f32::from_bits(bits)).collect();
        let count = u32::try_from(rows.len()).unwrap();
        let values = vec!["[1,2]"; rows.len()].join(",");
        for (asked, answered) in [("instances", "predictions"), ("inputs", "outputs")] {
            let body = format!(r#"{{"{asked}":[{values}]}}"#);
            let (_, encoder) = decode(Verb::Predict, &body, &one_input()).unwrap();
            let text = encode(&encoder, vec![floats("y", &[count, 2], &numbers)], &one_input()).unwrap();
            let again = text.replacen(answered, asked, 1);
            let (request, _) = decode(Verb::Predict, &again, &one_input()).unwrap();
            let tensor = &request.inputs[0].tensor;
            prop_assert_eq!(tensor.shape().dimensions(), [count, 2]);
            let read = tensor.content().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            prop_assert_eq!(bits(read), bits(numbers.iter().copied()));
        }
    }

    /// A long array is decoded separately from the rest of the body, with the same result.
    #[test]
    fn damaged_long_arrays_are_decoded_as_without_extraction(
        position: prop::sample::Index,
        damage in vec(select(b"0123456789.,eE+-[] \n\"{}:NaN".to_vec()), 0..4),
        cut in 0usize..4,
        member in select(vec!["instances", "inputs"]),
        numbers in vec("-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,17})?(e-?[0-9])?", 1..4),
    ) {
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).cycle().take(600).collect();
        let rows = numbers.chunks(2).map(|row| format!("[{}]", row.join(", ")));
        let body = format!(r#"{{"{member}":[{}]}}"#, rows.collect::<Vec<_>>().join(" , "));
        for body in [
            Bytes::from(body.clone()),
            damaged(body.as_bytes(), position.index(body.len()), cut, damage),
        ] {
            let text = str::from_utf8(&body).unwrap();
            let whole = request::decode_text(Verb::Predict, text, None, &one_input());
            prop_assert_eq!(request::decode(Verb::Predict, &body, &one_input()), whole);
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in any::<Vec<u8>>(), verb in select(VERBS.to_vec())) {
        let _ = TfsDecoder::new(verb).decode(Bytes::from(body), &for_all_verbs());
    }

    #[test]
    fn arbitrary_values_never_panic(
        member in select(vec!["instances", "inputs", "examples", "context", "signature_name"]),
        value in "[\\[\\]{}0-9,.eE\":NIa-z -]{0,60}",
        verb in select(VERBS.to_vec()),
    ) {
        for model in [one_input(), for_all_verbs()] {
            let _ = decode(verb, &format!(r#"{{"{member}":{value}}}"#), &model);
            let _ = decode(verb, &format!(r#"{{"{member}":[{{"x":{value}}}]}}"#), &model);
            let _ = decode(verb, &format!(r#"{{"{member}":[{{"x":[1,2],"t":{value}}}]}}"#), &model);
        }
    }

    #[test]
    fn damaged_bodies_never_panic(
        body in select(BODIES.to_vec()),
        position: prop::sample::Index,
        damage in vec(any::<u8>(), 0..4),
        cut in 0usize..8,
    ) {
        let body = damaged(body.as_bytes(), position.index(body.len()), cut, damage);
        for verb in VERBS {
            let _ = TfsDecoder::new(verb).decode(body.clone(), &for_all_verbs());
        }
    }
}
