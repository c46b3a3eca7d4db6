//! The choice of a column for each feature.
//!
//! An input with one feature has the column with its name. One with several has the columns that
//! `inputs.<name>.feature_names` in model.toml lists, or, if it is the only one without such a list, all columns that are
//! left, in their order. Nothing is guessed beyond that: columns in excess are an error, since a column in the wrong
//! place would look like drift.

use std::collections::BTreeSet;
use wisp_tensor::sanitize::shorten;

/// The maximum length of a list of columns in an error.
const MAX_LIST_CHARS: usize = 400;

/// The features of an input that need columns.
#[derive(Debug, Clone)]
pub(super) struct InputFeatures {
    pub(super) name: String,
    pub(super) features: usize,
    /// The names in model.toml; none, or one for each feature.
    pub(super) names: Vec<String>,
}

/// The columns of an input, one for each feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputColumns {
    /// The position of the input.
    pub(super) input: usize,
    /// The positions of the columns.
    pub(super) columns: Vec<usize>,
}

/// The columns of the inputs that have some.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ColumnMapping {
    pub(super) inputs: Vec<InputColumns>,
    /// The columns that belong to no input, without those that were to be skipped.
    pub(super) unused: Vec<String>,
    /// The inputs without columns.
    pub(super) without: Vec<String>,
}

/// Finds the columns of each input. An error is the reason that it is not clear.
pub(super) fn map_columns(
    columns: &[String],
    inputs: &[InputFeatures],
    skip: &[String],
) -> Result<ColumnMapping, String> {
    let distinct: BTreeSet<&String> = columns.iter().collect();
    if distinct.len() != columns.len() {
        return Err(format!("two columns have the same name: {}", list(columns)));
    }
    if let Some(unknown) = skip.iter().find(|name| !columns.contains(name)) {
        let all = list(columns);
        return Err(format!(
            "there is no column `{unknown}` to skip; the columns are: {all}"
        ));
    }
    let mut free: Vec<usize> = (0..columns.len())
        .filter(|&at| columns.get(at).is_some_and(|name| !skip.contains(name)))
        .collect();
    let mut found: Vec<InputColumns> = Vec::new();
    let mut unnamed: Vec<(usize, &InputFeatures)> = Vec::new();
    for (position, input) in inputs.iter().enumerate() {
        let names = match (input.names.is_empty(), input.features) {
            (false, _) => input.names.clone(),
            (true, 1) => vec![input.name.clone()],
            (true, _) => {
                unnamed.push((position, input));
                continue;
            }
        };
        let places: Vec<Option<usize>> = names
            .iter()
            .map(|name| {
                free.iter()
                    .copied()
                    .find(|&at| columns.get(at) == Some(name))
            })
            .collect();
        let missing = names.iter().zip(&places).find(|(_, place)| place.is_none());
        match missing {
            None => {
                let places: Vec<usize> = places.into_iter().flatten().collect();
                free.retain(|at| !places.contains(at));
                found.push(InputColumns {
                    input: position,
                    columns: places,
                });
            }
            // Not every input needs to be observed.
            Some(_) if input.features == 1 => {}
            Some((name, _)) => {
                let all = list(columns);
                return Err(format!(
                    "there is no column `{name}`, which inputs.{}.feature_names in model.toml lists; the columns \
                     are: {all}",
                    input.name
                ));
            }
        }
    }
    match unnamed.as_slice() {
        [] => {}
        [(position, input)] if free.len() == input.features => {
            found.push(InputColumns {
                input: *position,
                columns: std::mem::take(&mut free),
            });
        }
        // The data is about other inputs.
        [_] if free.is_empty() => {}
        [(_, input)] => {
            let left: Vec<String> = free
                .iter()
                .filter_map(|&at| columns.get(at).cloned())
                .collect();
            return Err(format!(
                "input `{}` has {} features, and there are {} columns for it: {}; name those that are no features \
                 with --skip, or list the others as inputs.{}.feature_names in model.toml",
                input.name,
                input.features,
                left.len(),
                list(&left),
                input.name
            ));
        }
        [(_, first), ..] => {
            return Err(format!(
                "several inputs have several features: list the columns of each as inputs.<name>.feature_names in \
                 model.toml, such as inputs.{}.feature_names",
                first.name
            ));
        }
    }
    // A single column can only belong to a single input.
    if let ([input], [column], true) = (inputs, free.as_slice(), found.is_empty())
        && input.features == 1
    {
        found.push(InputColumns {
            input: 0,
            columns: vec![*column],
        });
        free.clear();
    }
    if found.is_empty() {
        let names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
        return Err(match names.is_empty() {
            true => "the model has no inputs".to_owned(),
            false => format!(
                "no column has the name of an input; the columns are: {}; the inputs are: {}",
                list(columns),
                list(&names)
            ),
        });
    }
    found.sort_by_key(|columns| columns.input);
    let has_columns = |position: usize| found.iter().any(|columns| columns.input == position);
    let without = inputs.iter().enumerate();
    let without = without.filter(|(position, _)| !has_columns(*position));
    let without: Vec<String> = without.map(|(_, input)| input.name.clone()).collect();
    let unused = free.iter().filter_map(|&at| columns.get(at).cloned());
    Ok(ColumnMapping {
        unused: unused.collect(),
        inputs: found,
        without,
    })
}

