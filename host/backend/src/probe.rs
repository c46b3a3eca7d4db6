//! Finds the sizes at which a graph computes, for its variable axes. Axes with the same symbol in the file have
//! the same size, and the axes of images have the sizes of images.

#[cfg(feature = "tract")]
use crate::cancellation::Cancellation;
use crate::error::BackendError;
use crate::onnx::AxisSymbols;
use crate::sample::{Element, Sample, is_state};
use std::collections::HashMap;
use std::ops::Range;
use wisp_tensor::{Dimension, NamedTensor, Signature, TensorSpec};

/// The sizes tried when a graph is loaded, in turn: of the height and width of images, and of other variable
/// axes besides the batch. 224, 320 and 640 are the usual sizes of classifiers and detectors. Graphs over
/// tokens or columns accept 1. Graphs over sound need hundreds of samples, up to a second of them.
const PROBE_SIZES: [(u32, u32); 7] = [
    (224, 1),
    (320, 32),
    (640, 224),
    (32, 1024),
    (64, 512),
    (512, 16_000),
    (1, 1),
];

/// The sizes tried for first axes that are no batch, since the graph refuses a single row.
const PROBE_ROWS: [u32; 2] = [32, 1024];

/// The numbers of channels by which an input is recognised as an image.
const IMAGE_CHANNELS: [u32; 3] = [1, 3, 4];

/// The number of elements above which an input is not tried, except at the first sizes: a 1024 x 1024 image
/// reveals nothing that 640 did not.
const MAX_PROBE_ELEMENTS: usize = 1 << 21;

/// The reason that a graph computes at none of the sizes tried.
pub(crate) enum ProbeError {
    /// The graph did not finish in time.
    TooSlow,
    /// The reason that the graph refused the first size.
    Refused(String),
}

/// The time limit for computing a sample. A graph that needs longer meets no deadline of a request.
#[cfg(all(feature = "threads", feature = "tract"))]
const MAX_TIME: std::time::Duration = std::time::Duration::from_secs(20);

/// The remaining time for computing a sample.
#[cfg(feature = "tract")]
pub(crate) struct TimeLimit {
    cancellation: Cancellation,
    #[cfg(feature = "threads")]
    _watched: crate::deadline::Watched,
}

#[cfg(feature = "tract")]
impl TimeLimit {
    pub(crate) fn start() -> TimeLimit {
        let cancellation = Cancellation::new();
        TimeLimit {
            #[cfg(feature = "threads")]
            _watched: crate::deadline::cancel_at(
                &cancellation,
                std::time::Instant::now() + MAX_TIME,
            ),
            cancellation,
        }
    }

    /// Returns the flag that is set at the end of the time limit.
    pub(crate) fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }
}

/// The kind of a variable axis, which determines its size in a sample. If several axes have the same symbol,
/// the first of these kinds applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum AxisKind {
    Batch,
    Image,
    Other,
}

/// A variable axis of a required input.
struct VariableAxis<'a> {
    symbol: Option<&'a str>,
    kind: AxisKind,
}

/// The size of each kind of axis, and of those whose symbol is about what came before: a decoder begins
/// without a past, and the sizes of its inputs agree then.
#[derive(Clone, Copy)]
struct Sizes {
    batch: u32,
    image: u32,
    other: u32,
    past: u32,
}

/// Returns the first of a few samples at which `compute` succeeds, and its result. The elements are zeros,
/// or ones if the graph does not compute with zeros. On failure, returns the reason at the first sizes.
pub(crate) fn probe<T>(
    signature: &Signature,
    symbols: &AxisSymbols,
    compute: impl Fn(&[NamedTensor]) -> Result<T, BackendError>,
) -> Result<(Sample, T), ProbeError> {
    let mut first_reason = None;
    for (position, sizes) in sample_sizes(signature, symbols).into_iter().enumerate() {
        for element in [Element::Zero, Element::One] {
            let sizes = sizes.clone();
            let sample = Sample { sizes, element };
            let inputs = match sample.inputs(signature) {
                Ok(inputs) => inputs,
                Err(error) => {
                    first_reason.get_or_insert(format!("an input cannot be created: {error}"));
                    continue;
                }
            };
            let elements = |input: &NamedTensor| input.tensor.shape().elements();
            if position > 0 && inputs.iter().any(|i| elements(i) > MAX_PROBE_ELEMENTS) {
                continue;
            }
            match compute(&inputs) {
                Ok(computed) => return Ok((sample, computed)),
                Err(BackendError::Cancelled) => return Err(ProbeError::TooSlow),
                Err(error) => first_reason.get_or_insert(error.into_reason()),
            };
        }
    }
    Err(ProbeError::Refused(first_reason.unwrap_or_default()))
}

