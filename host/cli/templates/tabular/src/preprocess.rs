//! From a request to the graph's input: checks every feature, then scales it.

use wisp_handler::{Error, Request, Result, Tensor, math};

/// One column of `features`.
struct Feature {
    name: &'static str,
    /// Mean and standard deviation of the training data.
    mean: f32,
    deviation: f32,
    /// No parcel has more; none has zero or less.
    max: f32,
}

/// The columns, in the order of the graph.
#[rustfmt::skip]
const FEATURES: [Feature; 4] = [
    Feature { name: "length_cm", mean: 30.0, deviation: 15.0, max: 300.0 },
    Feature { name: "width_cm", mean: 20.0, deviation: 10.0, max: 300.0 },
    Feature { name: "height_cm", mean: 15.0, deviation: 10.0, max: 300.0 },
    Feature { name: "weight_kg", mean: 2.0, deviation: 2.0, max: 1000.0 },
];

/// The graph's input, [rows, 4].
pub(crate) fn features(request: &Request) -> Result<Vec<Tensor>> {
    let features = request.input("features")?.view::<f32>(&[-1, 4])?;
    let mut rows = features.to_vec();
    for (index, row) in rows.chunks_exact_mut(FEATURES.len()).enumerate() {
        for (value, feature) in row.iter().zip(&FEATURES) {
            check(*value, feature, index)?;
        }
        let columns = FEATURES
            .iter()
            .map(|feature| (feature.mean, feature.deviation));
        math::standardise(row, columns);
    }
    Ok(vec![Tensor::new("features", features.shape(), &rows)?])
}

/// Returns an error that names the feature if its value cannot be a measurement.
fn check(value: f32, feature: &Feature, row: usize) -> Result<()> {
    let Feature { name, max, .. } = feature;
    if value > 0.0 && value <= *max {
        return Ok(());
    }
    Err(Error::client(format_args!(
        "feature `{name}` of row {row} is {value}, expected more than 0 and at most {max}"
    )))
}
