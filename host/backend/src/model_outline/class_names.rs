//! The class names in an ONNX file, by the value with a column for each class.
//!
//! `ZipMap` and the classifiers of `ai.onnx.ml` contain the names as attributes. The names of a value also
//! apply to values that are computed from it column by column. Integers that equal the positions of their
//! classes are not names. The scores of support vectors have a column for each pair of classes, unless the
//! file also has the parameters of probabilities.

use std::collections::BTreeMap;

/// The maximum memory of the names in bytes: some hundred thousand classes. Lists beyond it are left out.
const MAX_BYTES: usize = 8 << 20;

/// The memory of a name in addition to its text.
const STRING_BYTES: usize = size_of::<String>();

/// The maximum number of values with class names.
const MAX_VALUES: usize = 1000;

/// The beginning of the attributes with names: `classlabels_strings`, `classlabels_ints` and
/// `classlabels_int64s`.
const ATTRIBUTE: &str = "classlabels_";

/// The operators whose second output has a column for each class.
const CLASSIFIERS: [&str; 3] = [
    "LinearClassifier",
    "SVMClassifier",
    "TreeEnsembleClassifier",
];

/// The attribute of support vectors that return probabilities.
const PROBABILITIES: &str = "prob_a";

/// The operators whose first output has the columns of their first input.
const COLUMNWISE: [&str; 4] = ["Cast", "Identity", "Normalizer", "Softmax"];

/// A node, as far as it concerns class names.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) operator: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    names: Names,
    has_probabilities: bool,
}

/// A list of names. It is incomplete if it would take too much memory.
#[derive(Debug, Default)]
struct Names {
    list: Vec<String>,
    bytes: usize,
}

/// The class names of the values of a graph.
#[derive(Debug, Default)]
pub(super) struct ClassNames {
    lists: Vec<Vec<String>>,
    /// The memory of the lists.
    bytes: usize,
    /// The positions of the lists, by value.
    values: BTreeMap<String, usize>,
}

// === impl Node ===

impl Node {
    /// Begins an attribute of this name, and returns whether it contains class names.
    pub(super) fn begin_attribute(&mut self, name: &str) -> bool {
        self.has_probabilities |= name == PROBABILITIES;
        (self.operator == "ZipMap" || self.is_classifier()) && name.starts_with(ATTRIBUTE)
    }

    /// Adds the name of the next class.
    pub(super) fn push_name(&mut self, name: String) {
        let Names { list, bytes } = &mut self.names;
        *bytes = bytes.saturating_add(name.len() + STRING_BYTES);
        if *bytes <= MAX_BYTES {
            list.push(name);
        }
    }

    /// Returns whether the list of names is not too long yet.
    pub(super) fn has_room(&self) -> bool {
        self.names.bytes <= MAX_BYTES
    }

    /// Returns whether the outputs are labels and scores.
    fn is_classifier(&self) -> bool {
        CLASSIFIERS.contains(&self.operator.as_str())
    }

    /// Returns whether the columns are pairs of classes.
    fn has_pairs(&self) -> bool {
        self.operator == "SVMClassifier" && !self.has_probabilities
    }
}

// === impl ClassNames ===

impl ClassNames {
    /// Adds the names of the outputs of a node. Nodes are added in the order of the file.
    pub(super) fn add(&mut self, node: Node) {
        let output = usize::from(node.is_classifier());
        let Some(output) = node.outputs.get(output).cloned() else {
            return;
        };
        let is_columnwise = COLUMNWISE.contains(&node.operator.as_str());
        let list = match node.names.list.is_empty() {
            true if is_columnwise || node.operator == "ZipMap" => {
                let input = node.inputs.first();
                input.and_then(|input| self.values.get(input).copied())
            }
            true => None,
            false if node.has_pairs() => None,
            false => self.add_list(node.names),
        };
        if let Some(list) = list
            && self.values.len() < MAX_VALUES
        {
            self.values.insert(output, list);
        }
    }

    /// Returns the position of a new list, unless its names are positions or too long.
    fn add_list(&mut self, names: Names) -> Option<usize> {
        let Names { list, bytes } = names;
        let mut numbered = list.iter().enumerate();
        let bytes = self.bytes.saturating_add(bytes);
        if bytes > MAX_BYTES || numbered.all(|(class, name)| *name == class.to_string()) {
            return None;
        }
        self.bytes = bytes;
        self.lists.push(list);
        Some(self.lists.len() - 1)
    }

