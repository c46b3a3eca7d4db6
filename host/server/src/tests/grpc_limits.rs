//! Tests of messages that are small encoded and would be large in memory.

use super::grpc::{INFER, STREAM, one, request, status};
use super::harness::{TestServer, options, within};
use super::http2::connect;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use std::sync::Arc;
use wisp_protocol::content_coding::Coding;
use wisp_serving::ServingOptions;
use wisp_tensor::MemoryBudget;

/// The number of elements in each array: as many as in the report of such an attack, at two bytes each.
const ELEMENTS: usize = 3_000_000;

/// Returns an encoded field with this number and content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(number) << 3 | 2, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// Returns a field with many empty elements, nested in the fields of `path`, of which the outermost is
/// first.
fn many(path: &[u8]) -> Vec<u8> {
    let (&list, outer) = path.split_last().unwrap_or((&1, &[]));
    let elements = field(list, &[]).repeat(ELEMENTS);
    let outer = outer.iter().rev();
    outer.fold(elements, |content, &number| field(number, &content))
}

const TFS: &str = "/tensorflow.serving.PredictionService";

#[tokio::test]
async fn no_list_of_any_message_takes_more_than_its_share() -> anyhow::Result<()> {
    let serving = ServingOptions {
        max_body_bytes: 8 << 20,
        ..ServingOptions::default()
    };
    let server = TestServer::serving(options(), serving).await?;
    let (mut client, _connection) = connect(&server).await?;
    let tfs = |method: &str| format!("{TFS}/{method}");
    let v2 = |method: &str| format!("/inference.GRPCInferenceService/{method}");
    let models = "/tensorflow.serving.ModelService/HandleReloadConfigRequest".to_owned();
    let batch = "/prediction.PredictionService/BatchPredict".to_owned();
    let (most, size) = ("3", "8");
    for (path, list, fields, code) in [
        (INFER.to_owned(), "inputs", &[5][..], most),
        (STREAM.to_owned(), "inputs", &[5], most),
        (INFER.to_owned(), "outputs", &[6], most),
        (INFER.to_owned(), "raw_input_contents", &[7], most),
        (INFER.to_owned(), "parameters", &[4], most),
        (INFER.to_owned(), "parameters", &[5, 4], most),
        (INFER.to_owned(), "parameters", &[6, 2], most),
        (INFER.to_owned(), "bytes_contents", &[5, 5, 8], size),
        (v2("RepositoryModelLoad"), "parameters", &[3], most),
        (v2("RepositoryModelUnload"), "parameters", &[3], most),
        (tfs("Predict"), "inputs", &[2], most),
        (tfs("Predict"), "output_filter", &[3], most),
        (tfs("Predict"), "dim", &[2, 2, 2, 2], most),
        (tfs("Predict"), "string_val", &[2, 2, 8], size),
        (tfs("Classify"), "examples", &[2, 1, 1], size),
        (tfs("Regress"), "examples", &[2, 2, 1], size),
        (tfs("Classify"), "feature", &[2, 1, 1, 1, 1], most),
        (tfs("MultiInference"), "tasks", &[1], most),
        (tfs("GetModelMetadata"), "metadata_field", &[2], most),
        (models.clone(), "config", &[1, 1, 1], most),
        (models.clone(), "version_labels", &[1, 1, 1, 8], most),
        (models, "metric_names", &[2], most),
        (batch, "requests", &[1], most),
    ] {
        let message = many(fields);
        let packed = Coding::Gzip.compress(&[Bytes::from(message.clone())]);
        for (headers, body) in [
            (&[][..], one(0, &message)?),
            (&[("grpc-encoding", "gzip")], one(1, &packed)?),
        ] {
            let asked = request(&path, headers, body)?;
            let (actual, text) = status(&mut client, asked).await?;
            assert_eq!(actual, code, "{path} {list}: {text}");
            assert!(text.contains(list), "{path} {list}: {text}");
        }
        assert_eq!(server.serving.memory().reserved(), 0, "{path} {list}");
    }
    server.check_alive().await
}

#[tokio::test]
async fn an_id_is_no_longer_than_it_may_be_and_repeated_by_no_refusal() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let (mut client, _connection) = connect(&server).await?;
    let message = [field(1, b"nope"), field(3, &vec![b'i'; 1 << 20])].concat();
    // The unknown model is reported first, and the error does not repeat the long id.
    let (code, text) = status(&mut client, request(INFER, &[], one(0, &message)?)?).await?;
    assert_eq!(code, "5", "{text}");
    let stream = request(STREAM, &[], one(0, &message)?)?;
    let response = within(client.send_request(stream)).await??;
    let body = response.into_body().collect();
    let answer = within(body).await??.to_bytes();
    assert!(answer.len() < 1000, "{}", answer.len());
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_only_announced_takes_no_room() -> anyhow::Result<()> {
    let serving = ServingOptions {
        memory: Arc::new(MemoryBudget::new(1 << 20)),
        ..ServingOptions::default()
    };
    let server = TestServer::serving(options(), serving).await?;
    let (mut client, _connection) = connect(&server).await?;
    let announced = [&[0][..], &(2_u32 << 20).to_be_bytes(), b"and a few bytes"].concat();
    let body = Full::new(Bytes::from(announced)).boxed_unsync();
    let (code, text) = status(&mut client, request(INFER, &[], body)?).await?;
    assert_eq!(code, "14", "{text}");
    assert_eq!(server.serving.memory().reserved(), 0);
    Ok(())
}