fn list(names: &[String]) -> String {
    shorten(&names.join(", "), MAX_LIST_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, features: usize, names: &[&str]) -> InputFeatures {
        InputFeatures {
            name: name.to_owned(),
            features,
            names: owned(names),
        }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn mapped(
        columns: &[&str],
        inputs: &[InputFeatures],
        skip: &[&str],
    ) -> Result<Vec<Vec<usize>>, String> {
        let mapping = map_columns(&owned(columns), inputs, &owned(skip))?;
        Ok(mapping
            .inputs
            .into_iter()
            .map(|input| input.columns)
            .collect())
    }

    #[test]
    fn an_input_has_the_column_with_its_name() {
        let inputs = [input("a", 1, &[]), input("b", 1, &[]), input("c", 1, &[])];
        let mapping = map_columns(&owned(&["b", "t", "a"]), &inputs, &[]).expect("a mapping");
        let columns: Vec<_> = mapping
            .inputs
            .iter()
            .map(|input| input.columns[0])
            .collect();
        assert_eq!(columns, [2, 0]);
        assert_eq!(mapping.unused, ["t"]);
        assert_eq!(mapping.without, ["c"]);
        // A model with one input needs no name.
        assert_eq!(mapped(&["z"], &inputs[..1], &[]), Ok(vec![vec![0]]));
        assert!(mapped(&["y", "z"], &inputs[..1], &[]).is_err());
    }

    #[test]
    fn the_features_of_the_only_table_are_the_other_columns_in_order() {
        let inputs = [input("x", 2, &[]), input("id", 1, &[])];
        let columns = ["q", "id", "p", "target"];
        let found = mapped(&columns, &inputs, &["target"]);
        assert_eq!(found, Ok(vec![vec![0, 2], vec![1]]));
        let error = mapped(&columns, &inputs, &[]).expect_err("one too many");
        assert!(
            error.contains("2 features, and there are 3 columns for it: q, p, target;"),
            "{error}"
        );
        let error = mapped(&columns, &inputs, &["y"]).expect_err("no such column");
        assert!(error.contains("no column `y`"), "{error}");
        let two = [input("x", 2, &[]), input("y", 2, &[])];
        let error = mapped(&columns, &two, &[]).expect_err("it is not clear");
        assert!(error.contains("inputs.x.feature_names"), "{error}");
    }

    #[test]
    fn listed_features_are_found_by_name() {
        let inputs = [input("x", 2, &["p", "q"]), input("y", 2, &["r", "p2"])];
        let columns = ["q", "r", "p", "target", "p2"];
        assert_eq!(
            mapped(&columns, &inputs, &[]),
            Ok(vec![vec![2, 0], vec![1, 4]])
        );
        let error = mapped(&columns[..3], &inputs, &[]).expect_err("p2 is missing");
        assert!(error.starts_with("there is no column `p2`"), "{error}");
        let error = mapped(&["p", "q", "p"], &inputs, &[]).expect_err("p is there twice");
        assert!(error.contains("same name"), "{error}");
    }
}
