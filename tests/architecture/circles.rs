//! The circles of imports in a crate: the strongly connected components of its files.

use std::collections::{BTreeMap, BTreeSet};

/// The files that import from each other, directly or through others of the same circle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Circle(BTreeSet<String>);

/// Returns the circles of more than one file, in order.
pub(super) fn circles(edges: &BTreeMap<&str, BTreeSet<&str>>) -> BTreeSet<Circle> {
    let reachable: BTreeMap<&str, BTreeSet<&str>> = edges
        .keys()
        .map(|file| (*file, reachable_from(file, edges)))
        .collect();
    let circles = reachable.iter().map(|(file, reached)| {
        let circle = reached.iter().filter(|other| {
            let back = reachable.get(*other);
            back.is_some_and(|back| back.contains(file))
        });
        Circle(circle.map(|file| (*file).to_owned()).collect())
    });
    circles.filter(|circle| circle.0.len() > 1).collect()
}

fn reachable_from<'a>(
    file: &str,
    edges: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = edges[file].iter().copied().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(&edges[next]);
        }
    }
    reached
}

impl Circle {
    /// Returns the imports that form the circle, one file on each line.
    pub(super) fn imports(&self, edges: &BTreeMap<&str, BTreeSet<&str>>) -> String {
        let lines = self.0.iter().map(|file| {
            let imported = edges[file.as_str()].iter();
            let imported: Vec<_> = imported
                .copied()
                .filter(|other| self.0.contains(*other))
                .collect();
            format!("    {file} -> {}\n", imported.join(", "))
        });
        lines.collect()
    }
}

#[test]
fn a_circle_contains_all_files_that_reach_each_other() {
    let edges = BTreeMap::from([
        ("a", BTreeSet::from(["b"])),
        ("b", BTreeSet::from(["c", "d"])),
        ("c", BTreeSet::from(["a"])),
        ("d", BTreeSet::from(["e"])),
        ("e", BTreeSet::new()),
    ]);
    let found: Vec<_> = circles(&edges)
        .iter()
        .map(|circle| circle.imports(&edges))
        .collect();
    assert_eq!(found, ["    a -> b\n    b -> c\n    c -> a\n"]);
}
