//! Tests that the schema, the definitions and the reference have the same keys.

use super::*;
use anyhow::{Context, ensure};

/// The reference of all keys.
const REFERENCE: &str = include_str!("../../../../docs/src/model-toml.md");

/// A value for each key, in TOML, and the lines that it needs. Names in a key are `1`.
const EXAMPLES: [(&str, &str); 55] = [
    ("max_batch_size", "8"),
    ("versions", "{ latest = 2 }"),
    ("labels", "{ stable = 1 }"),
    ("export", "'python3 export.py'"),
    ("optional", "true"),
    ("payload_log", "false"),
    ("backend", "'auto'"),
    ("device", "'cuda:1'"),
    ("threads", "2"),
    ("instances", "3"),
    (
        "batching",
        "{ max_batch_size = 32, max_queue_delay_microseconds = 10000 }",
    ),
    ("batching.max_batch_size", "8"),
    ("batching.max_queue_delay_microseconds", "100"),
    ("batching.preferred_batch_size", "[4, 8]"),
    ("batching.preserve_ordering", "true"),
    (
        "batching.priority_levels",
        "2\nbatching.default_priority_level = 1",
    ),
    (
        "batching.default_priority_level",
        "1\nbatching.priority_levels = 2",
    ),
    (
        "batching.default_queue_policy.default_timeout_microseconds",
        "1000",
    ),
    ("batching.default_queue_policy.timeout_action", "'delay'"),
    (
        "batching.default_queue_policy.allow_timeout_override",
        "true",
    ),
    ("batching.default_queue_policy.max_queue_size", "10"),
    (
        "batching.priority_queue_policy.<name>.default_timeout_microseconds",
        "1000\nbatching.priority_levels = 2\nbatching.default_priority_level = 1",
    ),
    (
        "batching.priority_queue_policy.<name>.timeout_action",
        "'delay'\nbatching.priority_levels = 2\nbatching.default_priority_level = 1",
    ),
    (
        "batching.priority_queue_policy.<name>.allow_timeout_override",
        "true\nbatching.priority_levels = 2\nbatching.default_priority_level = 1",
    ),
    (
        "batching.priority_queue_policy.<name>.max_queue_size",
        "10\nbatching.priority_levels = 2\nbatching.default_priority_level = 1",
    ),
    ("parameters", "{ stride = '32' }"),
    ("inputs.<name>.shape", "[1, -1]"),
    ("inputs.<name>.format", "'NCHW'"),
    ("inputs.<name>.min", "0"),
    ("inputs.<name>.max", "0.5"),
    ("inputs.<name>.nulls", "'reject'"),
    ("inputs.<name>.allowed", "[1, 2]"),
    ("inputs.<name>.feature_names", "['alcohol', 'ash']"),
    ("inputs.<name>.features.<name>.min", "11"),
    ("inputs.<name>.features.<name>.max", "15.5"),
    ("inputs.<name>.features.<name>.nulls", "'allow'"),
    ("inputs.<name>.features.<name>.allowed", "['red', 'white']"),
    ("outputs.<name>.labels", "'labels.txt'"),
    ("outputs.<name>.min", "0"),
    ("outputs.<name>.max", "1"),
    ("outputs.<name>.nulls", "'reject'"),
    ("outputs.<name>.on_violation", "'warn'"),
    ("cache.enabled", "true"),
    ("cache.ttl_seconds", "60"),
    ("handler.source", "'handler'"),
    ("handler.files", "['words.txt']"),
    ("handler.config", "{ threshold = 0.5 }"),
    ("handler.grants", "['clock']"),
    ("http.route", "'/hello'"),
    ("http.allowed_hosts", "['api.example.com:80']"),
    ("limits.memory_bytes", "65536"),
    ("limits.table_elements", "100"),
    ("limits.tensor_bytes", "65536"),
    ("limits.transfer_bytes", "65536"),
    ("limits.handles", "10"),
];

/// The keys below a path whose values are not tables of settings, in dotted notation.
fn keys(path: &[&str]) -> anyhow::Result<Vec<String>> {
    let below = |key| keys(&[path, &[key]].concat());
    let shape = |path: &[&str]| shape::<ModelFile>(path).map_err(|reason| anyhow!("{reason}"));
    let found = shape(path)?;
    let lists = match found {
        Shape::Table(keys) => {
            let lists = keys.iter().map(|&key| below(key));
            lists.collect::<anyhow::Result<Vec<_>>>()?
        }
        // The names themselves are the author's.
        Shape::Names => match shape(&[path, &[ANY_NAME]].concat())? {
            Shape::Value(_) => vec![vec![path.join(".")]],
            Shape::Table(_) | Shape::Names => vec![below(ANY_NAME)?],
        },
        Shape::Value(_) => {
            let table = table_among::<ModelFile>(path, found).unwrap_or_default();
            let lists = table.iter().map(|&key| below(key));
            let mut lists = lists.collect::<anyhow::Result<Vec<_>>>()?;
            lists.push(vec![path.join(".")]);
            lists
        }
    };
    Ok(lists.concat())
}