/// Returns the distinct sizes of the variable axes in samples, the most likely first.
pub(crate) fn sample_sizes(signature: &Signature, symbols: &AxisSymbols) -> Vec<Vec<u32>> {
    let axes = variable_axes(signature, symbols);
    let usual = |(image, other)| Sizes {
        batch: 1,
        image,
        other,
        past: other,
    };
    let mut tried: Vec<Sizes> = PROBE_SIZES.into_iter().map(usual).collect();
    tried.insert(
        1,
        Sizes {
            past: 0,
            ..tried[0]
        },
    );
    tried.extend(PROBE_ROWS.map(|rows| Sizes {
        batch: rows,
        ..usual((PROBE_SIZES[0].0, rows))
    }));
    let mut distinct: Vec<Vec<u32>> = Vec::new();
    for sizes in tried {
        let sizes = sizes.of(&axes);
        if !distinct.contains(&sizes) {
            distinct.push(sizes);
        }
    }
    distinct
}

/// Returns inputs of two rows like the rows of `sample`, if every required input has rows and an output is
/// declared with another number of them.
#[cfg(any(feature = "onnxruntime", feature = "rten"))]
pub(crate) fn two_row_inputs(
    sample: &Sample,
    signature: &Signature,
    symbols: &AxisSymbols,
) -> Option<Vec<NamedTensor>> {
    let mut outputs = signature.outputs.iter();
    if outputs.all(TensorSpec::has_variable_first_axis) {
        return None;
    }
    let sample = with_two_rows(sample, signature, symbols)?;
    sample.inputs(signature).ok()
}

/// Returns `sample` with two rows; `None` unless every required input has a variable first axis.
pub(crate) fn with_two_rows(
    sample: &Sample,
    signature: &Signature,
    symbols: &AxisSymbols,
) -> Option<Sample> {
    let mut required = signature.inputs.iter().filter(|spec| !spec.optional);
    if !required.all(TensorSpec::has_variable_first_axis) {
        return None;
    }
    let axes = variable_axes(signature, symbols);
    let kinds = kinds(&axes);
    let sizes = axes.iter().enumerate().map(|(position, axis)| {
        let size = sample.sizes.get(position).copied().unwrap_or(1);
        match axis
            .symbol
            .and_then(|symbol| kinds.get(symbol))
            .unwrap_or(&axis.kind)
        {
            AxisKind::Batch => size.saturating_mul(2),
            AxisKind::Image | AxisKind::Other => size,
        }
    });
    Some(Sample {
        sizes: sizes.collect(),
        element: sample.element,
    })
}

fn variable_axes<'a>(signature: &Signature, symbols: &'a AxisSymbols) -> Vec<VariableAxis<'a>> {
    let mut axes = Vec::new();
    for spec in signature.inputs.iter().filter(|spec| !spec.optional) {
        let image = image_axes(&spec.shape);
        for (axis, _) in (spec.shape.iter().enumerate())
            .filter(|(_, dimension)| **dimension == Dimension::Variable)
        {
            axes.push(VariableAxis {
                symbol: symbols.get(&spec.name, axis),
                kind: match axis {
                    _ if image.contains(&axis) => AxisKind::Image,
                    0 => AxisKind::Batch,
                    1 if is_state(&spec.shape) => AxisKind::Batch,
                    _ => AxisKind::Other,
                },
            });
        }
    }
    axes
}

/// Returns the axes of an image's height and width: those after or before the channels.
fn image_axes(shape: &[Dimension]) -> Range<usize> {
    let is_channels =
        |dimension: &Dimension| IMAGE_CHANNELS.map(Dimension::Fixed).contains(dimension);
    match shape {
        [_, channels, _, _] if is_channels(channels) => 2..4,
        [_, _, _, channels] if is_channels(channels) => 1..3,
        // Without a batch. A first axis of 1 is rather a batch than a channel.
        [channels, Dimension::Variable, Dimension::Variable]
            if is_channels(channels) && *channels != Dimension::Fixed(1) =>
        {
            1..3
        }
        _ => 0..0,
    }
}

/// Returns the kind of each symbol.
fn kinds<'a>(axes: &[VariableAxis<'a>]) -> HashMap<&'a str, AxisKind> {
    let mut kinds: HashMap<&str, AxisKind> = HashMap::new();
    for axis in axes {
        if let Some(symbol) = axis.symbol {
            let kind = kinds.entry(symbol).or_insert(axis.kind);
            *kind = axis.kind.min(*kind);
        }
    }
    kinds
}

impl Sizes {
    /// Returns the size of each axis. Axes of the same symbol have the same size.
    fn of(self, axes: &[VariableAxis]) -> Vec<u32> {
        let kinds = kinds(axes);
        let size = |kind| match kind {
            AxisKind::Batch => self.batch,
            AxisKind::Image => self.image,
            AxisKind::Other => self.other,
        };
        let named = |symbol: &str, otherwise: AxisKind| match kinds.get(symbol) {
            _ if symbol.contains("past") => self.past,
            Some(kind) => size(*kind),
            None => size(otherwise),
        };
        let sizes = axes.iter().map(|axis| match axis.symbol {
            None => size(axis.kind),
            Some(symbol) => evaluate(symbol, |symbol| named(symbol, axis.kind)),
        });
        sizes.collect()
    }
}

