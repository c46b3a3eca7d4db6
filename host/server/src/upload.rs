//! The receipt of an uploaded file, which goes to the disk as it arrives.

use crate::body::RequestBody;
use crate::failure::Failure;
use crate::http_response::HttpResponse;
use hyper::body::Incoming;
use wisp_protocol::upload::{UploadFileName, VersionName, received_document};
use wisp_serving::{InferError, Serving};

/// Receives a file of a version, and returns the response with its digest. A file that ends early leaves nothing.
pub(crate) async fn receive_file(
    serving: &Serving,
    body: &mut RequestBody<Incoming>,
    (name, file): (&VersionName, &UploadFileName),
) -> Result<HttpResponse, Failure> {
    if body.is_compressed() {
        return Err(Failure::Unsupported("compressed uploads are"));
    }
    let mut incoming = serving.begin_upload(name, file).await?;
    // Refused before the client has sent it.
    let length = incoming.check_length(body.declared_bytes());
    length.map_err(InferError::from)?;
    let mut pieces = body.pieces();
    while let Some(piece) = pieces.next().await.map_err(InferError::from)? {
        incoming.write(piece).await.map_err(InferError::from)?;
    }
    let received = incoming.finish().await.map_err(InferError::from)?;
    let document = received_document(name, file, &received);
    Ok(HttpResponse::document(document))
}
