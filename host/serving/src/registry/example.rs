//! The example request of a version, which its documentation shows: a golden case, or inputs that its graph
//! computes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wisp_backend::bounded_file::read_regular;
use wisp_backend::deadline::cancel_at;
use wisp_backend::{BackendError, Cancellation, Graph};
use wisp_protocol::call::{InferRequest, ModelDescription, Scheduling};
use wisp_protocol::golden_case;
use wisp_tensor::NamedTensor;
use wisp_tensor::number::from_numbers;

/// The number of golden cases among which the example is chosen.
const MAX_CASES: usize = 64;

/// The size limit of a golden case that may become the example, in bytes.
const MAX_CASE_BYTES: u64 = 256 * 1024;

/// The size limit of the tensors of an example, in bytes. A longer one would not be shown.
const MAX_EXAMPLE_BYTES: usize = 64 * 1024;

/// The time limit of a computation that shows whether a graph refuses an example.
const MAX_TRIAL: Duration = Duration::from_millis(100);

/// Returns the shortest request among the golden cases of a model, preferably one without parameters. Cases that
/// cannot be read are left to `wisp check`.
pub(crate) fn of_golden_cases(
    model_directory: &Path,
    model: &ModelDescription,
) -> Option<InferRequest> {
    let entries = std::fs::read_dir(model_directory.join("cases")).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_case = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_case).collect();
    paths.sort();
    let requests = paths.iter().take(MAX_CASES).filter_map(|path| {
        let text = read_regular(path, MAX_CASE_BYTES).ok()?;
        golden_case::request(&text, model)
    });
    requests
        .filter(is_short)
        .min_by_key(|request| (request.parameters.len(), content_bytes(request)))
}

/// Returns inputs that the graph computes: zeros, or ones if it refuses zeros, at sizes that it has computed.
pub(crate) fn of_graph(graph: &dyn Graph) -> Option<InferRequest> {
    let request = |inputs| InferRequest {
        inputs,
        parameters: Vec::new(),
        outputs: Vec::new(),
        scheduling: Scheduling::default(),
    };
    let zeros = Some(request(graph.sample_inputs().ok()?)).filter(is_short)?;
    if !is_refused(graph, &zeros.inputs) {
        return Some(zeros);
    }
    let ones = zeros.inputs.iter().map(ones);
    let ones = request(ones.collect::<Option<Vec<NamedTensor>>>()?);
    (!is_refused(graph, &ones.inputs)).then_some(ones)
}

/// Returns an input of ones with the name, type and shape of another; `None` for strings.
fn ones(input: &NamedTensor) -> Option<NamedTensor> {
    let NamedTensor { name, tensor } = input;
    let tensor = from_numbers(tensor.element_type(), tensor.shape().clone(), || 1.0).ok()?;
    Some(NamedTensor {
        name: name.clone(),
        tensor,
    })
}

/// Returns whether the graph is known to refuse the inputs. It is not if the computation takes long.
fn is_refused(graph: &dyn Graph, inputs: &[NamedTensor]) -> bool {
    let cancellation = Cancellation::new();
    let _watched = cancel_at(&cancellation, Instant::now() + MAX_TRIAL);
    let computed = graph.compute_cancellable(inputs, &cancellation);
    matches!(computed, Err(BackendError::Inputs { .. }))
}

fn is_short(request: &InferRequest) -> bool {
    content_bytes(request) <= MAX_EXAMPLE_BYTES
}

fn content_bytes(request: &InferRequest) -> usize {
    let inputs = request.inputs.iter();
    inputs.map(|input| input.tensor.content().len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_tensor::number::numbers;
    use wisp_tensor::{Dimension, ElementType, Signature, TensorSpec};

    /// A graph that refuses inputs which contain this number.
    #[derive(Debug)]
    struct Refusing {
        signature: Signature,
        refused: f64,
    }

    impl Graph for Refusing {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            let mut found = inputs.iter().flat_map(|input| numbers(&input.tensor));
            match found.any(|number| number == self.refused) {
                false => Ok(inputs.to_vec()),
                true => Err(BackendError::Inputs {
                    backend: "refusing",
                    reason: "a division by zero".to_owned(),
                    explanation: String::new(),
                }),
            }
        }
    }

    #[test]
    fn the_example_of_a_graph_is_not_refused_by_it() -> anyhow::Result<()> {
        let number = |refused| -> anyhow::Result<Option<f64>> {
            let signature = model()?.signature;
            let example = of_graph(&Refusing { signature, refused });
            Ok(example.and_then(|request| numbers(&request.inputs[0].tensor).next()))
        };
        assert_eq!(number(7.0)?, Some(0.0));
        assert_eq!(number(0.0)?, Some(1.0));
        Ok(())
    }

    fn model() -> anyhow::Result<ModelDescription> {
        let input = TensorSpec {
            name: "x".to_owned(),
            element_type: ElementType::Int8,
            shape: vec![Dimension::Variable],
            optional: false,
        };
        Ok(ModelDescription {
            model: ModelName::new("m")?,
            version: Version::FIRST,
            platform: "tract_onnx".to_owned(),
            signature: Signature {
                inputs: vec![input],
                outputs: Vec::new(),
            },
            max_batch_size: 0,
            max_rows: None,
            class_labels: Default::default(),
            properties: Default::default(),
            configuration: Default::default(),
        })
    }

    /// Returns the text of a case with `length` elements, and with these members of the request besides.
    fn case(length: usize, members: &str, expect: &str) -> String {
        let data = vec!["1"; length].join(",");
        format!(
            r#"{{"request":{{"inputs":[{{"name":"x","datatype":"INT8","shape":[{length}],"data":[{data}]}}]{members}}},"expect":{{"{expect}":[]}}}}"#
        )
    }

    #[test]
    fn the_shortest_case_without_parameters_is_the_example() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        assert_eq!(of_golden_cases(directory.path(), &model()?), None);
        let cases = directory.path().join("cases");
        std::fs::create_dir(&cases)?;
        std::fs::write(cases.join("a.json"), case(3, "", "outputs"))?;
        std::fs::write(cases.join("b.json"), case(2, "", "outputs"))?;
        std::fs::write(
            cases.join("c.json"),
            case(1, r#","parameters":{"k":1}"#, "outputs"),
        )?;
        std::fs::write(cases.join("d.json"), case(1, "", "failure"))?;
        std::fs::write(cases.join("e.json"), "{")?;
        std::fs::write(cases.join("f.txt"), case(1, "", "outputs"))?;
        let example = of_golden_cases(directory.path(), &model()?);
        let lengths = example.map(|request| content_bytes(&request));
        assert_eq!(lengths, Some(2));
        Ok(())
    }
}
