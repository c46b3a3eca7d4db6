//! The operators of `ai.onnx.ml`, on tables with a row for each item and a column for each feature.

use super::operator::{Operator, Outputs, alone};
use super::product::Product;
use super::value::{Tensor, Value};

/// Infers a classifier: a label and scores for each row.
pub(super) fn classify(operator: &mut Operator<'_>) -> Outputs {
    let rows = rows_of_table(operator)?;
    let labels = Tensor::new(vec![rows.clone()])?;
    let scores = Tensor::new(vec![rows, operator.new_size()])?;
    Some(vec![Value::Tensor(labels), Value::Tensor(scores)])
}

/// Infers a regressor: some numbers for each row.
pub(super) fn regress(operator: &mut Operator<'_>) -> Outputs {
    let rows = rows_of_table(operator)?;
    let size = operator.new_size();
    alone(Tensor::new(vec![rows, size]))
}

/// Infers an operator with parameters for each column, or on each row.
pub(super) fn columns(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let is_table = tensor.rank() >= 2 && tensor.rows().is_none_or(|rows| rows + 1 < tensor.rank());
    alone(Some(tensor).filter(|_| is_table))
}

/// Infers `OneHotEncoder`, which adds an axis of categories.
pub(super) fn encode(operator: &mut Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let mut sizes = tensor.sizes().to_vec();
    sizes.push(operator.new_size());
    alone(Tensor::new(sizes))
}

/// Infers `ArrayFeatureExtractor`, which takes columns by their numbers. From a vector of values, it takes one for
/// each number, as an axis after another of size 1.
pub(super) fn extract(operator: &Operator<'_>) -> Outputs {
    let (tensor, numbers) = (operator.tensor(0)?, operator.tensor(1)?);
    let last = tensor.rank().checked_sub(1)?;
    let takes_rows = tensor.rows() == Some(last);
    if takes_rows || (tensor.rows().is_some() && numbers.rows().is_some()) {
        return None;
    }
    // The rows of several numbers stay together only if they are the first axis.
    if numbers.rows().is_some_and(|rows| rows != 0) {
        return None;
    }
    let count = Product::of_all(numbers.sizes())?;
    let outer = match last {
        0 => vec![Product::of(1)],
        _ => tensor.sizes()[..last].to_vec(),
    };
    alone(Tensor::new(outer.into_iter().chain([count]).collect()))
}

/// Infers `FeatureVectorizer`, which joins tables.
pub(super) fn join(operator: &mut Operator<'_>) -> Outputs {
    let tables = operator.tensors()?;
    let rows = tables.first()?.rows_size()?.clone();
    let fits = |table: &Tensor| {
        table.rank() == 2 && table.rows() == Some(0) && table.rows_size() == Some(&rows)
    };
    if !tables.iter().all(fits) {
        return None;
    }
    let size = operator.new_size();
    alone(Tensor::new(vec![rows, size]))
}

/// Infers `TfIdfVectorizer`, which counts the words of each row.
pub(super) fn count_words(operator: &mut Operator<'_>) -> Outputs {
    regress(operator)
}

/// Returns the number of rows of the input, which must be a table with its rows along axis 0.
fn rows_of_table(operator: &Operator<'_>) -> Option<Product> {
    operator.constant_from(1)?;
    let table = operator.tensor(0)?;
    let [rows, _] = table.sizes() else {
        return None;
    };
    (table.rows() == Some(0)).then(|| rows.clone())
}
