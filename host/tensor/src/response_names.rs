//! Checks of the names in the response of a handler.
//!
//! A handler is code of somebody else: its names can be as long as its memory, and as many as it has room for.
//! They have to be checked after each call of a handler, before they are used.

use crate::sanitize::shorten;

/// The maximum number of outputs, and of parameters, in a response.
pub const MAX_TENSORS: usize = 1024;

/// The maximum length of the names of tensors, parameters and graphs, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;

/// The maximum number of characters of a handler's name that an error repeats.
const MAX_SHOWN_NAME: usize = 100;

/// The error for names that violate the contract of handlers. Names are shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponseNamesError {
    #[error("output `{name}` is given twice")]
    Duplicate { name: String },
    #[error("the name `{name}` has {bytes} bytes, the limit is {MAX_NAME_BYTES}")]
    LongName { name: String, bytes: usize },
    #[error("more than {MAX_TENSORS} outputs or parameters")]
    TooMany,
}

/// Checks the number of names, their lengths, and that no output is given twice.
pub fn check_response_names(
    outputs: &[&str],
    parameters: &[&str],
) -> Result<(), ResponseNamesError> {
    if outputs.len() > MAX_TENSORS || parameters.len() > MAX_TENSORS {
        return Err(ResponseNamesError::TooMany);
    }
    let mut names = outputs.iter().chain(parameters);
    if let Some(name) = names.find(|name| name.len() > MAX_NAME_BYTES) {
        return Err(ResponseNamesError::LongName {
            name: shown(name),
            bytes: name.len(),
        });
    }
    for (position, name) in outputs.iter().enumerate() {
        if outputs[..position].contains(name) {
            return Err(ResponseNamesError::Duplicate { name: shown(name) });
        }
    }
    Ok(())
}

/// Returns the name of a handler's tensor or parameter as errors repeat it.
pub fn shown(name: &str) -> String {
    shorten(name, MAX_SHOWN_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_limited_in_length_and_number() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        let fits = &long[1..];
        assert_eq!(check_response_names(&[fits, "y"], &[fits]), Ok(()));
        assert!(matches!(
            check_response_names(&["y"], &[&long]),
            Err(ResponseNamesError::LongName { bytes: 1025, name }) if name.chars().count() == 100
        ));
        assert_eq!(
            check_response_names(&[], &["p"; MAX_TENSORS + 1]),
            Err(ResponseNamesError::TooMany)
        );
    }

    #[test]
    fn only_parameters_may_be_given_twice() {
        assert_eq!(check_response_names(&["y"], &["y", "y"]), Ok(()));
        assert!(matches!(
            check_response_names(&["y", "x", "y"], &[]),
            Err(ResponseNamesError::Duplicate { name }) if name == "y"
        ));
    }
}
