//! The names of an output's classes, for responses that contain names.
//!
//! A class without a label has its index as its name. A label that several classes have is followed by the
//! index in all but the first of them (`crane:517`), so that names can be the keys of an object.

use crate::call::ModelDescription;
use std::borrow::Cow;
use std::collections::HashSet;

/// The maximum number of bytes that a name takes in a response in addition to its text: quotes,
/// separators, an index, or the memory of a string.
const NAME_OVERHEAD: usize = 40;

/// The maximum number of bytes of JSON per byte of a name: a control character is `\u0001`.
const JSON_PER_BYTE: usize = 6;

/// A name for each class of an output, all different. Lifetime: one request.
#[derive(Debug, Clone)]
pub(crate) struct ClassNames<'a> {
    names: Vec<Cow<'a, str>>,
    all: HashSet<Cow<'a, str>>,
}

impl<'a> ClassNames<'a> {
    /// Returns the names of `classes` classes whose first ones have these labels.
    pub(crate) fn new(
        labels: impl Iterator<Item = Cow<'a, str>>,
        classes: usize,
    ) -> ClassNames<'a> {
        let mut all = HashSet::with_capacity(classes);
        let mut labels = labels.fuse();
        let names = (0..classes).map(|class| {
            let label = labels.next().filter(|label| !label.is_empty());
            let mut name = label.unwrap_or_else(|| Cow::Owned(class.to_string()));
            while !all.insert(name.clone()) {
                name = Cow::Owned(format!("{name}:{class}"));
            }
            name
        });
        ClassNames {
            names: names.collect(),
            all,
        }
    }

    /// Returns the names of the classes of this output.
    pub(crate) fn of_output(
        model: &'a ModelDescription,
        output: &str,
        classes: usize,
    ) -> ClassNames<'a> {
        let labels = model.class_labels.get(output);
        let labels: &[String] = labels.map_or(&[], Vec::as_slice);
        ClassNames::new(
            labels.iter().map(|label| Cow::Borrowed(label.as_str())),
            classes,
        )
    }

    pub(crate) fn name(&self, class: usize) -> Option<&str> {
        self.names.get(class).map(|name| &**name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.all.contains(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

/// Returns the label of a class, or its index if it has none.
pub(crate) fn label_or_index(labels: &[String], class: usize) -> Cow<'_, [u8]> {
    let label = labels.get(class).filter(|label| !label.is_empty());
    label.map_or_else(
        || Cow::Owned(class.to_string().into_bytes()),
        |label| Cow::Borrowed(label.as_bytes()),
    )
}

/// Returns the maximum number of bytes that the names of these outputs' classes take, once each.
pub(crate) fn name_bytes<'n>(
    model: &ModelDescription,
    outputs: impl Iterator<Item = &'n String>,
) -> usize {
    let labels = outputs.filter_map(|output| model.class_labels.get(output));
    let sizes = labels.flatten().map(|label| {
        let text = label.len().saturating_mul(JSON_PER_BYTE);
        text.saturating_add(NAME_OVERHEAD)
    });
    sizes.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(labels: &[&'static str], classes: usize) -> Vec<String> {
        let labels = labels.iter().map(|&label| Cow::Borrowed(label));
        let names = ClassNames::new(labels, classes);
        assert!(names.iter().all(|name| names.contains(name)));
        names.iter().map(str::to_owned).collect()
    }

    #[test]
    fn each_class_has_a_name_of_its_own() {
        assert_eq!(names(&["cat", "dog"], 2), ["cat", "dog"]);
        assert_eq!(names(&["cat", "", "dog", "bird"], 3), ["cat", "1", "dog"]);
        assert_eq!(names(&[], 2), ["0", "1"]);
        assert_eq!(
            names(&["crane", "crane", "crane"], 3),
            ["crane", "crane:1", "crane:2"]
        );
        assert_eq!(names(&["1", ""], 2), ["1", "1:1"]);
        assert_eq!(names(&["a:1", "a:1", "a"], 3), ["a:1", "a:1:1", "a"]);
        assert!(names(&["cat"], 0).is_empty());
    }

    #[test]
    fn a_class_without_a_label_is_labelled_with_its_index() {
        let labels = ["cat".to_owned(), String::new()];
        let label = |class| label_or_index(&labels, class).into_owned();
        assert_eq!(
            [label(0), label(1), label(2)],
            [b"cat".to_vec(), b"1".to_vec(), b"2".to_vec()]
        );
    }
}
