//! Bodies of requests to load a model, with its files and its configuration.
//!
//! The name of a file is one component of a path, and files take no more memory than the body.

use super::models::check_refusal;
use wisp_protocol::call::ModelName;
use wisp_protocol::v2::decode_load;

/// Checks one input.
pub fn run(input: &[u8]) {
    let model = ModelName::new("m").expect("a valid name");
    match decode_load(&model, input) {
        Ok(request) => {
            let mut bytes = 0_usize;
            for file in &request.files {
                let name = file.name.as_str();
                assert!(
                    !name.is_empty() && name != "." && name != "..",
                    "{name:?} is no file"
                );
                assert!(!name.contains(['/', '\\', '\0']), "{name:?} is a path");
                bytes += file.content.len();
            }
            assert!(bytes <= input.len(), "{bytes} bytes of files");
        }
        Err(error) => check_refusal(error.kind(), &error.to_string()),
    }
}
