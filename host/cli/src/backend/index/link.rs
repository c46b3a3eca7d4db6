//! Resolves the links of a page (RFC 3986, reduced to http and https), and formats URLs for messages.

/// The parts of a URL. `path` is everything after the authority: it begins with `/`, `?` or `#`, or is
/// empty.
#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
}

/// Resolves `link` relative to the page at `page`. Returns `None` unless the result is an http or https
/// URL.
///
/// The credentials in the page's URL are also used for its files, on the same server only.
pub(in super::super) fn resolve(page: &str, link: &str) -> Option<String> {
    let base = parts(page)?;
    let link = link.split('#').next().unwrap_or_default();
    if let Some(absolute) = parts(link) {
        let authority = with_credentials(&base, &absolute);
        return Some(format!(
            "{}://{authority}{}",
            absolute.scheme, absolute.path
        ));
    }
    if let Some(rest) = link.strip_prefix("//") {
        return resolve(page, &format!("{}://{rest}", base.scheme));
    }
    if link.is_empty() || has_scheme(link) {
        return None;
    }
    let (path, query) = split_query(link);
    let path = if path.starts_with('/') {
        without_dots(path)
    } else {
        let (page, _) = split_query(base.path);
        let directory = page.rsplit_once('/').map_or("", |(directory, _)| directory);
        without_dots(&format!("{directory}/{path}"))
    };
    Some(format!("{}://{}{path}{query}", base.scheme, base.authority))
}

/// Returns a URL without the user name and the password that it may contain.
pub(in super::super) fn shown(url: &str) -> String {
    match parts(url) {
        Some(parts) => {
            let server = server(parts.authority);
            format!("{}://{server}{}", parts.scheme, parts.path)
        }
        None => url.to_owned(),
    }
}

/// Returns the last segment of a link's path.
pub(super) fn file_name(link: &str) -> &str {
    let link = link.split(['#', '?']).next().unwrap_or_default();
    link.rsplit('/').next().unwrap_or_default()
}

fn parts(url: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    (!server(authority).is_empty()).then_some(Parts {
        scheme,
        authority,
        path,
    })
}

fn has_scheme(link: &str) -> bool {
    let colon = link.find(':');
    colon.is_some_and(|colon| !link[..colon].contains(['/', '?']))
}

fn server(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, server)| server)
}

fn with_credentials<'a>(page: &Parts<'a>, link: &Parts<'a>) -> &'a str {
    let same = page.scheme == link.scheme && server(page.authority) == link.authority;
    if same { page.authority } else { link.authority }
}

fn split_query(path: &str) -> (&str, &str) {
    path.split_at(path.find('?').unwrap_or(path.len()))
}

/// Returns the path with `.` and `..` resolved; `..` at the root has no effect.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // A path that ends in a dot segment names a directory, which is written with a trailing
                // slash.
                if segments.peek().is_none() {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_where_a_browser_would_go() {
        let page = "https://mirror.example:8443/root/simple/onnxruntime/?x=/y";
        for (link, expected) in [
            (
                "a.whl",
                "https://mirror.example:8443/root/simple/onnxruntime/a.whl",
            ),
            (
                "./a.whl#sha256=00",
                "https://mirror.example:8443/root/simple/onnxruntime/a.whl",
            ),
            (
                "../../f/a.whl?k=../v",
                "https://mirror.example:8443/root/f/a.whl?k=../v",
            ),
            ("../../../../../a.whl", "https://mirror.example:8443/a.whl"),
            ("/f/./b/../a.whl", "https://mirror.example:8443/f/a.whl"),
            ("//files.example/a.whl", "https://files.example/a.whl"),
            ("http://files.example/a.whl", "http://files.example/a.whl"),
            (
                "a/b:c.whl",
                "https://mirror.example:8443/root/simple/onnxruntime/a/b:c.whl",
            ),
            ("..", "https://mirror.example:8443/root/simple/"),
        ] {
            assert_eq!(resolve(page, link).as_deref(), Some(expected), "{link}");
        }
        for link in [
            "",
            "#top",
            "ftp://files.example/a.whl",
            "file:///etc/passwd",
            "data:,x",
            "https://",
        ] {
            assert_eq!(resolve(page, link), None, "{link}");
        }
    }

    #[test]
    fn credentials_stay_on_their_server_and_are_not_shown() {
        let page = "https://me:secret@mirror.example/simple/a/";
        for (link, expected) in [
            ("a.whl", "https://me:secret@mirror.example/simple/a/a.whl"),
            (
                "https://mirror.example/a.whl",
                "https://me:secret@mirror.example/a.whl",
            ),
            ("http://mirror.example/a.whl", "http://mirror.example/a.whl"),
            ("https://files.example/a.whl", "https://files.example/a.whl"),
            (
                "//mirror.example:8443/a.whl",
                "https://mirror.example:8443/a.whl",
            ),
        ] {
            assert_eq!(resolve(page, link).as_deref(), Some(expected), "{link}");
        }
        assert_eq!(shown(page), "https://mirror.example/simple/a/");
        assert_eq!(shown("https://mirror.example"), "https://mirror.example");
    }

    #[test]
    fn a_file_has_the_name_at_the_end_of_its_path() {
        for link in ["a.whl", "../x/a.whl#sha256=0/1", "https://h/a.whl?x=/y"] {
            assert_eq!(file_name(link), "a.whl", "{link}");
        }
    }
}
