//! Tests of valid requests, and of the error messages for invalid ones.

use super::*;
use wisp_tensor::{Parameter, ParameterValue};

/// Checks that each body is rejected with a message that begins with the expected text.
fn check_errors(cases: &[(&str, &str)]) {
    for (json, expected) in cases {
        let text = error_text(decode(json));
        assert!(text.starts_with(expected), "{json}\n got {text}");
    }
}

#[test]
fn members_may_have_any_order_and_unknown_ones_are_ignored() -> anyhow::Result<()> {
    let bodies = [
        r#"{"id":"7","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1.5,-2]}],"outputs":[{"name":"y"}]}"#,
        r#"{"outputs":[{"parameters":null,"name":"y"}],"inputs":[{"data":[[1.5,-2]],"datatype":"FP32","shape":[1,2],"name":"x"}],"id":"7"}"#,
        r#" {"model_name":"m","extra":{"a":[{}]},"id":"7","parameters":null,
            "inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1.5,-2],"parameters":{"k":[1]},"z":0}],
            "outputs":[{"name":"y","parameters":{"other":{}}}]}
        "#,
    ];
    for body in bodies {
        let (request, reply) = decode(body)?;
        let expected = tensor("x", ElementType::Fp32, &[1, 2], &f32_bytes(&[1.5, -2.0]));
        assert_eq!(request.inputs, [expected]);
        assert_eq!(request.outputs, ["y"]);
        assert_eq!(request.parameters, []);
        assert_eq!(reply.id.as_deref(), Some("7"));
    }
    Ok(())
}

#[test]
fn absent_and_null_members_mean_the_same() -> anyhow::Result<()> {
    let absent = decode(r#"{"inputs":[]}"#)?;
    let null = decode(r#"{"inputs":[],"id":null,"parameters":null,"outputs":null}"#)?;
    assert_eq!(absent, null);
    assert_eq!(absent.0.outputs, Vec::<String>::new());
    let json = r#"{"inputs":[{"name":"x","shape":[0],"datatype":"FP32","parameters":{"binary_data_size":0},"data":null}]}"#;
    decode(json)?;
    Ok(())
}

#[test]
fn invalid_json_is_rejected() {
    check_errors(&[
        (
            "x",
            "the body is not valid JSON: expected value at line 1 column 1",
        ),
        ("{", "the body is not valid JSON: EOF"),
        (
            r#"{"inputs":[]} x"#,
            "the body is not valid JSON: trailing characters",
        ),
        (
            r#"{"inputs":[{"data":[nan]}]}"#,
            "the body is not valid JSON: expected ident",
        ),
        (
            r#"{"inputs":[{"data":[1,]}]}"#,
            "the body is not valid JSON",
        ),
    ]);
    let invalid = b"{\"inputs\":[],\"unknown\":\"\xff\"}";
    let result = decoder(None, &[]).decode(Bytes::from_static(invalid), &two_inputs());
    assert_eq!(
        error_text(result),
        "the body is not valid JSON: it is not UTF-8"
    );
}

#[test]
fn the_error_for_a_wrong_document_contains_no_internal_names() {
    check_errors(&[
        (
            "[]",
            "the body is not valid: invalid type: sequence, expected an object",
        ),
        (
            r#"[null,null,[]]"#,
            "the body is not valid: invalid type: sequence, expected an object",
        ),
        ("{}", "the body is not valid: missing field `inputs`"),
        (
            r#"{"inputs":{}}"#,
            "the body is not valid: invalid type: map, expected an array of objects",
        ),
        (
            r#"{"inputs":[["x",[1],"FP32"]]}"#,
            "the body is not valid: invalid type: sequence, expected an object",
        ),
        (
            r#"{"inputs":[{"name":"x","datatype":"FP32"}]}"#,
            "the body is not valid: missing field `shape`",
        ),
        (
            r#"{"inputs":[{"name":5}]}"#,
            "the body is not valid: invalid type: integer `5`, expected a string",
        ),
        (
            r#"{"inputs":[],"id":5}"#,
            "the body is not valid: invalid type: integer `5`, expected a string",
        ),
        (
            r#"{"inputs":[],"parameters":[]}"#,
            "the body is not valid: invalid type: sequence, expected an object of parameters",
        ),
        (
            r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":1}}]}"#,
            "the body is not valid: invalid type: integer `1`, expected a boolean",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[-1],"datatype":"FP32","data":[]}]}"#,
            "the body is not valid: invalid type: integer `-1`, expected a dimension from 0 to 4294967295",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[4294967296],"datatype":"FP32","data":[]}]}"#,
            "the body is not valid: invalid value: integer `4294967296`, expected a dimension",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[2.0],"datatype":"FP32","data":[]}]}"#,
            "the body is not valid: invalid type: floating point `2.0`, expected a dimension",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"datatype":"FP32","data":[]}]}"#,
            "the body is not valid: more than 16 elements in an array of dimensions",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":"4"}}]}"#,
            r#"the body is not valid: invalid type: string "4", expected a number of bytes"#,
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":-4}}]}"#,
            "the body is not valid: invalid type: integer `-4`, expected a number of bytes",
        ),
    ]);
}

