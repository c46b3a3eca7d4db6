//! The list of digests that `sha256sum` writes.
//!
//! A line is 64 hexadecimal digits, two spaces (or a space and `*`), and a path. Names that sha256sum would escape are
//! refused: no file of a model has one.

use std::collections::BTreeMap;

/// The number of hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// The digests of files, by path.
#[derive(Debug)]
pub(super) struct Checksums(BTreeMap<String, [u8; 32]>);

impl Checksums {
    /// Parses the text of a list. The error is the number of the first line that is invalid, or names a file again.
    pub(super) fn parse(text: &str) -> Result<Checksums, usize> {
        let mut digests = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let number = index.saturating_add(1);
            let (digest, path) = entry(line).ok_or(number)?;
            let path = path.strip_prefix("./").unwrap_or(path);
            if digests.insert(path.to_owned(), digest).is_some() {
                return Err(number);
            }
        }
        Ok(Checksums(digests))
    }

    /// Returns the digest of a file.
    pub(super) fn digest(&self, path: &str) -> Option<[u8; 32]> {
        self.0.get(path).copied()
    }

    /// Returns the listed files without which a version is another one: those in its directory, and the settings of its
    /// model.
    pub(super) fn of_version<'a>(
        &'a self,
        model: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(move |path| {
            let Some((first, rest)) = path.split_once('/') else {
                return false;
            };
            let is_of_version = rest.split_once('/').is_some_and(|(number, file)| {
                number == version && !matches!(file, "SHA256SUMS" | "SHA256SUMS.minisig")
            });
            let is_setting = matches!(rest, "model.toml" | "config.pbtxt" | "baseline.json");
            first == model && (is_of_version || is_setting)
        })
    }
}

/// Parses one line.
fn entry(line: &str) -> Option<([u8; 32], &str)> {
    let (digits, rest) = line.split_at_checked(DIGITS)?;
    let path = rest
        .strip_prefix("  ")
        .or_else(|| rest.strip_prefix(" *"))?;
    let is_plain = !path.is_empty() && !path.contains(|c: char| c.is_control() || c == '\\');
    Some((digest(digits)?, path)).filter(|_| is_plain)
}

fn digest(digits: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
        // A sign would be accepted before the digits.
        let text = str::from_utf8(pair).ok()?;
        let is_hexadecimal = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(text, 16)
            .ok()
            .filter(|_| is_hexadecimal)?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sha256sum_are_read() {
        let (one, two) = ("01".repeat(32), "aB".repeat(32));
        let text = format!("{one}  m/1/model.onnx\n{two} *./m/model.toml\n");
        let checksums = Checksums::parse(&text).unwrap();
        assert_eq!(checksums.digest("m/1/model.onnx"), Some([1; 32]));
        assert_eq!(checksums.digest("m/model.toml"), Some([0xab; 32]));
        assert_eq!(checksums.digest("./m/model.toml"), None);
    }

    #[test]
    fn other_lines_and_repeated_files_are_refused_by_their_number() {
        let digest = "01".repeat(32);
        for line in [
            String::new(),
            digest.clone(),
            format!("{digest} one-space"),
            format!("{digest}  "),
            format!("{digest}  a\\b"),
            format!("{digest}  a\u{7}b"),
            format!("\\{digest}  a"),
            format!("+1{}  a", &digest[2..]),
            format!("{}  short", &digest[2..]),
            format!("{}\u{e9}  a", &digest[1..]),
            format!("{digest}  first"),
        ] {
            let text = format!("{digest}  first\n{line}\n");
            assert_eq!(Checksums::parse(&text).err(), Some(2), "{line:?}");
        }
    }

    #[test]
    fn a_version_consists_of_its_listed_files_and_the_settings() {
        let digest = "01".repeat(32);
        let files = [
            "m/1/model.onnx",
            "m/1/SHA256SUMS",
            "m/10/model.onnx",
            "m/README.md",
            "m/model.toml",
            "n/1/model.onnx",
        ];
        let lines: Vec<String> = files
            .iter()
            .map(|file| format!("{digest}  {file}"))
            .collect();
        let checksums = Checksums::parse(&lines.join("\n")).unwrap();
        let listed: Vec<&str> = checksums.of_version("m", "1").collect();
        assert_eq!(listed, ["m/1/model.onnx", "m/model.toml"]);
    }
}
