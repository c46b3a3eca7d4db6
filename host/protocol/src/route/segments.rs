//! The segments of a path, without an allocation for each request.

/// Splits a path into at most as many segments as there are `places`; the rest of a longer one stays joined in the last.
pub(super) fn split<'a, 'p, const N: usize>(
    path: &'p str,
    places: &'a mut [&'p str; N],
) -> &'a [&'p str] {
    let mut count = 0;
    for (place, segment) in places.iter_mut().zip(path.splitn(N, '/')) {
        *place = segment;
        count += 1;
    }
    places.get(..count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_longer_path_stays_joined() {
        for (path, segments) in [
            ("", &[""][..]),
            ("/a", &["", "a"]),
            ("/a/b", &["", "a", "b"]),
            ("/a/b/c/d", &["", "a", "b/c/d"]),
        ] {
            assert_eq!(split(path, &mut [""; 3]), segments, "{path}");
        }
    }
}