#[test]
fn the_length_of_an_error_is_limited() {
    let long = "x".repeat(100_000);
    let bodies = [
        format!(r#"{{"inputs":"{long}"}}"#),
        format!(r#"{{"inputs":[{{"name":"{long}","shape":[1],"datatype":"FP32","data":[1]}}]}}"#),
        format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"{long}","data":[1]}}]}}"#),
        format!(r#"{{"inputs":[],"parameters":{{"{long}":[]}}}}"#),
        format!(r#"{{"inputs":[],"outputs":[{{"name":"{long}"}}]}}"#),
    ];
    for body in bodies {
        let text = error_text(decode(&body));
        assert!(text.len() < 400, "{text}");
    }
}

#[test]
fn ids_and_names_have_a_length_limit() -> anyhow::Result<()> {
    let (fits, long) = ("i".repeat(1024), "i".repeat(1025));
    for (text, is_answered) in [(&fits, true), (&long, false)] {
        for (body, said) in [
            (
                format!(r#"{{"inputs":[],"id":"{text}"}}"#),
                "the request's id is longer than 1024 bytes",
            ),
            (
                format!(r#"{{"inputs":[],"parameters":{{"{text}":1}}}}"#),
                "the name of a parameter is longer than 1024 bytes",
            ),
        ] {
            match is_answered {
                true => drop(decode(&body)?),
                false => assert!(error_text(decode(&body)).contains(said), "{said}"),
            }
        }
    }
    Ok(())
}

/// Returns a request with this `data` for an input of shape `[2]`, and this at its end.
fn with_data(datatype: &str, data: &str, rest: &str) -> String {
    format!(
        r#"{{"inputs":[{{"name":"x","shape":[2],"datatype":"{datatype}","data":{data}}}]{rest}}}"#
    )
}

#[test]
fn floats_may_be_bare_words_or_null() -> anyhow::Result<()> {
    for (data, expected) in [
        ("[NaN,-Infinity]", [f32::NAN, f32::NEG_INFINITY]),
        ("[ [Infinity ],[ null ] ]", [f32::INFINITY, f32::NAN]),
        ("[null,1.5]", [f32::NAN, 1.5]),
    ] {
        // Strings and other numbers before and after do not change.
        let rest = r#","id":"[NaN,Infinity]","parameters":{"p":1}"#;
        let (request, encoder) = decode(&with_data("FP32", data, rest))?;
        let expected = tensor("x", ElementType::Fp32, &[2], &f32_bytes(&expected));
        assert_eq!(request.inputs, [expected], "{data}");
        assert_eq!(encoder.id.as_deref(), Some("[NaN,Infinity]"));
    }
    let (request, _) = decode(&with_data("FP64", "[NaN,null]", ""))?;
    let content = request.inputs[0].tensor.content();
    assert_eq!(content[..], f64::NAN.to_le_bytes().repeat(2));
    Ok(())
}

#[test]
fn long_arrays_may_contain_words_too() -> anyhow::Result<()> {
    let numbers = "1.5,NaN,null,-Infinity,";
    let count = 4 * 300;
    for (open, close) in [("[", "]"), ("[[", "]]")] {
        let data = format!("{open}{}{close}", numbers.repeat(300).trim_end_matches(','));
        let body = format!(
            r#"{{"inputs":[{{"name":"x","shape":[{count}],"datatype":"FP32","data":{data}}}]}}"#
        );
        let (request, _) = decode(&body)?;
        let four = f32_bytes(&[1.5, f32::NAN, f32::NAN, f32::NEG_INFINITY]);
        let content = request.inputs[0].tensor.content();
        assert_eq!(content[..], four.repeat(300), "{open}");
    }
    Ok(())
}

#[test]
fn bare_words_are_rejected_outside_of_data_and_for_other_datatypes() {
    let valid = with_data("FP32", "[1,2]", "");
    for (body, expected) in [
        (
            valid.replace("[2]", "[NaN]"),
            "the body is not valid: invalid type: floating point",
        ),
        (
            with_data("FP32", "[1,NaN]", r#","id":NaN"#),
            "the body is not valid JSON: expected value",
        ),
        (
            with_data("FP32", "[1,NaN]", r#","extra":[NaN]"#),
            "the body is not valid JSON: expected value",
        ),
        (
            with_data("FP32", "[1,NaN]", r#","parameters":{"p":Infinity}"#),
            "the body is not valid JSON: expected value",
        ),
        (
            with_data("FP32", "[1,-NaN]", ""),
            "the body is not valid JSON: invalid number",
        ),
        (
            with_data("INT32", "[1,NaN]", ""),
            "input `x`: element 1 of `data` is not an integer from",
        ),
        (
            with_data("INT32", "[1,null]", ""),
            "input `x`: element 1 of `data` is not an integer from",
        ),
        (
            with_data("BYTES", r#"["a",NaN]"#, ""),
            "input `x`: element 1 of `data` is not a string",
        ),
        (
            with_data("BOOL", "[true,Infinity]", ""),
            "input `x`: element 1 of `data` is not true or false",
        ),
        (
            with_data("FP32", r#"[1,"NaN"]"#, ""),
            "input `x`: element 1 of `data` is not a number",
        ),
        (
            // The position of another error stays that in the client's text.
            with_data("FP32", "[1,NaN]", ",x"),
            "the body is not valid JSON: key must be a string at line 1 column 71",
        ),
    ] {
        let text = error_text(decode(&body));
        assert!(text.starts_with(expected), "{body}\n got {text}");
    }
}

#[test]
fn data_may_be_nested_in_any_way_with_the_right_number_of_elements() -> anyhow::Result<()> {
    for data in [
        "[1,2]",
        "[[1,2]]",
        "[[1],[2]]",
        "[1,[2]]",
        "[[[1],2]]",
        "[[],[1,[],2]]",
    ] {
        let (request, _) = decode(&with_data("FP32", data, ""))?;
        let expected = tensor("x", ElementType::Fp32, &[2], &f32_bytes(&[1.0, 2.0]));
        assert_eq!(request.inputs, [expected], "{data}");
    }
    Ok(())
}

#[test]
fn a_byte_order_mark_and_an_empty_id_are_ignored() -> anyhow::Result<()> {
    let body = with_data("FP32", "[1,2]", r#","id":"""#);
    let (request, encoder) = decode(&format!("\u{feff}{body}"))?;
    assert_eq!(request.inputs.len(), 1);
    assert_eq!(encoder.id, None);
    let (again, _) = decode_binary(&format!("\u{feff}{body}"), b"")?;
    assert_eq!(again.inputs, request.inputs);
    Ok(())
}

#[test]
fn an_output_requested_twice_is_returned_once() -> anyhow::Result<()> {
    let (request, encoder) = decode(
        r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":true}},{"name":"label"},{"name":"y"}]}"#,
    )?;
    assert_eq!(request.outputs, ["y", "label"]);
    assert_eq!(encoder.forms.len(), 1);
    Ok(())
}

#[test]
fn an_array_in_place_of_the_parameters_of_a_tensor_is_ignored() -> anyhow::Result<()> {
    for array in ["[]", "[1,{}]"] {
        let body = format!(
            r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":[1],"parameters":{array}}}],"outputs":[{{"name":"y","parameters":{array}}}]}}"#
        );
        let (request, encoder) = decode(&body)?;
        assert_eq!((request.inputs.len(), request.outputs.len()), (1, 1));
        assert_eq!(encoder.forms, []);
    }
    Ok(())
}

#[test]
fn an_input_has_exactly_one_content_and_a_known_datatype() {
    check_errors(&[
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"fp32","data":[1]}]}"#,
            "input `x`: `fp32` is not a datatype",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]}"#,
            "input `x`: it has neither `data` nor the parameter `binary_data_size`",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[0],"datatype":"FP32","data":[],"parameters":{"binary_data_size":0}}]}"#,
            "input `x`: it has both `data` and",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP16","data":[1]}]}"#,
            "input `x`: FP16 has no JSON form, send it as binary data",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[1,2]}]}"#,
            "input `x`: shape [3] takes 3 elements, `data` contains 2",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[4294967295,4294967295,4294967295],"datatype":"FP32","data":[1]}]}"#,
            "input `x`: the product of the dimensions is too large",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[2147483648,2147483648],"datatype":"FP64","data":[1]}]}"#,
            "input `x`: the size in bytes is too large",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[4294967295,1000],"datatype":"UINT8","data":[1]}]}"#,
            "input `x`: shape [4294967295, 1000] takes 4294967295000 elements, `data` contains 1",
        ),
    ]);
}

