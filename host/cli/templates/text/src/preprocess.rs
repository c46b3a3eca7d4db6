//! Converts texts to counts of words, with the column of a word selected by its hash.

use wisp_handler::{Error, Request, Result, Tensor};

/// The columns of the graph's input. Words in the same column have the same effect.
pub(crate) const COLUMNS: usize = 512;

/// The maximum length of a text. Longer texts are rejected instead of being cut off.
const MAX_BYTES: usize = 64 << 10;

/// Returns the graph's input, [texts, 512].
pub(crate) fn counts(request: &Request) -> Result<Vec<Tensor>> {
    let texts = request.input("text")?.strings(&[-1])?;
    let mut counts = vec![0.0_f32; texts.len() * COLUMNS];
    for (index, (text, row)) in texts
        .iter()
        .zip(counts.chunks_exact_mut(COLUMNS))
        .enumerate()
    {
        if text.len() > MAX_BYTES {
            let length = text.len();
            return Err(Error::client(format_args!(
                "input `text` element {index} has {length} bytes, the limit is {MAX_BYTES}"
            )));
        }
        for word in words(text) {
            row[column(&word)] += 1.0;
        }
    }
    Ok(vec![Tensor::new(
        "counts",
        &[texts.len(), COLUMNS],
        &counts,
    )?])
}

/// Returns the runs of letters and digits, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|character: char| !character.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Returns the column of a word: its 32-bit FNV-1a hash, as in the script that created the model.
pub(crate) fn column(word: &str) -> usize {
    let hash = word.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash as usize % COLUMNS
}
