//! Generates the message types of `proto/` and the descriptors that server reflection returns.
//!
//! `protox` parses the files in process, so a build does not need protoc. Services belong to the
//! transport: the crate that implements them generates them from the same descriptors. Without the
//! feature `grpc` there is nothing to generate.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    #[cfg(feature = "grpc")]
    generate()?;
    Ok(())
}

#[cfg(feature = "grpc")]
fn generate() -> Result<(), Box<dyn Error>> {
    use prost::Message;
    use std::path::{Path, PathBuf};

    let files = ["inference", "tensorflow_serving", "prediction"];
    let descriptors = protox::Compiler::new(["proto"])?
        .include_imports(true)
        // Comments stay in the .proto files: neither rustdoc nor a reflection client needs them.
        .include_source_info(false)
        .open_files(files.map(|file| Path::new("proto").join(file).with_extension("proto")))?
        .file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    prost_build::Config::new()
        .out_dir(out)
        // A tensor's bytes are a slice of the message that carried them.
        .bytes(["."])
        // Ordered maps iterate in the same order in every process, which makes the results reproducible.
        .btree_map(["."])
        // The limits on a message are looked up by its type name.
        .enable_type_names()
        .compile_fds(descriptors)?;
    Ok(())
}
