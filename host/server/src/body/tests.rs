//! Tests of bodies that arrive in pieces, or not at all.

use super::*;
use crate::drain::Drain;
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinSet;
use wisp_tensor::MemoryBudget;

const GRACE: Duration = Duration::from_secs(10);

/// A body that performs these steps in order, and then ends.
#[derive(Debug, Default)]
struct Script {
    steps: VecDeque<Step>,
    declared: Option<u64>,
    waiting: Option<Pin<Box<tokio::time::Sleep>>>,
}

#[derive(Debug)]
enum Step {
    Piece(Bytes),
    Wait(Duration),
    Fail(io::ErrorKind),
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Script {
        let steps = steps.into_iter().collect();
        Script {
            steps,
            ..Script::default()
        }
    }

    fn declaring(mut self, bytes: u64) -> Script {
        self.declared = Some(bytes);
        self
    }
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Piece(piece)) => {
                if let Some(declared) = &mut self.declared {
                    *declared -= piece.len() as u64;
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Some(Step::Fail(kind)) => Poll::Ready(Some(Err(kind.into()))),
            Some(Step::Wait(duration)) => {
                self.waiting = Some(Box::pin(tokio::time::sleep(duration)));
                self.poll_frame(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.declared == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.declared
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn pieces<const N: usize>(texts: [&'static str; N]) -> impl Iterator<Item = Step> {
    texts
        .map(|text| Step::Piece(Bytes::from_static(text.as_bytes())))
        .into_iter()
}

fn blocking() -> BlockingPool {
    BlockingPool::new(std::num::NonZeroUsize::MIN, GRACE)
}

/// Returns a body with an unlimited memory budget.
fn request_body(script: Script) -> RequestBody<Script> {
    let budget = Arc::new(MemoryBudget::new(usize::MAX));
    RequestBody::new(script, GRACE, budget.reservation(), blocking())
}

async fn read(script: Script, limit: usize) -> Result<Bytes, BodyError> {
    request_body(script).read(limit).await
}

#[tokio::test]
async fn a_body_in_one_piece_is_passed_on_uncopied() -> anyhow::Result<()> {
    let piece = Bytes::from(vec![7; 1000]);
    for script in [
        Script::new([Step::Piece(piece.clone())]),
        Script::new([Step::Piece(piece.clone())]).declaring(1000),
    ] {
        let body = read(script, 1000).await?;
        assert_eq!(body.as_ptr(), piece.as_ptr());
        assert_eq!(body, piece);
    }
    Ok(())
}

#[tokio::test]
async fn pieces_are_joined_in_their_order() -> anyhow::Result<()> {
    let script = Script::new(pieces(["ab", "", "c", "def", "g"]));
    assert_eq!(read(script, 7).await?, "abcdefg");
    let script = Script::new(pieces(["ab", "c"])).declaring(3);
    assert_eq!(read(script, 7).await?, "abc");
    assert_eq!(read(Script::default(), 0).await?, "");
    Ok(())
}

#[tokio::test]
async fn the_byte_above_the_limit_is_refused() {
    let error_body = Err(BodyError::TooLarge { limit: 4 });
    assert_eq!(read(Script::new(pieces(["abcde"])), 4).await, error_body);
    assert_eq!(
        read(Script::new(pieces(["ab", "cd", "e"])), 4).await,
        error_body
    );
}

#[tokio::test]
async fn a_declared_size_above_the_limit_is_refused_before_anything_is_read() {
    let unread = || Script::new([Step::Fail(io::ErrorKind::Other)]);
    for declared in [5, u64::MAX] {
        let refused = read(unread().declaring(declared), 4).await;
        assert_eq!(refused, Err(BodyError::TooLarge { limit: 4 }));
    }
}

#[tokio::test]
async fn a_flood_of_tiny_pieces_costs_little_more_than_its_bytes() -> anyhow::Result<()> {
    const LIMIT: usize = 1 << 18;
    let flood = (0..LIMIT).map(|_| Step::Piece(Bytes::from_static(b"x")));
    let mut body = request_body(Script::new(flood));
    while body.collected.bytes().len() < LIMIT - MAX_PIECES_AT_ONCE {
        let _ = poll_fn(|cx| Poll::Ready(body.poll_whole(cx, LIMIT))).await;
        if let Collected::Joined(bytes) = &body.collected {
            assert!(bytes.capacity() <= LIMIT, "{} bytes", bytes.capacity());
            assert!(bytes.capacity() <= 2 * bytes.len() + MAX_PIECES_AT_ONCE);
        }
    }
    assert_eq!(body.read_whole(LIMIT).await?.len(), LIMIT);
    Ok(())
}

#[tokio::test]
async fn a_declared_size_is_not_set_aside_before_it_comes() {
    let steps = pieces(["a", "b"]).chain([Step::Wait(Duration::from_secs(1))]);
    let script = Script::new(steps).declaring(1 << 40);
    let mut body = request_body(script);
    let _ = poll_fn(|cx| Poll::Ready(body.poll_whole(cx, usize::MAX))).await;
    match &body.collected {
        Collected::Joined(bytes) => assert!(bytes.capacity() <= MAX_ADVANCE_BYTES),
        other => panic!("two pieces are joined, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_late_after_the_grace() {
    let start = Instant::now();
    let script = Script::new([Step::Wait(Duration::from_secs(3600))]);
    assert_eq!(read(script, 10).await, Err(BodyError::Timeout));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_at_the_least_rate_has_time_to_come() -> anyhow::Result<()> {
    let second = || {
        let piece = Bytes::from(vec![0; 16 * 1024]);
        [Step::Wait(Duration::from_secs(1)), Step::Piece(piece)]
    };
    let body = read(Script::new((0..100).flat_map(|_| second())), 1 << 30).await?;
    assert_eq!(body.len(), 100 * 16 * 1024);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_late() {
    let drip = || {
        [
            Step::Wait(Duration::from_secs(1)),
            Step::Piece(Bytes::from_static(b"x")),
        ]
    };
    let start = Instant::now();
    let script = Script::new((0..100).flat_map(|_| drip())).declaring(100);
    assert_eq!(read(script, 100).await, Err(BodyError::Timeout));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn bad_framing_is_told_from_a_client_that_went_away() {
    for (kind, error) in [
        (io::ErrorKind::InvalidInput, BodyError::Malformed),
        (io::ErrorKind::InvalidData, BodyError::Malformed),
        (io::ErrorKind::UnexpectedEof, BodyError::Disconnected),
        (io::ErrorKind::ConnectionReset, BodyError::Disconnected),
    ] {
        assert_eq!(
            read(Script::new([Step::Fail(kind)]), 10).await,
            Err(error),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn only_what_is_there_already_is_thrown_away() {
    let mut there = request_body(Script::new(pieces(["ab", "cd"])));
    assert!(there.is_over().await);
    let steps = pieces(["ab"]).chain([Step::Wait(Duration::from_secs(1))]);
    let mut missing = request_body(Script::new(steps));
    assert!(!missing.is_over().await);
    let steps = pieces(["ab"]).chain([Step::Fail(io::ErrorKind::InvalidInput)]);
    let mut broken = request_body(Script::new(steps));
    assert_eq!(broken.read_whole(10).await, Err(BodyError::Malformed));
    assert!(!broken.is_over().await);
    let endless = (0..100_000).map(|_| Step::Piece(Bytes::from_static(&[0; 1024])));
    let mut endless = request_body(Script::new(endless));
    assert!(!endless.is_over().await);
}

#[tokio::test]
async fn a_body_holds_its_bytes_until_its_request_ends() -> anyhow::Result<()> {
    let budget = Arc::new(MemoryBudget::new(5));
    let body = |text| {
        RequestBody::new(
            Script::new(pieces([text])),
            GRACE,
            budget.reservation(),
            blocking(),
        )
    };
    let mut first = body("abcd");
    first.read_whole(10).await?;
    assert_eq!(body("ef").read(10).await, Err(BodyError::NoRoom));
    drop(first);
    assert_eq!(body("ef").read(10).await?, "ef");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_body_takes_longer_than_five_minutes() {
    let steady = || {
        [
            Step::Wait(Duration::from_secs(1)),
            Step::Piece(vec![0; 32 << 10].into()),
        ]
    };
    let script = Script::new((0..400).flat_map(|_| steady()));
    let start = Instant::now();
    assert_eq!(read(script, 64 << 20).await, Err(BodyError::Timeout));
    assert_eq!(start.elapsed(), MAX_BODY_TIME);
}

#[tokio::test]
async fn a_compressed_body_is_held_to_its_inflated_size() -> anyhow::Result<()> {
    let plain = Bytes::from(vec![7; 300_000]);
    let budget = Arc::new(MemoryBudget::new(1_000_000));
    for coding in [Coding::Gzip, Coding::Deflate] {
        let compressed = coding.compress(std::slice::from_ref(&plain));
        let script = || Script::new([Step::Piece(compressed.clone())]);
        for (limit, expected) in [
            (300_000, Ok(plain.clone())),
            (299_999, Err(BodyError::TooLarge { limit: 299_999 })),
            (1_000, Err(BodyError::TooLarge { limit: 1_000 })),
        ] {
            let mut body = RequestBody::new(script(), GRACE, budget.reservation(), blocking());
            body.set_coding(Some(coding));
            assert_eq!(body.read(limit).await, expected, "{coding}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_inflated_size_of_a_body_counts_in_the_budget_until_the_request_ends() {
    let compressed = Coding::Gzip.compress(&[Bytes::from(vec![7; 300_000])]);
    let script = || Script::new([Step::Piece(compressed.clone())]);
    let budget = Arc::new(MemoryBudget::new(400_000));
    let read = async |body: &mut RequestBody<Script>| {
        body.set_coding(Some(Coding::Gzip));
        body.read(1 << 20).await.map(|bytes| bytes.len())
    };
    let mut one = RequestBody::new(script(), GRACE, budget.reservation(), blocking());
    assert_eq!(read(&mut one).await, Ok(300_000));
    let mut other = RequestBody::new(script(), GRACE, budget.reservation(), blocking());
    assert_eq!(read(&mut other).await, Err(BodyError::NoRoom));
    drop(one);
    let mut third = RequestBody::new(script(), GRACE, budget.reservation(), blocking());
    assert_eq!(read(&mut third).await, Ok(300_000));
    drop((other, third));
    assert!(
        budget.reservation().grow(400_000),
        "all of it was given back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up_soon_after_the_server_drains() {
    let drain = Drain::new();
    let script = Script::new([Step::Wait(GRACE * 100)]);
    let mut body = request_body(script).until_drain(drain.watch());
    let began = Instant::now();
    let (read, drained) = tokio::join!(body.read(10), drain.finish(JoinSet::new(), Duration::ZERO));
    assert_eq!(drained, Ok(()));
    assert_eq!(read, Err(BodyError::Draining));
    assert!(began.elapsed() < GRACE);
}
