//! Extracts the links of an HTML page. Supports only the subset of HTML that package indexes produce.

/// Returns the targets of a page's anchors in order, with entities resolved.
pub(super) fn links(page: &str) -> impl Iterator<Item = String> {
    let mut rest = page;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find('<')?;
            rest = rest.get(start + 1..)?;
            if let Some(comment) = rest.strip_prefix("!--") {
                rest = comment.get(comment.find("-->")?..)?;
                continue;
            }
            let Some(attributes) = anchor(rest) else {
                continue;
            };
            let (href, after) = href(attributes);
            rest = after;
            if href.is_some() {
                return href;
            }
        }
    })
}

/// Returns the text after the tag name, if the tag is an anchor.
fn anchor(tag: &str) -> Option<&str> {
    let rest = tag.strip_prefix(['a', 'A'])?;
    rest.starts_with(|c: char| c.is_ascii_whitespace())
        .then_some(rest)
}

/// Returns the value of `href` among the attributes of a tag, and the text after the tag.
fn href(mut rest: &str) -> (Option<String>, &str) {
    let mut found = None;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return (found, after);
        }
        let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/');
        // An equals sign at the start of a name belongs to the name, so that each iteration makes
        // progress.
        let skipped = usize::from(rest.starts_with('='));
        let length = rest[skipped..].find(ends).map(|end| end + skipped);
        let Some((name, after)) = length.and_then(|length| rest.split_at_checked(length)) else {
            return (found, "");
        };
        let value = after.trim_start().strip_prefix('=');
        let Some(value) = value else {
            rest = after;
            continue;
        };
        let (value, after) = attribute_value(value.trim_start());
        if found.is_none() && name.eq_ignore_ascii_case("href") {
            found = Some(resolve_entities(value.trim()));
        }
        rest = after;
    }
}

fn attribute_value(rest: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(quoted) = rest.strip_prefix(quote) {
            return quoted.split_once(quote).unwrap_or((quoted, ""));
        }
    }
    let end = rest.find(|c: char| c.is_ascii_whitespace() || c == '>');
    rest.split_at(end.unwrap_or(rest.len()))
}

/// Replaces character references in the text; unknown ones stay unchanged.
fn resolve_entities(text: &str) -> String {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        resolved.push_str(before);
        let entity = after
            .split_once(';')
            .and_then(|(name, after)| Some((character(name)?, after)));
        rest = match entity {
            Some((character, after)) => {
                resolved.push(character);
                after
            }
            None => {
                resolved.push('&');
                after
            }
        };
    }
    resolved + rest
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_however_they_are_written() {
        let page = r#"
            <link href="style.css"><abbr href="x">
            <a href="one.whl#sha256=1">one</a><A  data-requires-python="&gt;=3.11"
               HREF = 'two.whl?a=1&amp;b=2' >two</A>
            <a href=three.whl>three</a> <a rel=x href=four.whl/>
            <!-- <a href="hidden.whl"> --><a name="top">
            <a data-yanked href="&#x66;i&#118;e.whl">five</a>
            <a title="a > b" href="six.whl">six</a>"#;
        let links: Vec<String> = links(page).collect();
        assert_eq!(
            links,
            [
                "one.whl#sha256=1",
                "two.whl?a=1&b=2",
                "three.whl",
                "four.whl/",
                "five.whl",
                "six.whl"
            ]
        );
    }

    #[test]
    fn broken_pages_end() {
        for page in [
            "",
            "<",
            "<a",
            "<a ",
            "<a href",
            "<a href=",
            "<a href='x",
            "<a =x>",
            "<a ==>",
            "<!--",
            "<a \u{e9}=\u{e9}",
            "<a / = />",
        ] {
            assert!(links(page).count() <= 1, "{page}");
        }
    }

    #[test]
    fn what_is_no_character_reference_stays() {
        for text in ["a&b", "&;", "&#;", "&#xd800;", "&nbsp;", "a&", "&#-1;"] {
            assert_eq!(resolve_entities(text), text);
        }
    }
}
