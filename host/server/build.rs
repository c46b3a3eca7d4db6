//! Generates the gRPC services from the descriptors of `wisp-protocol`, and compresses the files of the API
//! documentation's viewer.
//!
//! The message types remain in `wisp-protocol`; the generated code refers to them there.

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use prost_types::FileDescriptorSet;
use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::ZipArchive;

/// The files of Swagger UI's distribution that the page needs. The other files contain the same code in
/// parts.
const VIEWER_FILES: [&str; 3] = [
    "swagger-ui-bundle.js",
    "swagger-ui.css",
    "favicon-32x32.png",
];

fn main() -> Result<(), Box<dyn Error>> {
    write_services()?;
    let directory = std::env::var("OUT_DIR")?;
    write_viewer(Path::new(&directory))
}

fn write_services() -> Result<(), Box<dyn Error>> {
    let descriptors = FileDescriptorSet::decode(wisp_protocol::grpc::FILE_DESCRIPTOR_SET)?;
    let messages = "::wisp_protocol::grpc::message";
    let mut builder = ["inference", "tensorflow", "prediction"].iter().fold(
        tonic_prost_build::configure(),
        |builder, package| {
            builder.extern_path(format!(".{package}"), format!("{messages}::{package}"))
        },
    );
    // Services receive their requests undecoded, so that the limits are checked first.
    let services = descriptors.file.iter().flat_map(|file| &file.service);
    let methods = services.flat_map(|service| &service.method);
    let requests: BTreeSet<&str> = methods.map(|method| method.input_type()).collect();
    for request in requests {
        let message = request.replace('.', "::");
        builder = builder.extern_path(
            request,
            format!("crate::grpc::received::Received<{messages}{message}>"),
        );
    }
    builder
        .codec_path("crate::grpc::received::MessageCodec")
        .build_client(false)
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}

/// Writes each of the files compressed with gzip, the form in which almost every browser receives it.
fn write_viewer(directory: &Path) -> Result<(), Box<dyn Error>> {
    let archive = Cursor::new(utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED);
    let mut archive = ZipArchive::new(archive)?;
    for wanted in VIEWER_FILES {
        let ending = format!("/dist/{wanted}");
        let paths: Vec<String> = (archive.file_names())
            .map(|path| Ok(path?.into_owned()))
            .collect::<Result<_, zip::result::ZipError>>()?;
        let path = paths.iter().find(|path| path.ends_with(&ending));
        let path = path.ok_or_else(|| format!("Swagger UI has no {wanted}"))?;
        let mut content = Vec::new();
        archive.by_name(path)?.read_to_end(&mut content)?;
        let file = std::fs::File::create(directory.join(format!("{wanted}.gz")))?;
        let mut encoder = GzEncoder::new(file, Compression::best());
        encoder.write_all(&content)?;
        encoder.finish()?;
    }
    Ok(())
}
