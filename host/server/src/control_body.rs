//! The bodies of control requests over REST, decoded into the arguments of `control`.

use crate::body::RequestBody;
use crate::failure::Failure;
use bytes::Bytes;
use hyper::body::Incoming;
use wisp_protocol::call::ModelName;
use wisp_protocol::load::LoadRequest;
use wisp_protocol::release::{self, ReleaseStart};
use wisp_protocol::v2::{self, IndexFilter};
use wisp_serving::blocking::LONG_TEXT_BYTES;
use wisp_serving::{BodyError, InferError, Serving};
use wisp_tensor::Reservation;

/// The largest body of a control request other than a load, in bytes.
const MAX_CONTROL_BYTES: usize = 16 * 1024;

/// Reads the body of a control request.
pub(crate) async fn read_control(body: &mut RequestBody<Incoming>) -> Result<Bytes, Failure> {
    let message = body.read(MAX_CONTROL_BYTES).await;
    Ok(message.map_err(InferError::from)?)
}

/// Reads a request for the index.
pub(crate) async fn read_index(body: &mut RequestBody<Incoming>) -> Result<IndexFilter, Failure> {
    let message = read_control(body).await?;
    Ok(v2::decode_index(&message).map_err(InferError::from)?)
}

/// Reads a request to load this model, which may contain its files. Their bytes are reserved in `memory`.
pub(crate) async fn read_load(
    serving: &Serving,
    model: ModelName,
    body: &mut RequestBody<Incoming>,
    memory: &mut Reservation,
) -> Result<(ModelName, LoadRequest), Failure> {
    let message = body.read(serving.max_body_bytes()).await;
    let message = message.map_err(InferError::from)?;
    if !memory.grow(message.len()) {
        return Err(InferError::from(BodyError::NoRoom).into());
    }
    let request = match message.len() < LONG_TEXT_BYTES {
        true => v2::decode_load(&model, &message),
        false => {
            let model = model.clone();
            let decode = move || v2::decode_load(&model, &message);
            let decoded = serving.blocking().run_soon(decode).await;
            decoded.map_err(InferError::from)?
        }
    };
    Ok((model, request.map_err(InferError::from)?))
}

/// Reads a request to unload a model, or to change a release, whose body has no meaning either.
pub(crate) async fn read_unload(body: &mut RequestBody<Incoming>) -> Result<(), Failure> {
    let message = read_control(body).await?;
    Ok(v2::check_unload(&message).map_err(InferError::from)?)
}

/// Reads a request to start a release.
pub(crate) async fn read_release_start(
    body: &mut RequestBody<Incoming>,
) -> Result<ReleaseStart, Failure> {
    let message = read_control(body).await?;
    Ok(release::decode_start(&message).map_err(InferError::from)?)
}
