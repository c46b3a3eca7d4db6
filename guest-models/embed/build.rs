//! Generates the tokenizer's tables of characters as static data, so that the component does not contain
//! the crates which they are computed with.
//!
//! `characters.rs` contains the result of BERT's uncased normalization and splitting for every character
//! beyond ASCII, computed with the crates that HuggingFace `tokenizers` uses.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};
use unicode_categories::UnicodeCategories as _;
use unicode_normalization_alignments::UnicodeNormalization as _;
use unicode_normalization_alignments::char::canonical_combining_class;

/// The result of normalizing a character, for characters that are not replaced by others.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Removed,
    Separator,
    Isolated,
}

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["build.rs", "vocab.txt"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let vocabulary = fs::read_to_string("vocab.txt")?;
    fs::write(out.join("characters.rs"), character_tables(&vocabulary)?)?;
    Ok(())
}

fn character_tables(vocabulary: &str) -> Result<String, Box<dyn Error>> {
    let known: BTreeSet<char> = vocabulary.chars().collect();
    let mut ranges: Vec<(u32, u32, Fate)> = Vec::new();
    let (mut replaced, mut ends, mut text) = (Vec::new(), Vec::new(), String::new());
    for character in ('\u{80}'..=char::MAX).filter(|character| !is_hangul(*character)) {
        let result = normalise(character);
        // Canonical ordering is not applied at run time. It matters only for marks that are kept, and
        // a word with a mark outside the vocabulary is unknown in any order.
        if result
            .chars()
            .any(|kept| canonical_combining_class(kept) != 0 && known.contains(&kept))
        {
            return Err(format!("the order of {character:?} matters").into());
        }
        let code = u32::from(character);
        let fate = match result.as_str() {
            "" => Fate::Removed,
            " " => Fate::Separator,
            isolated if isolated == format!(" {character} ") => Fate::Isolated,
            same if same == character.to_string() => continue,
            other => {
                text.push_str(other);
                replaced.push(code);
                ends.push(u16::try_from(text.len())?);
                continue;
            }
        };
        match ranges.last_mut() {
            Some((_, last, known)) if *known == fate && *last + 1 == code => *last = code,
            _ => ranges.push((code, code, fate)),
        }
    }
    let mut source = format!("static RANGES: [(u32, u32, Fate); {}] = [", ranges.len());
    for (first, last, fate) in ranges {
        write!(source, "({first}, {last}, Fate::{fate:?}),")?;
    }
    write!(
        source,
        "];\n\
         static REPLACED: [u32; {0}] = {replaced:?};\n\
         static ENDS: [u16; {0}] = {ends:?};\n\
         static TEXT: &str = {text:?};\n",
        replaced.len(),
    )?;
    Ok(source)
}

/// Returns whether the character is a Hangul syllable. Their decompositions follow a rule, which the
/// tokenizer implements.
fn is_hangul(character: char) -> bool {
    ('\u{ac00}'..='\u{d7a3}').contains(&character)
}

/// Returns the normalized form of a character, with a space at each word boundary.
fn normalise(character: char) -> String {
    // In the order of BertNormalizer: clean, separate ideographs, strip accents, lower-case; followed
    // by BertPreTokenizer.
    if character == '\u{fffd}' || is_control(character) {
        return String::new();
    }
    if character.is_whitespace() {
        return " ".into();
    }
    let spaced = if is_ideograph(character) {
        format!(" {character} ")
    } else {
        character.to_string()
    };
    let stripped = spaced
        .nfd()
        .map(|(part, _)| part)
        .filter(|part| !part.is_mark_nonspacing());
    let lowered = stripped.flat_map(char::to_lowercase);
    let mut result = String::new();
    for part in lowered {
        match part {
            part if part.is_whitespace() => result.push(' '),
            part if part.is_ascii_punctuation() || part.is_punctuation() => {
                result.extend([' ', part, ' ']);
            }
            part => result.push(part),
        }
    }
    result
}

fn is_control(character: char) -> bool {
    !matches!(character, '\t' | '\n' | '\r') && character.is_other()
}

fn is_ideograph(character: char) -> bool {
    matches!(u32::from(character),
        0x4e00..=0x9fff
        | 0x3400..=0x4dbf
        | 0x20000..=0x2a6df
        | 0x2a700..=0x2b73f
        | 0x2b740..=0x2b81f
        | 0x2b920..=0x2ceaf
        | 0xf900..=0xfaff
        | 0x2f800..=0x2fa1f)
}
