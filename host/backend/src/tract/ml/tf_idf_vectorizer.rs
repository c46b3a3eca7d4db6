//! `TfIdfVectorizer`: counts the n-grams of a pool in each row of words or of numbers.

use super::attribute;
use super::operator::{Built, Fact, Kernel, built, elements, filled};
use std::collections::HashMap;
use std::hash::Hash;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, ToDim, TractResult, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

struct TfIdfVectorizer {
    pool: Pool,
    /// The sizes of n-grams that are counted.
    sizes: (usize, usize),
    /// The largest distance between two items of an n-gram.
    max_distance: usize,
    mode: Mode,
    /// The number of columns of the output.
    width: usize,
}

enum Pool {
    Ints(Trie<i64>),
    Strings(Trie<String>),
}

#[derive(Clone, Copy)]
enum Mode {
    /// The number of occurrences.
    Count,
    /// The weight of those that occur.
    Weight,
    /// The weight times the number of occurrences.
    WeightedCount,
}

/// N-grams as paths from the first node, item by item.
struct Trie<K> {
    nodes: Vec<Node<K>>,
}

struct Node<K> {
    next: HashMap<K, usize>,
    /// The n-gram that ends here, if it is one of the pool.
    gram: Option<Gram>,
}

/// The column and the weight of an n-gram.
#[derive(Clone, Copy)]
struct Gram {
    column: usize,
    weight: f32,
}

/// The maximum number of columns. A larger number comes from a damaged file and is not allocated.
const MAX_COLUMNS: usize = 1 << 24;

/// The maximum number of items that an n-gram skips. Each of them takes one more pass over every row.
const MAX_SKIPS: usize = 64;

pub(super) fn build(_context: &ParsingContext, node: &NodeProto) -> Built {
    let mode = match node.get_attr::<String>("mode")?.as_str() {
        "TF" => Mode::Count,
        "IDF" => Mode::Weight,
        "TFIDF" => Mode::WeightedCount,
        other => return node.bail_attr("mode", &format!("cannot be {other}")),
    };
    let sizes: (usize, usize) = (
        node.get_attr("min_gram_length")?,
        node.get_attr("max_gram_length")?,
    );
    node.expect_attr(
        "min_gram_length",
        sizes.0 >= 1 && sizes.0 <= sizes.1,
        "1 or more",
    )?;
    let skips: usize = node.get_attr("max_skip_count")?;
    node.expect_attr("max_skip_count", skips <= MAX_SKIPS, "fewer skips")?;
    let grams = grams(node)?;
    let width = grams.iter().map(|gram| gram.column + 1).max().unwrap_or(0);
    node.expect_attr("ngram_indexes", width <= MAX_COLUMNS, "fewer columns")?;
    let starts: Vec<usize> = node.get_attr_vec("ngram_counts")?;
    let strings = attribute::strings(node, "pool_strings")?;
    let ints = attribute::ints(node, "pool_int64s")?;
    let pool = match (strings.is_empty(), ints.is_empty()) {
        (false, true) => Pool::Strings(Trie::of(&strings, &starts, &grams)?),
        (true, false) => Pool::Ints(Trie::of(&ints, &starts, &grams)?),
        _ => return node.bail("expected a pool in exactly one of pool_strings, pool_int64s"),
    };
    let vectorizer = TfIdfVectorizer {
        pool,
        sizes,
        max_distance: skips + 1,
        mode,
        width,
    };
    built(node, vectorizer)
}

/// Returns the n-grams in the order of the pool.
fn grams(node: &NodeProto) -> TractResult<Vec<Gram>> {
    let columns: Vec<usize> = node.get_attr_vec("ngram_indexes")?;
    node.expect_attr(
        "ngram_indexes",
        columns.iter().all(|&column| column < MAX_COLUMNS),
        "fewer columns",
    )?;
    let mut weights = attribute::floats(node, "weights")?;
    if weights.is_empty() {
        weights = vec![1.0; columns.len()];
    }
    attribute::expect_length(node, "weights", weights.len(), columns.len())?;
    let grams = columns.into_iter().zip(weights);
    Ok(grams
        .map(|(column, weight)| Gram { column, weight })
        .collect())
}

