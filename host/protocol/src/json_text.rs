//! The text of a body that is JSON.

use std::str::Utf8Error;

/// Returns the body as text, without the byte order mark that some programs write before it.
pub(crate) fn json_text(body: &[u8]) -> Result<&str, Utf8Error> {
    let text = str::from_utf8(body)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_order_mark_is_skipped() {
        for (body, expected) in [
            ("{}", "{}"),
            ("\u{feff}{}", "{}"),
            ("\u{feff}\u{feff}", "\u{feff}"),
            ("", ""),
        ] {
            assert_eq!(json_text(body.as_bytes()), Ok(expected));
        }
        assert!(json_text(b"\xff\xfe{").is_err());
    }
}
