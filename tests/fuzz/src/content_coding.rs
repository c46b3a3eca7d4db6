//! Compressed bodies, and the round trip of plain bodies. The first byte selects the coding.
//!
//! Inflating takes at most one byte more memory than the limit, and a number of steps proportional to
//! the compressed body. A compressed body inflates to the original.

use bytes::Bytes;
use wisp_protocol::content_coding::{Coding, InflateError, Inflater, Progress};

const LIMIT: usize = 1 << 18;

/// Checks one input.
pub fn run(input: &[u8]) {
    let Some((coding, body)) = input.split_first() else {
        return;
    };
    let coding = [Coding::Gzip, Coding::Deflate][usize::from(coding % 2)];
    let body = Bytes::copy_from_slice(body);
    // A step adds 64 KiB, or ends a member of twenty bytes.
    let _ = inflate(
        coding,
        body.clone(),
        LIMIT / (64 << 10) + body.len() / 4 + 4,
    );
    let whole = coding.compress(std::slice::from_ref(&body));
    assert_eq!(inflate(coding, whole.clone(), usize::MAX), Ok(body.clone()));
    if coding == Coding::Gzip {
        let twice = inflate(coding, Bytes::from(whole.repeat(2)), usize::MAX);
        assert_eq!(twice, Ok(Bytes::from(body.repeat(2))));
    }
}

fn inflate(coding: Coding, body: Bytes, most_steps: usize) -> Result<Bytes, InflateError> {
    let mut inflater = Inflater::new(coding, body, LIMIT);
    let mut steps = 0;
    loop {
        steps += 1;
        assert!(steps <= most_steps, "{steps} steps");
        let progress = inflater.step();
        assert!(inflater.inflated_bytes() <= LIMIT + 1);
        if progress? == Progress::Whole {
            return Ok(inflater.into_inflated());
        }
    }
}
