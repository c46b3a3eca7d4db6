//! Writes the types of the messages in `proto/`, and the descriptors that server reflection answers.
//!
//! `protox` reads the files in process, so that a build needs no protoc. Services are not written
//! here: they are transport, and their crate makes them from the same descriptors.

use prost::Message;
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = ["inference", "tensorflow_serving", "prediction"];
    let descriptors = protox::Compiler::new(["proto"])?
        .include_imports(true)
        // Comments stay in the .proto files: neither rustdoc nor a client of reflection needs them.
        .include_source_info(false)
        .open_files(files.map(|file| Path::new("proto").join(file).with_extension("proto")))?
        .file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    prost_build::Config::new()
        .out_dir(out)
        // A tensor's bytes are a slice of the message they came in.
        .bytes(["."])
        // Maps in one order whatever the process: what depends on it is the same in every run.
        .btree_map(["."])
        // What the limits on a message are found by.
        .enable_type_names()
        .compile_fds(descriptors)?;
    Ok(())
}
