//! The normalization of single characters: removes control characters, case and accents, and separates
//! ideographs and punctuation.

include!(concat!(env!("OUT_DIR"), "/characters.rs"));

/// The result of normalizing a character, for characters that are not replaced by others.
#[derive(Clone, Copy)]
enum Fate {
    Removed,
    Separator,
    Isolated,
}

/// Passes the normalized form of a character to `push`, with a space at each word boundary.
pub(super) fn normalise(character: char, mut push: impl FnMut(char)) {
    match character {
        '\t' | '\n' | '\r' | ' ' => push(' '),
        '\0'..='\u{1f}' | '\u{7f}' => {}
        'A'..='Z' => push(character.to_ascii_lowercase()),
        _ if character.is_ascii_punctuation() => [' ', character, ' '].into_iter().for_each(push),
        '\0'..='\u{7f}' => push(character),
        '\u{ac00}'..='\u{d7a3}' => decompose_hangul(character, push),
        _ => match fate(character) {
            Some(Fate::Removed) => {}
            Some(Fate::Separator) => push(' '),
            Some(Fate::Isolated) => [' ', character, ' '].into_iter().for_each(push),
            None => match replacement(character) {
                Some(text) => text.chars().for_each(push),
                None => push(character),
            },
        },
    }
}

fn fate(character: char) -> Option<Fate> {
    let code = u32::from(character);
    let index = RANGES.partition_point(|(_, last, _)| *last < code);
    RANGES
        .get(index)
        .filter(|(first, ..)| *first <= code)
        .map(|(.., fate)| *fate)
}

fn replacement(character: char) -> Option<&'static str> {
    let index = REPLACED.binary_search(&u32::from(character)).ok()?;
    let start = index.checked_sub(1).map_or(0, |before| ENDS[before]);
    TEXT.get(usize::from(start)..usize::from(ENDS[index]))
}

/// Decomposes a syllable into its two or three letters, by the rule of the Unicode standard, section
/// 3.12.
fn decompose_hangul(syllable: char, push: impl FnMut(char)) {
    const VOWELS: u32 = 21;
    const TAILS: u32 = 28;
    let index = u32::from(syllable) - 0xac00;
    let lead = 0x1100 + index / (VOWELS * TAILS);
    let vowel = 0x1161 + index % (VOWELS * TAILS) / TAILS;
    let tail = Some(0x11a7 + index % TAILS).filter(|tail| *tail != 0x11a7);
    [Some(lead), Some(vowel), tail]
        .into_iter()
        .flatten()
        .filter_map(char::from_u32)
        .for_each(push);
}
