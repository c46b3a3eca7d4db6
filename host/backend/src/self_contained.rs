//! A model in one file, for the backend of an edge bundle, which has no files.

use crate::error::BackendError;
use crate::model_source::ModelSource;
use crate::onnx::{decode, is_external, read_content, read_external_tensors, visit_tensors};
use prost::Message;

/// Returns the content of an ONNX file, with the data of other files in it. A file that names no others is
/// returned as it is. Errors contain the name `backend`.
pub(crate) fn self_contained(
    source: ModelSource<'_>,
    backend: &'static str,
) -> Result<Vec<u8>, BackendError> {
    let content = read_content(source, backend)?;
    let mut model = decode(&content, backend)?;
    let mut has_external_data = false;
    if let Some(graph) = &model.graph {
        visit_tensors(graph, &mut |tensor| {
            has_external_data = has_external_data || is_external(tensor);
        });
    }
    if !has_external_data {
        return Ok(content.into_owned());
    }
    let folder = source.folder();
    let read = read_external_tensors(&mut model, folder.as_ref());
    read.map_err(|reason| BackendError::Load { backend, reason })?;
    Ok(model.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::tensor_proto::DataLocation;
    use crate::pb::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};

    fn model(tensor: TensorProto) -> Vec<u8> {
        let graph = GraphProto {
            initializer: vec![tensor],
            ..GraphProto::default()
        };
        ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn the_data_of_other_files_is_in_the_content() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("w.data"), [1, 2, 3, 4])?;
        let location = StringStringEntryProto {
            key: "location".to_owned(),
            value: "w.data".to_owned(),
        };
        let external = TensorProto {
            dims: vec![4],
            data_type: 2,
            external_data: vec![location],
            data_location: Some(DataLocation::External as i32),
            ..TensorProto::default()
        };
        let path = directory.path().join("model.onnx");
        std::fs::write(&path, model(external))?;
        let content = self_contained(ModelSource::Path(&path), "tract")?;
        let read = ModelProto::decode(&*content)?;
        let tensors = read
            .graph
            .map(|graph| graph.initializer)
            .unwrap_or_default();
        assert_eq!(tensors[0].raw_data, [1, 2, 3, 4]);
        assert!(!is_external(&tensors[0]));
        Ok(())
    }

    #[test]
    fn a_file_without_others_is_returned_as_it_is() -> anyhow::Result<()> {
        let whole = model(TensorProto {
            raw_data: vec![7],
            ..TensorProto::default()
        });
        assert_eq!(self_contained(ModelSource::onnx(&whole), "tract")?, whole);
        Ok(())
    }
}
