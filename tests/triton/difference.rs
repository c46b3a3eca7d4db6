//! The difference between two JSON documents, in words that do not repeat their values.

use serde_json::Value;

/// Fields whose values differ between servers or runs; only their types are compared.
const OF_THE_SERVER: [&str; 15] = [
    "backend",
    "count",
    "default_model_filename",
    "error_message",
    "execution_count",
    "extensions",
    "inference_count",
    "last_inference",
    "log_error",
    "log_info",
    "log_warning",
    "ns",
    "optimization",
    "platform",
    "reason",
];

/// The first difference, and the path to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) path: String,
    pub(super) what: &'static str,
}

/// Returns the first difference between the documents. Numbers are equal within 1e-6 of their size.
pub(super) fn difference(expected: &Value, actual: &Value) -> Option<Difference> {
    compare(expected, actual, "")
}

fn compare(expected: &Value, actual: &Value, path: &str) -> Option<Difference> {
    let found = |path: String, what| Some(Difference { path, what });
    let differs = |what| found(path.to_owned(), what);
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            let within = |key: &str| match path {
                "" => key.to_owned(),
                path => format!("{path}.{key}"),
            };
            for (key, expected) in expected {
                let Some(actual) = actual.get(key) else {
                    return found(within(key), "is missing");
                };
                let difference = compare(expected, actual, &within(key));
                let is_of_the_server = OF_THE_SERVER.contains(&key.as_str());
                let is_relevant = |found: &Difference| !is_of_the_server || found.what == TYPE;
                if let Some(difference) = difference.filter(is_relevant) {
                    return Some(difference);
                }
            }
            let more = actual.keys().find(|key| !expected.contains_key(*key));
            more.and_then(|key| found(within(key), "is additional"))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            if expected.len() != actual.len() {
                return differs("has another length");
            }
            let pairs = expected.iter().zip(actual).enumerate();
            let mut pairs =
                pairs.map(|(at, (expected, actual))| (format!("{path}[{at}]"), expected, actual));
            pairs.find_map(|(path, expected, actual)| compare(expected, actual, &path))
        }
        (Value::Number(expected), Value::Number(actual)) => {
            let (Some(expected), Some(actual)) = (expected.as_f64(), actual.as_f64()) else {
                return differs(VALUE);
            };
            let is_near = (expected - actual).abs() <= 1e-6 * expected.abs().max(1.0);
            if is_near { None } else { differs(VALUE) }
        }
        (expected, actual) if kind(expected) != kind(actual) => differs(TYPE),
        (expected, actual) if expected != actual => differs(VALUE),
        _ => None,
    }
}

const TYPE: &str = "has another type";
const VALUE: &str = "has another value";

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[test]
fn the_first_difference_is_found_with_its_path() {
    use serde_json::json;
    let expected = json!({ "a": [1, { "b": "x" }], "platform": "python", "c": true });
    let cases = [
        (
            json!({ "a": [1, { "b": "x" }], "platform": "tract", "c": true }),
            None,
        ),
        (
            json!({ "a": [1, { "b": "y" }], "platform": "", "c": true }),
            Some(("a[1].b", VALUE)),
        ),
        (
            json!({ "a": [1], "platform": "", "c": true }),
            Some(("a", "has another length")),
        ),
        (
            json!({ "a": [1, { "b": "x" }], "platform": 1, "c": true }),
            Some(("platform", TYPE)),
        ),
        (
            json!({ "a": [1, { "b": "x" }], "platform": "" }),
            Some(("c", "is missing")),
        ),
    ];
    for (actual, wanted) in cases {
        let found = difference(&expected, &actual);
        let found = found
            .as_ref()
            .map(|found| (found.path.as_str(), found.what));
        assert_eq!(found, wanted, "{actual}");
    }
}
