//! The observation of a version's inputs, and their comparison with a baseline.
//!
//! An observation finds the cells of some values, and adds them to the windows of their features. It
//! never waits: if another request is adding its values, or a reader is copying the counts, the request is not
//! observed. The comparison is made when it is read. Observing changes no request.

use crate::quality::baseline::{Baseline, InputBaseline};
use crate::quality::distribution::{Distribution, binned};
use crate::quality::window::{MISSING, Window};
use crate::quality::{kolmogorov_smirnov, psi};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, TryLockError};
use wisp_protocol::statistics::{FeatureQuality, InputQuality};
use wisp_tensor::number::number;
use wisp_tensor::{ElementType, NamedTensor, Tensor};

/// The maximum number of rows of one request that are observed, evenly spaced.
const MAX_ROWS: usize = 64;

/// The maximum number of values of one input in one request that are observed, if that is at least one row.
const MAX_VALUES: usize = 1024;

/// The observed inputs of a version. Lifetime: a model version.
#[derive(Debug)]
pub struct Drift {
    baseline: Baseline,
    /// The cells of texts, by input and feature; empty for numbers.
    categories: Vec<Vec<HashMap<Vec<u8>, u16>>>,
    /// The windows, by input and feature.
    windows: Mutex<Vec<Vec<Window>>>,
}

/// The cells of the observed values of one input, row by row.
struct ObservedCells {
    input: usize,
    cells: Vec<u16>,
}

impl Drift {
    /// Starts to observe, with a baseline that matches the inputs of the version.
    pub fn new(baseline: Baseline) -> Drift {
        let window = baseline.window;
        let windows = |input: &InputBaseline| {
            let distributions = input.features.iter().map(|feature| &feature.distribution);
            distributions
                .map(|distribution| Window::new(window, distribution.counts().len()))
                .collect()
        };
        let categories = |input: &InputBaseline| {
            let distributions = input.features.iter().map(|feature| &feature.distribution);
            distributions.map(category_cells).collect()
        };
        Drift {
            categories: baseline.inputs.iter().map(categories).collect(),
            windows: Mutex::new(baseline.inputs.iter().map(windows).collect()),
            baseline,
        }
    }

    pub fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// Adds values of a request to the windows, unless another thread is using them.
    pub fn observe(&self, inputs: &[NamedTensor]) {
        let mut observed: Vec<ObservedCells> = Vec::with_capacity(self.baseline.inputs.len());
        for (input, baseline) in self.baseline.inputs.iter().enumerate() {
            let named = inputs.iter().find(|named| named.name == baseline.name);
            if let Some(named) = named {
                let cells = self.cells(input, baseline, &named.tensor);
                observed.push(ObservedCells { input, cells });
            }
        }
        let mut windows = match self.windows.try_lock() {
            Ok(windows) => windows,
            // No code panics while the lock is held, so a poisoned lock still guards consistent windows.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for ObservedCells { input, cells } in observed {
            let Some(features) = windows
                .get_mut(input)
                .filter(|features| !features.is_empty())
            else {
                continue;
            };
            for row in cells.chunks(features.len()) {
                for (window, cell) in features.iter_mut().zip(row) {
                    window.push(*cell);
                }
            }
        }
    }

    /// Returns the cells of the values of some rows.
    fn cells(&self, input: usize, baseline: &InputBaseline, tensor: &Tensor) -> Vec<u16> {
        let columns = baseline.features.len().max(1);
        let rows = tensor.shape().elements() / columns;
        let observed = (MAX_VALUES / columns).clamp(1, MAX_ROWS);
        // A single feature has elements for rows, of which a text or an image has many.
        let step = rows.div_ceil(observed).max(1);
        let mut cells = Vec::with_capacity(rows.div_ceil(step).saturating_mul(columns));
        let distributions = || {
            baseline
                .features
                .iter()
                .map(|feature| &feature.distribution)
        };
        let Some(size) = tensor.element_type().size() else {
            let Some(categories) = self.categories.get(input) else {
                return cells;
            };
            for (position, text) in tensor.elements().enumerate() {
                if (position / columns).is_multiple_of(step)
                    && let Some(known) = categories.get(position % columns)
                {
                    cells.push(text_cell(known, text));
                }
            }
            return cells;
        };
        for row in (0..rows).step_by(step) {
            let start = row.saturating_mul(columns).saturating_mul(size);
            let elements = tensor.content().get(start..).unwrap_or_default();
            for (bytes, distribution) in elements.chunks_exact(size).zip(distributions()) {
                cells.push(number_cell(distribution, tensor.element_type(), bytes));
            }
        }
        cells
    }

