//! Tests of header negotiation, compression and decompression.

use super::*;
use crate::fixture::damaged;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

const CODINGS: [Coding; 2] = [Coding::Gzip, Coding::Deflate];

fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
    let values = values.iter().map(|value| value.parse().unwrap());
    values.map(|value| (name.clone(), value)).collect()
}

fn body(values: &[&str]) -> Result<Option<Coding>, ContentCodingError> {
    of_body(&headers(header::CONTENT_ENCODING, values))
}

fn accepted(value: &str) -> AcceptedCoding {
    AcceptedCoding::from_headers(&headers(header::ACCEPT_ENCODING, &[value]))
}

fn inflate(coding: Coding, compressed: &[u8], limit: usize) -> Result<Bytes, InflateError> {
    let mut inflater = Inflater::new(coding, Bytes::copy_from_slice(compressed), limit);
    while inflater.step()? == Progress::Started {}
    Ok(inflater.into_inflated())
}

fn compress(coding: Coding, plain: &[u8]) -> Bytes {
    coding.compress(&[Bytes::copy_from_slice(plain)])
}

#[test]
fn a_body_is_uncompressed_or_in_one_coding() {
    for values in [&[] as &[&str], &[""], &["identity"], &["Identity , ", ","]] {
        assert_eq!(body(values), Ok(None), "{values:?}");
    }
    for value in ["gzip", "GZIP", "x-gzip", "identity, gzip", " gzip,"] {
        assert_eq!(body(&[value]), Ok(Some(Coding::Gzip)), "{value}");
    }
    assert_eq!(body(&["Deflate"]), Ok(Some(Coding::Deflate)));
}

#[test]
fn unknown_and_multiple_codings_are_rejected() {
    for (values, shown) in [
        (&["br"] as &[&str], "`br`"),
        (&["zstd"], "`zstd`"),
        (&["gzip;q=1"], "`gzip;q=1`"),
        (&["gzip, gzip"], "`gzip, gzip`"),
        (&["identity", "br"], "`br`"),
        (&["deflate", "gzip"], "`deflate,gzip`"),
    ] {
        let error = body(values).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedEncoding, "{values:?}");
        assert!(error.to_string().contains(shown), "{error}");
    }
}

#[test]
fn the_weights_select_the_coding_of_a_response() {
    let (gzip, deflate) = (Some(Coding::Gzip), Some(Coding::Deflate));
    for (value, coding) in [
        ("", None),
        ("gzip", gzip),
        ("deflate", deflate),
        ("gzip, deflate, br, zstd", gzip),
        ("deflate, gzip", gzip),
        ("gzip;q=0.5, deflate;q=0.8", deflate),
        ("GZIP ; Q=0.001", gzip),
        ("gzip;q=0", None),
        ("gzip;q=0, deflate", deflate),
        ("br", None),
        ("*", gzip),
        ("*;q=0.1, gzip;q=0", deflate),
        ("identity", None),
        ("identity;q=0.5, gzip;q=1.0", gzip),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=nonsense", gzip),
        ("gzip;q=2", gzip),
        ("identity;q=0", None),
    ] {
        assert_eq!(accepted(value).for_body(1024), coding, "{value}");
    }
    let none = AcceptedCoding::from_headers(&HeaderMap::new());
    assert_eq!(none.for_body(1 << 20), None);
}

#[test]
fn small_responses_are_compressed_only_if_identity_is_refused() {
    for value in ["gzip", "gzip, identity;q=0.1", "*"] {
        assert_eq!(accepted(value).for_body(1023), None, "{value}");
    }
    for value in ["gzip, identity;q=0", "gzip, *;q=0"] {
        assert_eq!(accepted(value).for_body(1), Some(Coding::Gzip), "{value}");
    }
}

#[test]
fn a_body_up_to_the_limit_is_inflated_and_a_larger_one_is_rejected() {
    let plain = vec![7; 200_000];
    for coding in CODINGS {
        let compressed = compress(coding, &plain);
        let inflated = inflate(coding, &compressed, plain.len());
        assert_eq!(inflated, Ok(Bytes::from(plain.clone())));
        let limit = plain.len() - 1;
        assert_eq!(
            inflate(coding, &compressed, limit),
            Err(InflateError::TooLarge { limit })
        );
        let limit = 0;
        assert_eq!(
            inflate(coding, &compressed, limit),
            Err(InflateError::TooLarge { limit })
        );
        assert_eq!(inflate(coding, &compress(coding, b""), 0), Ok(Bytes::new()));
    }
}

#[test]
fn inflating_stops_at_the_limit() {
    for coding in CODINGS {
        let bomb = compress(coding, &vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 20, "{coding}: {}", bomb.len());
        let limit = 100_000;
        let mut inflater = Inflater::new(coding, bomb, limit);
        let mut steps = 1;
        while inflater.step().is_ok() {
            steps += 1;
        }
        assert!(steps <= 20, "{coding}: {steps} steps");
        assert!(inflater.inflated_bytes() <= limit + 1);
    }
}

