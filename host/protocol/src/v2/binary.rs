//! The bytes after the JSON: a section for each input that declares a size, in the order of the inputs.
//!
//! Invariant: every byte belongs to exactly one section, or the request is rejected.

use super::error::DecodeError;
use bytes::Bytes;

/// Splits `rest` into a slice for each declared size.
///
/// The sum of the sizes is checked before the first of them is used.
pub(super) fn split(
    mut rest: Bytes,
    sizes: &[Option<u64>],
) -> Result<Vec<Option<Bytes>>, DecodeError> {
    let actual = rest.len();
    // On overflow the sum saturates at a number that no body is as long as.
    let declared = sizes.iter().flatten().copied().fold(0, u64::saturating_add);
    if u64::try_from(actual) != Ok(declared) {
        return Err(DecodeError::BinaryLength { declared, actual });
    }
    let sections = sizes.iter().map(|size| {
        let size =
            usize::try_from((*size)?).expect("a summand of the body's length fits as it does");
        Some(rest.split_to(size))
    });
    Ok(sections.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_follow_one_another_and_share_the_body() {
        let body = Bytes::from_static(b"abcdef");
        let sections = split(body.clone(), &[Some(2), None, Some(0), Some(4)]).unwrap();
        let expected = [Some("ab"), None, Some(""), Some("cdef")];
        assert_eq!(sections, expected.map(|section| section.map(Bytes::from)));
        assert_eq!(sections[3].as_ref().unwrap().as_ptr(), body[2..].as_ptr());
    }

    #[test]
    fn sizes_that_do_not_add_up_to_the_body_are_rejected() {
        let body = Bytes::from_static(b"abcdef");
        let lies: [&[Option<u64>]; 5] = [
            &[],
            &[Some(5)],
            &[Some(7)],
            &[Some(u64::MAX), Some(7)],
            &[Some(u64::MAX), Some(u64::MAX)],
        ];
        for sizes in lies {
            assert!(split(body.clone(), sizes).is_err(), "{sizes:?}");
        }
    }
}
