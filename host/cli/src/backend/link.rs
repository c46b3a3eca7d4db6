//! Resolves the links of a page, and formats URLs for messages.

use url::Url;

/// Resolves `link` relative to the page at `page`. Returns `None` unless the result is an http or https
/// URL.
///
/// The credentials in the page's URL are also used for its files, on the same server only.
pub(super) fn resolve(page: &Url, link: &str) -> Option<Url> {
    let mut url = page.join(link).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    url.set_fragment(None);
    if url.origin() == page.origin() && url.username().is_empty() {
        url.set_username(page.username()).ok()?;
        url.set_password(page.password()).ok()?;
    }
    Some(url)
}

/// Returns a URL without the user name and the password that it may contain.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that have no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(page: &str, link: &str) -> anyhow::Result<Option<String>> {
        Ok(resolve(&page.parse()?, link).map(String::from))
    }

    #[test]
    fn links_are_relative_to_their_page() -> anyhow::Result<()> {
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
            ("/f/./b/../a.whl", "https://mirror.example:8443/f/a.whl"),
            ("//files.example/a.whl", "https://files.example/a.whl"),
            ("http://files.example/a.whl", "http://files.example/a.whl"),
        ] {
            assert_eq!(resolved(page, link)?.as_deref(), Some(expected), "{link}");
        }
        for link in [
            "ftp://files.example/a.whl",
            "file:///etc/passwd",
            "data:,x",
            "https://",
        ] {
            assert_eq!(resolved(page, link)?, None, "{link}");
        }
        Ok(())
    }

    #[test]
    fn credentials_stay_on_their_server_and_are_not_shown() -> anyhow::Result<()> {
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
            assert_eq!(resolved(page, link)?.as_deref(), Some(expected), "{link}");
        }
        assert_eq!(shown(&page.parse()?), "https://mirror.example/simple/a/");
        Ok(())
    }
}
