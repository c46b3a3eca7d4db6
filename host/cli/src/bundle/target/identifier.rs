//! Names that the platforms of targets accept, and strings of TOML.

use toml::Value;

/// Returns a name in kebab case for a model: words of a letter and then letters and digits, in lower case.
pub(super) fn kebab_case(model: &str) -> String {
    let mut id = String::new();
    let mut word_ends = false;
    for c in model.chars() {
        if !c.is_ascii_alphanumeric() {
            word_ends = true;
            continue;
        }
        // Only a letter begins a word, so digits belong to the word before them.
        if id.is_empty() && c.is_ascii_digit() {
            id.push_str("model");
        } else if word_ends && !id.is_empty() && c.is_ascii_alphabetic() {
            id.push('-');
        }
        id.push(c.to_ascii_lowercase());
        word_ends = false;
    }
    if id.is_empty() {
        "model".to_owned()
    } else {
        id
    }
}

/// Returns the text as a string of TOML.
pub(super) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_model_becomes_words_that_begin_with_a_letter() {
        for (model, name) in [
            ("digits", "digits"),
            ("MobileNet_v2.1", "mobilenet-v21"),
            ("resnet-50", "resnet50"),
            ("2nd-try", "model2nd-try"),
            ("_a__b-", "a-b"),
            ("__", "model"),
        ] {
            assert_eq!(kebab_case(model), name);
        }
    }

    #[test]
    fn any_text_is_a_string_of_toml() -> anyhow::Result<()> {
        for text in ["a", "it's \"quoted\"", "C:\\x", "two\nlines"] {
            let table: toml::Table = format!("key = {}", literal(text)).parse()?;
            assert_eq!(table["key"].as_str(), Some(text));
        }
        Ok(())
    }
}
