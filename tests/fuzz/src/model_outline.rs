//! Files of models, as they are read before a backend loads them: the operators, the layouts of images, the numbers
//! that inputs are compared with, and the descriptions of files in other formats.

use std::fs;
use wisp_backend::compared_values::compared_values;
use wisp_backend::foreign_content::describe;
use wisp_backend::model_outline::ModelOutline;

/// Checks one input.
pub fn run(input: &[u8]) {
    let text = describe(input);
    assert!(
        text.is_none_or(|text| text.len() < 4096),
        "a long description"
    );
    // One file for each thread of each process; on most systems this directory is in memory.
    let thread = std::thread::current().id();
    let name = format!("wisp-fuzz-{}-{thread:?}.onnx", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, input).expect("there is a directory for temporary files");
    if let Ok(outline) = ModelOutline::read(&path) {
        assert!(outline.nodes <= input.len(), "more nodes than bytes");
        assert_eq!(outline.bytes, input.len() as u64);
    }
    let _ = compared_values(&path);
    let _ = fs::remove_file(&path);
}
