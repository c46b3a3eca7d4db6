//! Checks that all features of a request are finite.

use wisp_handler::{Error, Request, Result, Tensor};

/// The columns: years, 1 or 2, kg/m2, mmHg, and six blood serum measurements.
const FEATURES: [&str; 10] = [
    "age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6",
];

/// Returns the graph's input, [rows, 10], in the units that clients send.
pub(crate) fn features(request: &Request) -> Result<Vec<Tensor>> {
    let input = request.input("features")?;
    let features = input.view::<f32>(&[-1, 10])?;
    if let Some(index) = features.iter().position(|value| !value.is_finite()) {
        let (row, name) = (index / FEATURES.len(), FEATURES[index % FEATURES.len()]);
        return Err(Error::client(format_args!(
            "feature `{name}` of row {row} is not finite"
        )));
    }
    Ok(vec![input.clone()])
}