#[test]
fn an_incomplete_stream_or_trailing_bytes_are_rejected() {
    let plain: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
    for coding in CODINGS {
        let whole = compress(coding, &plain);
        let malformed = Err(InflateError::Malformed(coding));
        for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
            let cut = inflate(coding, &whole[..length], 1 << 20);
            assert_eq!(cut, malformed, "{coding}, the first {length} bytes");
        }
        for behind in [&b"x"[..], b"\0", &whole[..9], &whole[1..]] {
            let longer = [&whole, behind].concat();
            assert_eq!(inflate(coding, &longer, 1 << 20), malformed, "{coding}");
        }
        // The checksum is the last four bytes of zlib, and precedes the length in gzip.
        let mut changed = whole.to_vec();
        let checksum = whole.len() - if coding == Coding::Gzip { 8 } else { 4 };
        changed[checksum] ^= 1;
        assert_eq!(inflate(coding, &changed, 1 << 20), malformed, "{coding}");
        assert_eq!(inflate(coding, b"{\"inputs\": []}", 1 << 20), malformed);
    }
    let twice = compress(Coding::Deflate, &plain).repeat(2);
    assert!(inflate(Coding::Deflate, &twice, 1 << 20).is_err());
    // The raw stream, without the zlib frame.
    let raw = &compress(Coding::Deflate, &plain)[2..];
    assert!(inflate(Coding::Deflate, raw, 1 << 20).is_err());
    // Neither coding decodes the other.
    let [gzip, deflate] = CODINGS.map(|coding| compress(coding, &plain));
    assert!(inflate(Coding::Gzip, &deflate, 1 << 20).is_err());
    assert!(inflate(Coding::Deflate, &gzip, 1 << 20).is_err());
}

#[test]
fn all_members_of_a_gzip_stream_form_one_body_within_one_limit() {
    let [a, b, empty] = ["aaa", "bb", ""].map(|text| compress(Coding::Gzip, text.as_bytes()));
    for (members, plain) in [
        (vec![&a, &b], "aaabb"),
        (vec![&empty, &a, &empty, &empty, &b, &empty], "aaabb"),
        (vec![&empty, &empty], ""),
    ] {
        let stream: Vec<u8> = members.into_iter().flatten().copied().collect();
        let inflated = inflate(Coding::Gzip, &stream, plain.len());
        assert_eq!(inflated.as_deref(), Ok(plain.as_bytes()));
        if let Some(limit) = plain.len().checked_sub(1) {
            let refused = Err(InflateError::TooLarge { limit });
            assert_eq!(inflate(Coding::Gzip, &stream, limit), refused);
        }
    }
    let many = |count| inflate(Coding::Gzip, &empty.repeat(count), 0);
    assert_eq!(many(4096), Ok(Bytes::new()));
    assert_eq!(many(4097), Err(InflateError::Malformed(Coding::Gzip)));
}

proptest! {
    #![proptest_config(crate::fixture::cases())]

    #[test]
    fn a_compressed_body_inflates_to_itself(
        pieces in vec(vec(any::<u8>(), 0..5_000), 0..4),
        repeats in 1usize..60,
    ) {
        let pieces: Vec<Bytes> = pieces.into_iter().map(|p| Bytes::from(p.repeat(repeats))).collect();
        let plain = pieces.concat();
        for coding in CODINGS {
            let inflated = inflate(coding, &coding.compress(&pieces), plain.len());
            prop_assert_eq!(inflated.as_deref(), Ok(&plain[..]));
        }
        let members = pieces.iter().map(|piece| compress(Coding::Gzip, piece));
        let stream: Vec<Bytes> = members.chain([compress(Coding::Gzip, b"")]).collect();
        let inflated = inflate(Coding::Gzip, &stream.concat(), plain.len());
        prop_assert_eq!(inflated.as_deref(), Ok(&plain[..]));
    }

    #[test]
    fn inflating_damaged_streams_never_panics(
        plain in vec(any::<u8>(), 0..500),
        position: prop::sample::Index,
        damage in vec(any::<u8>(), 0..4),
        cut in 0usize..8,
    ) {
        for coding in CODINGS {
            let whole = compress(coding, &plain);
            let bytes = damaged(&whole, position.index(whole.len()), cut, damage.clone());
            let _ = inflate(coding, &bytes, 10_000);
        }
    }

    #[test]
    fn inflating_arbitrary_bytes_never_panics(bytes in vec(any::<u8>(), 0..200)) {
        for coding in CODINGS {
            let start: &[u8] = match coding {
                Coding::Gzip => &[31, 139, 8, 0, 0, 0, 0, 0, 0, 3],
                Coding::Deflate => &[0x78, 0x9c],
            };
            let _ = inflate(coding, &[start, &bytes].concat(), 10_000);
            let _ = inflate(coding, &bytes, 10_000);
        }
    }
}