    /// Returns the names of the classes of these values, by value.
    pub(super) fn of_outputs(&self, outputs: &[String]) -> BTreeMap<String, Vec<String>> {
        let mut bytes = 0_usize;
        let mut found = BTreeMap::new();
        for output in outputs {
            let list = self
                .values
                .get(output)
                .and_then(|&list| self.lists.get(list));
            let Some(list) = list else {
                continue;
            };
            let sizes = list.iter().map(|name| name.len() + STRING_BYTES);
            bytes = sizes.fold(bytes, usize::saturating_add);
            // Many outputs may share one long list.
            if bytes <= MAX_BYTES {
                found.insert(output.clone(), list.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        Node {
            operator: operator.to_owned(),
            inputs: inputs.iter().map(ToString::to_string).collect(),
            outputs: outputs.iter().map(ToString::to_string).collect(),
            names: Names::default(),
            has_probabilities: false,
        }
    }

    fn named(mut node: Node, names: &[&str]) -> Node {
        for name in names {
            node.push_name(name.to_string());
        }
        node
    }

    /// Returns the names of outputs `p` and `q` of a graph with these nodes.
    fn names(nodes: Vec<Node>) -> BTreeMap<String, Vec<String>> {
        let mut names = ClassNames::default();
        nodes.into_iter().for_each(|node| names.add(node));
        names.of_outputs(&["p".to_owned(), "q".to_owned()])
    }

    #[test]
    fn the_keys_of_maps_and_the_labels_of_classifiers_are_names() {
        let classifier = || node("LinearClassifier", &["x"], &["label", "scores"]);
        let labels = ["setosa", "virginica"];
        let keyed = names(vec![
            classifier(),
            node("Normalizer", &["scores"], &["normal"]),
            named(node("ZipMap", &["normal"], &["p"]), &labels),
        ]);
        assert_eq!(keyed["p"], labels);
        let labelled = names(vec![
            named(classifier(), &labels),
            node("Normalizer", &["scores"], &["p"]),
            node("Cast", &["label"], &["q"]),
        ]);
        assert_eq!(labelled.len(), 1);
        assert_eq!(labelled["p"], labels);
        // Another operator may change the columns.
        let mixed = names(vec![
            named(classifier(), &labels),
            node("MatMul", &["scores"], &["p"]),
        ]);
        assert!(mixed.is_empty());
    }

    #[test]
    fn the_scores_of_support_vectors_have_names_if_they_are_probabilities() {
        let mut vectors = named(
            node("SVMClassifier", &["x"], &["label", "p"]),
            &["a", "b", "c"],
        );
        assert!(vectors.begin_attribute("classlabels_strings"));
        let mut without = ClassNames::default();
        without.add(named(
            node("SVMClassifier", &["x"], &["label", "p"]),
            &["a", "b", "c"],
        ));
        assert!(without.of_outputs(&["p".to_owned()]).is_empty());
        assert!(!vectors.begin_attribute("prob_a"));
        assert_eq!(names(vec![vectors])["p"], ["a", "b", "c"]);
    }

    #[test]
    fn positions_are_not_names() {
        let zip = |keys: &[&str]| names(vec![named(node("ZipMap", &["s"], &["p"]), keys)]);
        assert!(zip(&["0", "1", "2"]).is_empty());
        assert_eq!(zip(&["3", "5"])["p"], ["3", "5"]);
        assert!(zip(&[]).is_empty());
    }

    #[test]
    fn the_memory_of_names_is_limited() {
        let long = "n".repeat(4096);
        let many = vec![long.as_str(); 3000];
        let zip = |input: &str, output: &str| named(node("ZipMap", &[input], &[output]), &many);
        assert!(!zip("s", "p").has_room());
        assert!(names(vec![zip("s", "p")]).is_empty());
        let many = &many[..1500];
        let shared = vec![
            named(node("ZipMap", &["s"], &["p"]), many),
            node("Identity", &["p"], &["q"]),
        ];
        assert_eq!(names(shared).len(), 1);
    }
}
