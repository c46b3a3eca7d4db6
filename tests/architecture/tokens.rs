//! The tokens of Rust code that matter for its paths.

/// A part of a line of code. Comments, literals and lifetimes have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    /// `::`
    Path,
    Symbol(char),
}

/// Returns the tokens of these lines.
pub(super) fn tokens<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Token> {
    let text: Vec<&str> = lines.collect();
    let text: Vec<char> = text.join("\n").chars().collect();
    let mut tokens = Vec::new();
    let mut rest = text.as_slice();
    while let Some((&first, after)) = rest.split_first() {
        rest = match (first, after) {
            ('/', ['/', ..]) => after_line(after),
            ('r', ['"' | '#', ..]) if is_raw_string(after) => after_raw_string(after),
            ('"', _) => after_string(after),
            ('\'', _) => after_quote(after),
            (':', [':', after @ ..]) => {
                tokens.push(Token::Path);
                after
            }
            (c, _) if c.is_alphanumeric() || c == '_' => {
                let end = rest.iter().position(|c| !c.is_alphanumeric() && *c != '_');
                let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
                tokens.push(Token::Name(name.iter().collect()));
                after
            }
            (c, _) if c.is_whitespace() => after,
            (c, _) => {
                tokens.push(Token::Symbol(c));
                after
            }
        };
    }
    tokens
}

fn after_line(text: &[char]) -> &[char] {
    let end = text.iter().position(|c| *c == '\n');
    &text[end.unwrap_or(text.len())..]
}

fn after_string(text: &[char]) -> &[char] {
    let mut rest = text;
    loop {
        rest = match rest {
            ['\\', _, after @ ..] => after,
            ['"', after @ ..] => return after,
            [_, after @ ..] => after,
            [] => return rest,
        }
    }
}

fn is_raw_string(text: &[char]) -> bool {
    text.iter().find(|c| **c != '#') == Some(&'"')
}

fn after_raw_string(text: &[char]) -> &[char] {
    let hashes = text.iter().take_while(|c| **c == '#').count();
    let end: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let content = &text[hashes + 1..];
    let length = content
        .windows(end.len())
        .position(|window| window == end.as_slice());
    length.map_or(&[], |length| &content[length + end.len()..])
}

/// Returns the text after a character literal, or after the quote of a lifetime.
fn after_quote(text: &[char]) -> &[char] {
    match text {
        ['\\', _, after @ ..] => {
            let end = after.iter().position(|c| *c == '\'');
            end.map_or(&[], |end| &after[end + 1..])
        }
        [_, '\'', after @ ..] => after,
        _ => text,
    }
}

#[test]
fn comments_literals_and_lifetimes_have_no_tokens() {
    let code = r##"a::b('x', '\'', "c::d", r#"e"::f"#, &'g h); // i::j"##;
    let names = tokens(code.lines())
        .into_iter()
        .filter_map(|token| match token {
            Token::Name(name) => Some(name),
            Token::Path | Token::Symbol(_) => None,
        });
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "g", "h"]);
}