/// Returns the value of a symbol or of a sum of products of symbols and numbers, such as `past + 1`, in which
/// exporters write sizes that depend on others.
fn evaluate(expression: &str, value: impl Fn(&str) -> u32) -> u32 {
    let factor = |text: &str| {
        let text = text.trim();
        text.parse().unwrap_or_else(|_| value(text))
    };
    let term = |text: &str| text.split('*').map(factor).fold(1, u32::saturating_mul);
    expression.split('+').map(term).fold(0, u32::saturating_add)
}

impl ProbeError {
    pub(crate) fn into_reason(self) -> String {
        match self {
            ProbeError::TooSlow => "it does not finish computing a sample of zeros".to_owned(),
            ProbeError::Refused(reason) => reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;
    use wisp_tensor::ElementType;

    fn refusal(reason: String) -> BackendError {
        BackendError::refused("test", Refusal::new(reason))
    }

    fn signature(inputs: &[(&str, &[i64])]) -> Signature {
        let spec = |(name, shape): &(&str, &[i64])| TensorSpec {
            name: (*name).to_owned(),
            element_type: ElementType::Fp32,
            shape: shape
                .iter()
                .filter_map(|&size| Dimension::from_wire(size))
                .collect(),
            optional: false,
        };
        Signature {
            inputs: inputs.iter().map(spec).collect(),
            outputs: Vec::new(),
        }
    }

    fn symbols(inputs: &[(&str, &[&str])]) -> AxisSymbols {
        let mut symbols = AxisSymbols::default();
        for (input, axes) in inputs {
            let axes = axes
                .iter()
                .map(|axis| (!axis.is_empty()).then(|| (*axis).to_owned()));
            symbols.insert(input, axes.collect());
        }
        symbols
    }

    #[test]
    fn axes_of_one_symbol_have_one_size() {
        let signature = signature(&[("input", &[-1, -1]), ("state", &[2, -1, 8])]);
        let symbols = symbols(&[("input", &["batch", "sequence"]), ("state", &["", "batch"])]);
        let sizes = sample_sizes(&signature, &symbols);
        assert_eq!(sizes[0], [1, 1, 1]);
        assert!(sizes.contains(&vec![1, 224, 1]));
        assert!(sizes.iter().all(|sizes| sizes[0] == sizes[2]));
    }

    #[test]
    fn images_have_the_sizes_of_images() {
        let none = AxisSymbols::default();
        for (shape, expected) in [
            ([-1, 3, -1, -1].as_slice(), [1, 224, 224].as_slice()),
            (&[1, -1, -1, 4], &[224, 224]),
            (&[3, -1, -1], &[224, 224]),
            (&[1, -1, -1], &[1, 1]),
            (&[-1, 64, -1, -1], &[1, 1, 1]),
        ] {
            let sizes = sample_sizes(&signature(&[("x", shape)]), &none);
            assert_eq!(sizes[0], expected, "{shape:?}");
        }
        assert_eq!(sample_sizes(&signature(&[("x", &[4])]), &none), [[0u32; 0]]);
    }

    #[test]
    fn sizes_may_be_sums_of_others_and_a_decoder_begins_without_a_past() {
        let signature = signature(&[("past", &[-1, 8, -1]), ("mask", &[-1, -1]), ("x", &[-1, 3])]);
        let symbols = symbols(&[
            ("past", &["batch", "", "past_length"]),
            ("mask", &["batch", "past_length + 1"]),
            ("x", &["2*batch"]),
        ]);
        let sizes = sample_sizes(&signature, &symbols);
        assert_eq!(sizes[0], [1, 1, 1, 2, 2]);
        assert_eq!(sizes[1], [1, 0, 1, 1, 2]);
    }

    #[test]
    fn the_first_sample_that_computes_is_found() -> anyhow::Result<()> {
        let signature = signature(&[("x", &[-1, -1])]);
        let found = probe(&signature, &AxisSymbols::default(), |inputs| {
            let dimensions = inputs[0].tensor.shape().dimensions().to_vec();
            match dimensions[1] {
                100.. => Ok(dimensions),
                size => Err(refusal(format!("{size} is too small"))),
            }
        });
        let (sample, computed) = found.map_err(|error| anyhow::Error::msg(error.into_reason()))?;
        assert_eq!(computed, [1, 224]);
        assert_eq!(sample.sizes, [1, 224]);
        let doubled = with_two_rows(&sample, &signature, &AxisSymbols::default());
        assert_eq!(doubled.map(|sample| sample.sizes), Some(vec![2, 224]));
        Ok(())
    }

    #[test]
    fn a_graph_that_never_computes_is_refused_with_the_first_reason() {
        let signature = signature(&[("x", &[-1, -1])]);
        let refused = probe::<()>(&signature, &AxisSymbols::default(), |inputs| {
            Err(refusal(inputs[0].tensor.shape().to_string()))
        });
        let reason = refused.err().map(ProbeError::into_reason);
        assert_eq!(reason.as_deref(), Some("[1, 1]"));
    }
}
