//! Converts a request to standardized features: collects, checks and scales each of them.

use crate::features::{FEATURES, Feature};
use wisp_handler::{Error, Request, Result, Tensor, math};

/// Returns the graph's input, [rows, 13].
pub(crate) fn features(request: &Request) -> Result<Vec<Tensor>> {
    let mut rows = match request.optional_input("features") {
        Some(matrix) => {
            refuse_columns(request)?;
            matrix.view::<f32>(&[-1, 13])?.to_vec()
        }
        None => rows_from_columns(request)?,
    };
    for (index, row) in rows.chunks_exact_mut(FEATURES.len()).enumerate() {
        for (value, feature) in row.iter().zip(&FEATURES) {
            check_range(*value, feature, index)?;
        }
        math::standardise(
            row,
            FEATURES.iter().map(|feature| (feature.mean, feature.std)),
        );
    }
    let count = rows.len() / FEATURES.len();
    Ok(vec![Tensor::new(
        "features",
        &[count, FEATURES.len()],
        &rows,
    )?])
}

/// Rejects columns in addition to the matrix. They might contradict it, and one of them would be
/// ignored.
fn refuse_columns(request: &Request) -> Result<()> {
    let mut names = FEATURES.iter().map(|feature| feature.name);
    match names.find(|name| request.optional_input(name).is_some()) {
        Some(name) => Err(Error::client(format_args!(
            "send either `features` or the 13 by name, not `features` and `{name}`"
        ))),
        None => Ok(()),
    }
}

/// Returns the matrix that thirteen columns of equal length form.
fn rows_from_columns(request: &Request) -> Result<Vec<f32>> {
    let mut rows = Vec::new();
    let mut count = None;
    for (position, feature) in FEATURES.iter().enumerate() {
        let name = feature.name;
        let missing = || {
            Error::client(format_args!(
                "feature `{name}` is missing; send all 13 or `features`"
            ))
        };
        let column = request
            .optional_input(name)
            .ok_or_else(missing)?
            .view::<f32>(&[-1])?;
        let expected = *count.get_or_insert(column.len());
        if column.len() != expected {
            let found = column.len();
            return Err(Error::client(format_args!(
                "feature `{name}` has {found} rows, expected {expected}"
            )));
        }
        rows.resize(expected * FEATURES.len(), 0.0);
        let places = rows.iter_mut().skip(position).step_by(FEATURES.len());
        places
            .zip(column.iter())
            .for_each(|(place, value)| *place = *value);
    }
    Ok(rows)
}

fn check_range(value: f32, feature: &Feature, row: usize) -> Result<()> {
    let Feature { name, min, max, .. } = feature;
    if !value.is_finite() {
        return Err(Error::client(format_args!(
            "feature `{name}` of row {row} is not finite"
        )));
    }
    if !(*min..=*max).contains(&value) {
        return Err(Error::client(format_args!(
            "feature `{name}` of row {row} is {value}, outside {min} to {max}"
        )));
    }
    Ok(())
}