#[test]
fn duplicate_names_and_members_are_rejected() {
    check_errors(&[
        (
            r#"{"inputs":[],"inputs":[]}"#,
            "the body is not valid: duplicate field `inputs`",
        ),
        (
            r#"{"inputs":[],"id":"a","id":"b"}"#,
            "the body is not valid: duplicate field `id`",
        ),
        (
            r#"{"inputs":[{"name":"x","name":"x"}]}"#,
            "the body is not valid: duplicate field `name`",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1],"data":[2]}]}"#,
            "the body is not valid: duplicate field `data`",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]},{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}"#,
            "input `x` is given twice",
        ),
        (
            r#"{"inputs":[],"parameters":{"a":1,"a":1}}"#,
            "the body is not valid: parameter `a` is given twice",
        ),
        (
            r#"{"inputs":[],"parameters":{"binary_data_output":true,"binary_data_output":true}}"#,
            "the body is not valid: parameter `binary_data_output` is given twice",
        ),
    ]);
}

#[test]
fn more_tensors_than_the_model_has_are_rejected() {
    let input = r#"{"name":"x","shape":[1],"datatype":"FP32","data":[1]}"#;
    let three = format!(r#"{{"inputs":[{input},{input},{input}]}}"#);
    assert_eq!(
        error_text(decode(&three)),
        "the model has 2 inputs, the request gives 3"
    );
    let outputs = r#"{"inputs":[],"outputs":[{"name":"a"},{"name":"b"},{"name":"c"}]}"#;
    assert_eq!(
        error_text(decode(outputs)),
        "the model has 2 outputs, the request names 3"
    );
    let inputs = format!(r#"{{"inputs":[{}]}}"#, vec![input; 10_000].join(","));
    let output = r#"{"name":"a"}"#;
    let outputs = vec![output; 10_000].join(",");
    let outputs = format!(r#"{{"inputs":[],"outputs":[{outputs}]}}"#);
    for many in [inputs, outputs] {
        assert!(error_text(decode(&many)).contains("more than 1024 elements"));
    }
}

#[test]
fn parameters_keep_their_types_and_reserved_ones_are_removed() -> anyhow::Result<()> {
    let (request, _) = decode(
        r#"{"inputs":[],"parameters":{"b":true,"i":-5,"u":18446744073709551615,"m":9223372036854775807,"d":0.1,"f":1.0,"s":"t\n",
            "sequence_id":1,"sequence_start":true,"sequence_end":true,"priority":1,"timeout":5,"headers":{"a":[]},
            "triton_x":null,"triton_":[1],"binary_data_output":true}}"#,
    )?;
    let own = |name: &str, value| Parameter {
        name: name.to_owned(),
        value,
    };
    let expected = [
        own("b", ParameterValue::Bool(true)),
        own("i", ParameterValue::Int64(-5)),
        own("u", ParameterValue::Uint64(u64::MAX)),
        own("m", ParameterValue::Int64(i64::MAX)),
        own("d", ParameterValue::Double(0.1)),
        own("f", ParameterValue::Double(1.0)),
        own("s", ParameterValue::String("t\n".to_owned())),
    ];
    assert_eq!(request.parameters, expected);
    Ok(())
}

#[test]
fn a_reserved_parameter_has_a_value_of_its_kind() -> anyhow::Result<()> {
    let number = "an integer that is not negative";
    let with = |name: &str, value: &str| {
        decode(&format!(
            r#"{{"inputs":[],"parameters":{{"{name}":{value}}}}}"#
        ))
    };
    for (name, value, expected) in [
        ("sequence_id", "-1", number),
        ("sequence_id", "1.5", number),
        ("sequence_start", "1", "true or false"),
        ("sequence_end", "\"true\"", "true or false"),
        ("priority", "\"1\"", number),
        ("timeout", "-1", number),
        ("timeout", "0.5", number),
    ] {
        let text = error_text(with(name, value));
        let expected = format!("the body is not valid: parameter `{name}` must be {expected}");
        assert!(text.starts_with(&expected), "{text}");
    }
    for (name, value) in [
        ("sequence_id", "\"a\""),
        ("priority", "18446744073709551615"),
    ] {
        assert_eq!(with(name, value)?.0.parameters, []);
    }
    Ok(())
}

#[test]
fn the_error_for_an_invalid_parameter_contains_its_name() {
    for value in ["null", "[1]", r#"{"a":1}"#] {
        let text = error_text(decode(&format!(
            r#"{{"inputs":[],"parameters":{{"p":{value}}}}}"#
        )));
        let expected = "expected parameter `p` to be true, false, a number or a string";
        assert!(text.contains(expected), "{text}");
    }
    let text = error_text(decode(r#"{"inputs":[],"parameters":{"p":1e400}}"#));
    assert!(
        text.starts_with("the body is not valid JSON: number out of range"),
        "{text}"
    );
    let many: Vec<String> = (0..257).map(|n| format!(r#""p{n}":1"#)).collect();
    let text = error_text(decode(&format!(
        r#"{{"inputs":[],"parameters":{{{}}}}}"#,
        many.join(",")
    )));
    assert!(text.contains("more than 256 parameters"), "{text}");
}

#[test]
fn unsupported_features_are_rejected() {
    let cases = [
        (
            r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}}]}"#,
            "output `y`: shared memory is not supported by this server",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}}]}"#,
            "input `x`: shared memory is not supported by this server",
        ),
    ];
    for (json, expected) in cases {
        let error = decode(json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotImplemented);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn deep_nesting_and_long_numbers_are_rejected() {
    let deep = "[".repeat(1_000_000);
    let input = |data: &str| {
        format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":{data}}}]}}"#)
    };
    error_text(decode(&deep));
    error_text(decode(&input(&deep)));
    error_text(decode(&format!(r#"{{"inputs":[],"unknown":{deep}}}"#)));
    error_text(decode(&format!(
        r#"{{"inputs":[],"parameters":{{"p":{deep}}}}}"#
    )));
    let closed = format!("{deep}{}", "]".repeat(1_000_000));
    let expected = "input `x`: shape [1] takes 1 elements, `data` contains 0";
    assert_eq!(error_text(decode(&input(&closed))), expected);
    let endless = "9".repeat(1_000_000);
    let text = error_text(decode(&input(&format!("[{endless}]"))));
    assert_eq!(
        text,
        "input `x`: element 0 of `data` is not a number within the range of FP32"
    );
}

#[test]
fn classes_are_requested_by_count_for_numeric_outputs() {
    let asked = |output: &str, count: &str| {
        decode(&format!(
            r#"{{"inputs":[],"outputs":[{{"name":"{output}","parameters":{{"classification":{count}}}}}]}}"#
        ))
    };
    for count in ["1", "3", "18446744073709551615", "null"] {
        assert!(asked("y", count).is_ok(), "{count}");
    }
    // None of the classes means the output itself, whatever its datatype.
    for output in ["y", "label"] {
        let (_, encoder) = asked(output, "0").unwrap();
        assert_eq!(encoder.classes, []);
    }
    for (output, count, expected) in [
        (
            "y",
            "-1",
            "the body is not valid: invalid type: integer `-1`, expected a number of classes",
        ),
        (
            "y",
            "1.5",
            "the body is not valid: invalid type: floating point `1.5`, expected a number of classes",
        ),
        (
            "y",
            "\"2\"",
            "the body is not valid: invalid type: string \"2\", expected a number of classes",
        ),
        (
            "label",
            "1",
            "output `label`: it is BYTES, but `classification` needs numbers",
        ),
    ] {
        let text = error_text(asked(output, count));
        assert!(text.starts_with(expected), "{text}");
    }
}