    /// Compares the windows with the baseline.
    pub fn report(&self) -> Vec<InputQuality> {
        let counts = self.counts();
        let inputs = self.baseline.inputs.iter().zip(counts);
        let inputs = inputs.map(|(input, counts)| {
            let features = input.features.iter().zip(counts).enumerate();
            let features = features.map(|(position, (feature, observed))| {
                let (psi, ks) = compared(&feature.distribution, &observed.counts);
                let (values, expected) = (sum(&observed.counts), feature.distribution.values());
                FeatureQuality {
                    feature: feature.name.clone().unwrap_or_else(|| position.to_string()),
                    observations: observed.observations,
                    missing: share(observed.missing, observed.observations),
                    baseline_missing: share(
                        feature.missing,
                        feature.missing.saturating_add(expected),
                    ),
                    psi,
                    ks,
                    p_value: ks.map(|ks| kolmogorov_smirnov::p_value(ks, expected, values)),
                }
            });
            InputQuality {
                input: input.name.clone(),
                features: features.collect(),
            }
        });
        inputs.collect()
    }

    /// Copies the counts of all windows, so that the lock is not held while they are compared.
    fn counts(&self) -> Vec<Vec<ObservedCounts>> {
        // No code panics while the lock is held, so a poisoned lock still guards consistent windows.
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let input = |features: &Vec<Window>| features.iter().map(ObservedCounts::of).collect();
        windows.iter().map(input).collect()
    }
}

/// The counts of a window.
struct ObservedCounts {
    counts: Vec<u64>,
    missing: u64,
    observations: u64,
}

impl ObservedCounts {
    fn of(window: &Window) -> ObservedCounts {
        ObservedCounts {
            counts: window.counts().to_vec(),
            missing: window.missing(),
            observations: window.observations(),
        }
    }
}

/// Returns the cells of the categories; empty for numbers.
fn category_cells(distribution: &Distribution) -> HashMap<Vec<u8>, u16> {
    let Distribution::Categorical(categorical) = distribution else {
        return HashMap::new();
    };
    let categories = categorical.categories.iter().zip(0u16..);
    let categories = categories.map(|(category, cell)| (category.clone().into_bytes(), cell));
    categories.collect()
}

/// Returns the cell of a text: its category's, or the one after all categories.
fn text_cell(categories: &HashMap<Vec<u8>, u16>, text: &[u8]) -> u16 {
    if text.is_empty() {
        return MISSING;
    }
    let others = u16::try_from(categories.len()).unwrap_or(MISSING);
    categories.get(text).copied().unwrap_or(others)
}

fn number_cell(distribution: &Distribution, element_type: ElementType, bytes: &[u8]) -> u16 {
    let number = number(element_type, bytes);
    match distribution {
        Distribution::Numeric(numeric) if !number.is_nan() => {
            u16::try_from(numeric.cell(number)).unwrap_or(MISSING)
        }
        Distribution::Numeric(_) | Distribution::Categorical(_) => MISSING,
    }
}

/// Returns the PSI and the Kolmogorov-Smirnov statistic of a window. Texts have no order, and so only the former.
fn compared(distribution: &Distribution, counts: &[u64]) -> (Option<f64>, Option<f64>) {
    match distribution {
        Distribution::Numeric(numeric) => {
            let (bins, bin_count) = (numeric.bins(), numeric.bin_count());
            let expected = binned(&numeric.counts, &bins, bin_count);
            let actual = binned(counts, &bins, bin_count);
            let ks = kolmogorov_smirnov::statistic(&numeric.counts, counts);
            (psi::index(&expected, &actual), ks)
        }
        Distribution::Categorical(categorical) => {
            (psi::index(&categorical.all_counts(), counts), None)
        }
    }
}

fn sum(counts: &[u64]) -> u64 {
    counts
        .iter()
        .fold(0, |sum, count| sum.saturating_add(*count))
}

fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

#[cfg(test)]
mod tests;