/// Returns the schema of a key.
fn of_key<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    key.split('.').try_fold(schema, |schema, part| match part {
        ANY_NAME => schema.get("additionalProperties"),
        part => {
            let among = schema.get("anyOf").and_then(Value::as_array);
            let mut among = among.into_iter().flatten();
            let table = among.find(|schema| schema.get("properties").is_some());
            table.unwrap_or(schema).get("properties")?.get(part)
        }
    })
}

#[test]
fn every_key_is_described_in_the_schema_and_in_the_reference() -> anyhow::Result<()> {
    let schema = schema()?;
    let keys = keys(&[])?;
    ensure!(keys.len() > 15, "{keys:?}");
    for key in &keys {
        let described = of_key(&schema, key).context("not in the schema");
        let described = described.with_context(|| key.clone())?;
        let has_text = described["description"].is_string();
        ensure!(
            has_text,
            "the schema does not describe `{key}`: add it to KEYS"
        );
        let row = format!("\n| `{key}` | ");
        ensure!(
            REFERENCE.contains(&row),
            "docs/src/model-toml.md has no row for `{key}`"
        );
    }
    Ok(())
}

#[test]
fn the_schema_and_the_reference_describe_no_other_keys() -> anyhow::Result<()> {
    let keys = keys(&[])?;
    let is_key = |name: &str| {
        let table = format!("{name}.");
        keys.iter()
            .any(|key| key == name || key.starts_with(&table))
    };
    for (name, _) in KEYS {
        ensure!(
            is_key(name),
            "the schema describes `{name}`, which is no key"
        );
    }
    let rows = REFERENCE.lines().filter_map(|line| {
        let cell = line.strip_prefix("| `")?;
        let (name, rest) = cell.split_once("` | ")?;
        // Other tables contain values in the first column, and have no column with a type.
        let types = ["integer", "string", "path", "table", "array", "boolean"];
        types
            .iter()
            .any(|kind| rest.starts_with(kind))
            .then_some(name)
    });
    for name in rows {
        ensure!(
            is_key(name),
            "the reference describes `{name}`, which is no key"
        );
    }
    Ok(())
}

#[test]
fn an_example_of_every_key_is_accepted() -> anyhow::Result<()> {
    for key in keys(&[])? {
        let example = EXAMPLES.iter().find(|(name, _)| *name == key);
        let (_, value) = match example {
            // Any other limit is an integer too.
            None if key.starts_with("limits.") => (key.as_str(), "1"),
            other => *other.with_context(|| format!("EXAMPLES has none for `{key}`"))?,
        };
        let line = format!("{} = {value}", key.replace(ANY_NAME, "1"));
        let parsed: Result<ModelFile, _> = toml::from_str(&line);
        let parsed = parsed.with_context(|| line.clone())?;
        ensure!(parsed != ModelFile::default(), "`{line}` changes nothing");
        let other = line.replacen(" =", "_ =", 1);
        let unknown: Result<ModelFile, _> = toml::from_str(&other);
        ensure!(unknown.is_err(), "`{other}` is accepted");
    }
    Ok(())
}

#[test]
fn the_schema_shows_types_bounds_and_unknown_keys() -> anyhow::Result<()> {
    let schema = schema()?;
    assert_eq!(schema["additionalProperties"], json!(false));
    let properties = &schema["properties"];
    assert_eq!(properties["threads"]["type"], "integer");
    assert_eq!(properties["threads"]["minimum"], 1);
    let labels = &properties["labels"]["additionalProperties"];
    assert_eq!(labels["type"], "integer");
    let output = &properties["outputs"]["additionalProperties"];
    assert_eq!(output["additionalProperties"], json!(false));
    assert_eq!(output["properties"]["labels"]["type"], "string");
    assert!(properties["versions"].get("type").is_none());
    let format = &properties["inputs"]["additionalProperties"]["properties"]["format"];
    assert_eq!(format["enum"], json!(["NCHW", "NHWC", "none"]));
    let handler = &properties["handler"]["properties"];
    assert_eq!(
        handler["grants"]["items"]["enum"],
        json!(["random", "clock"])
    );
    assert_eq!(handler["files"]["items"]["type"], "string");
    let setting = &handler["config"]["additionalProperties"];
    assert_eq!(
        setting["anyOf"][0]["type"],
        json!(["string", "number", "boolean"])
    );
    Ok(())
}