impl<K: Hash + Eq + Clone> Trie<K> {
    /// Returns the n-grams in `pool`, in which those of n items begin at `starts[n - 1]`.
    fn of(pool: &[K], starts: &[usize], grams: &[Gram]) -> TractResult<Trie<K>> {
        let mut trie = Trie {
            nodes: vec![Node::default()],
        };
        let ends = starts.iter().skip(1).copied().chain([pool.len()]);
        let mut grams = grams.iter();
        for (size, (&start, end)) in (1..).zip(starts.iter().zip(ends)) {
            let Some(items) = pool.get(start..end) else {
                bail!("TfIdfVectorizer has invalid ngram_counts");
            };
            ensure!(
                items.len().is_multiple_of(size),
                "TfIdfVectorizer has {} items for {size}-grams in its pool",
                items.len()
            );
            for items in items.chunks_exact(size) {
                let Some(gram) = grams.next() else {
                    bail!("TfIdfVectorizer has more n-grams than ngram_indexes");
                };
                let node = trie.insert(items);
                ensure!(
                    trie.nodes[node].gram.replace(*gram).is_none(),
                    "TfIdfVectorizer has an n-gram twice in its pool"
                );
            }
        }
        ensure!(
            grams.next().is_none(),
            "TfIdfVectorizer has fewer n-grams than ngram_indexes"
        );
        Ok(trie)
    }

    /// Returns the node at the end of the path of these items.
    fn insert(&mut self, items: &[K]) -> usize {
        let mut node = 0;
        for item in items {
            let new = self.nodes.len();
            node = *self.nodes[node].next.entry(item.clone()).or_insert(new);
            if node == new {
                self.nodes.push(Node::default());
            }
        }
        node
    }
}

impl<K> Default for Node<K> {
    fn default() -> Node<K> {
        Node {
            next: HashMap::new(),
            gram: None,
        }
    }
}

impl TfIdfVectorizer {
    /// Writes the values of each row.
    fn count<K: Hash + Eq>(&self, trie: &Trie<K>, items: &[K], output: &mut [f32]) {
        let rows = output.len() / self.width.max(1);
        let length = items.len() / rows.max(1);
        for (row, output) in output.chunks_exact_mut(self.width.max(1)).enumerate() {
            let items = &items[row * length..][..length];
            for distance in 1..=self.max_distance.min(length.max(1)) {
                for start in 0..length {
                    self.count_from(trie, &items[start..], (distance, output));
                }
            }
        }
    }

    /// Adds the n-grams that begin with the first item, with one item in every `distance`.
    fn count_from<K: Hash + Eq>(
        &self,
        trie: &Trie<K>,
        items: &[K],
        (distance, output): (usize, &mut [f32]),
    ) {
        let (min_size, max_size) = self.sizes;
        let mut node = 0;
        for (size, item) in (1..=max_size).zip(items.iter().step_by(distance)) {
            let Some(&next) = trie.nodes[node].next.get(item) else {
                return;
            };
            node = next;
            // Single items have no distance and are counted once.
            let is_counted = size >= min_size && (size > 1 || distance == 1);
            if let Some(Gram { column, weight }) = trie.nodes[node].gram
                && is_counted
            {
                match self.mode {
                    Mode::Count => output[column] += 1.0,
                    Mode::Weight => output[column] = weight,
                    Mode::WeightedCount => output[column] += weight,
                }
            }
        }
    }
}

impl Kernel for TfIdfVectorizer {
    fn name(&self) -> &'static str {
        "TfIdfVectorizer"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("TfIdfVectorizer takes one input");
        };
        let fits = match self.pool {
            Pool::Ints(_) => matches!(
                datum_type,
                DatumType::I32 | DatumType::I64 | DatumType::TDim
            ),
            Pool::Strings(_) => *datum_type == DatumType::String,
        };
        ensure!(
            fits,
            "TfIdfVectorizer has a pool of another type than its input, {datum_type:?}"
        );
        let Some((_, rows)) = shape.split_last() else {
            bail!("TfIdfVectorizer takes rows of items");
        };
        ensure!(
            rows.len() <= 1,
            "TfIdfVectorizer takes one or two dimensions, got {}",
            shape.len()
        );
        let shape = rows.iter().cloned().chain([self.width.to_dim()]);
        Ok(tvec![(DatumType::F32, shape.collect())])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let input = &inputs[0];
        let shape: TVec<usize> = match input.shape() {
            [rows, _] => tvec![*rows, self.width],
            _ => tvec![self.width],
        };
        let output = filled(&shape, |output: &mut [f32]| {
            match &self.pool {
                Pool::Ints(trie) => {
                    let items = input.cast_to::<i64>()?;
                    self.count(trie, elements::<i64>(&items)?, output);
                }
                Pool::Strings(trie) => self.count(trie, elements::<String>(input)?, output),
            }
            Ok(())
        })?;
        Ok(tvec![output])
    }
}
