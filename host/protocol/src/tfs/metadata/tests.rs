//! Tests of the JSON of the documents.

use super::*;
use crate::call::Version;
use crate::fixture::{model, spec};
use wisp_tensor::ElementType;

fn version(text: &str) -> Version {
    Version::from_decimal(text).unwrap()
}

#[test]
fn the_model_list_has_the_keys_of_both_protocols() {
    let models = ["a", "b"].map(|name| ModelName::new(name).unwrap());
    let expected = concat!(
        r#"{"models":["a","b"],"object":"list","data":["#,
        r#"{"id":"a","object":"model","created":0,"owned_by":"wisp"},"#,
        r#"{"id":"b","object":"model","created":0,"owned_by":"wisp"}]}"#,
    );
    assert_eq!(model_list(&models), expected);
    assert_eq!(
        model_list(&[]),
        r#"{"models":[],"object":"list","data":[]}"#
    );
}

#[test]
fn the_status_contains_version_states_and_readiness() {
    let model = ModelName::new("m").unwrap();
    let failed = IndexEntry {
        name: model.to_string(),
        version: Some(version("2")),
        state: VersionState::Failed("no \"graph\"".to_owned()),
    };
    let failed_text = r#"{"version":"2","state":"END","status":{"error_code":"UNKNOWN","error_message":"no \"graph\""}}"#;
    let expected =
        format!(r#"{{"name":"m","ready":false,"model_version_status":[{failed_text}]}}"#);
    assert_eq!(
        model_status(&model, std::slice::from_ref(&failed)),
        expected
    );

    let available = IndexEntry {
        name: model.to_string(),
        version: Some(version("123")),
        state: VersionState::Ready,
    };
    let available_text =
        r#"{"version":"123","state":"AVAILABLE","status":{"error_code":"OK","error_message":""}}"#;
    let expected = format!(
        r#"{{"name":"m","ready":true,"model_version_status":[{failed_text},{available_text}]}}"#
    );
    assert_eq!(model_status(&model, &[failed, available]), expected);
}

#[test]
fn metadata_nests_the_key_twice_and_writes_dimensions_as_strings() {
    let model = model(
        vec![spec("x", ElementType::Fp32, &[-1, 2])],
        vec![spec("y", ElementType::Bytes, &[])],
    );
    let expected = concat!(
        r#"{"model_spec":{"name":"wine","signature_name":"","version":"7"},"#,
        r#""metadata":{"signature_def":{"signature_def":{"serving_default":{"#,
        r#""inputs":{"x":{"dtype":"DT_FLOAT","tensor_shape":{"dim":[{"size":"-1","name":""},{"size":"2","name":""}],"unknown_rank":false},"name":"x"}},"#,
        r#""outputs":{"y":{"dtype":"DT_STRING","tensor_shape":{"dim":[],"unknown_rank":false},"name":"y"}},"#,
        r#""method_name":"tensorflow/serving/predict"}}}}}"#,
    );
    assert_eq!(model_metadata(&model), expected);
}
