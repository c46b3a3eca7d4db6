//! Tests of the way that batches are computed, with graphs of a given duration.

use super::*;
use crate::worker_pool::PoolThreads;
use wisp_tensor::number::{from_numbers, numbers};
use wisp_tensor::{Dimension, ElementType, Shape, TensorSpec};

/// A graph that doubles its input, with a cost for each row and one for a batch of several rows.
#[derive(Debug)]
struct Doubling {
    signature: Signature,
    batch_costs: Duration,
    /// Makes the graph return the sum over the batch instead, which zeros do not show.
    mixes_rows: bool,
    largest_batch: AtomicUsize,
}

impl Doubling {
    fn new(batch_costs: Duration) -> Doubling {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Fp32,
            shape: vec![Dimension::Variable, Dimension::Variable],
            optional: false,
        };
        Doubling {
            signature: Signature {
                inputs: vec![spec("x")],
                outputs: vec![spec("y")],
            },
            batch_costs,
            mixes_rows: false,
            largest_batch: AtomicUsize::new(0),
        }
    }
}

impl Graph for Doubling {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn rows(&self) -> Rows {
        match self.mixes_rows {
            true => Rows::Dependent {
                reason: "a sum".to_owned(),
            },
            false => Rows::Independent,
        }
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        let tensor = &inputs[0].tensor;
        let rows = tensor.shape().dimensions()[0] as usize;
        let found: Vec<f64> = numbers(tensor).collect();
        if found.iter().any(|number| *number < 0.0) {
            return Err(failed("a negative number"));
        }
        self.largest_batch.fetch_max(rows, Ordering::Relaxed);
        let mut costs = Duration::from_micros(100) * u32::try_from(rows).expect("few rows");
        if rows > 1 {
            costs += self.batch_costs;
        }
        let until = Instant::now() + costs;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let total: f64 = found.iter().sum();
        let mut found = found.into_iter();
        let next = || {
            let number = found.next().expect("as many as elements");
            if self.mixes_rows { total } else { 2.0 * number }
        };
        let tensor = from_numbers(ElementType::Fp32, tensor.shape().clone(), next)
            .expect("it has been a tensor");
        let name = "y".to_owned();
        Ok(vec![NamedTensor { name, tensor }])
    }
}

fn batch(rows: u32, columns: u32, first: f64) -> Vec<NamedTensor> {
    let mut number = first - 1.0;
    let shape = Shape::new(vec![rows, columns]).expect("it is small");
    let next = || {
        number += 1.0;
        number
    };
    let tensor = from_numbers(ElementType::Fp32, shape, next).expect("it is small");
    let name = "x".to_owned();
    vec![NamedTensor { name, tensor }]
}

const THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

fn pool() -> std::io::Result<Arc<WorkerPool>> {
    WorkerPool::spawn("test", PoolThreads::fixed(THREADS))
}

#[test]
fn a_graph_that_is_slower_with_batches_gets_rows_and_returns_them_in_order() -> anyhow::Result<()> {
    for threads in [NonZeroUsize::MIN, THREADS] {
        let doubling = Arc::new(Doubling::new(Duration::from_millis(5)));
        let graph = split_where_faster(Arc::clone(&doubling) as Arc<dyn Graph>, threads, &pool()?);
        // The first batch is tried both ways.
        graph.compute(&batch(4, 1, 0.0))?;
        doubling.largest_batch.store(0, Ordering::Relaxed);
        let result = graph.compute(&batch(7, 1, 0.0))?;
        assert_eq!(result[0].tensor.shape().dimensions(), [7, 1]);
        let expected: Vec<f64> = (0..7).map(|number| f64::from(number) * 2.0).collect();
        assert_eq!(numbers(&result[0].tensor).collect::<Vec<f64>>(), expected);
        assert_eq!(doubling.largest_batch.load(Ordering::Relaxed), 1);
    }
    Ok(())
}

#[test]
fn a_graph_that_is_faster_with_batches_gets_them_whole() -> anyhow::Result<()> {
    let doubling = Arc::new(Doubling::new(Duration::ZERO));
    let graph = PerRowGraph {
        may_split: true,
        ..PerRowGraph::whole(Arc::clone(&doubling) as Arc<dyn Graph>)
    };
    graph.compute(&batch(7, 3, 0.0))?;
    assert_eq!(doubling.largest_batch.load(Ordering::Relaxed), 7);
    assert_eq!(graph.decided(&[3, u32::MAX]), Some(BatchMode::Whole));
    Ok(())
}

#[test]
fn rows_that_depend_on_each_other_stay_together_after_a_batch_of_zeros() -> anyhow::Result<()> {
    let graph = split_where_faster(
        Arc::new(Doubling {
            mixes_rows: true,
            ..Doubling::new(Duration::from_millis(5))
        }),
        THREADS,
        &pool()?,
    );
    let zeros = |rows| {
        let shape = Shape::new(vec![rows, 1])?;
        let tensor = from_numbers(ElementType::Fp32, shape, || 0.0)?;
        let name = "x".to_owned();
        anyhow::Ok(vec![NamedTensor { name, tensor }])
    };
    graph.compute(&zeros(4)?)?;
    let result = graph.compute(&batch(3, 1, 0.0))?;
    assert_eq!(numbers(&result[0].tensor).collect::<Vec<f64>>(), [3.0; 3]);
    Ok(())
}

#[test]
fn a_backend_without_faster_rows_gets_its_batches_whole() -> anyhow::Result<()> {
    let doubling = Arc::new(Doubling::new(Duration::from_millis(5)));
    let graph = PerRowGraph::whole(Arc::clone(&doubling) as Arc<dyn Graph>);
    graph.compute(&batch(5, 1, 0.0))?;
    assert_eq!(doubling.largest_batch.load(Ordering::Relaxed), 5);
    assert!(graph.compute_prepared(&batch(5, 1, 0.0)).is_some());
    Ok(())
}

#[test]
fn a_batch_without_rows_has_outputs_without_rows() -> anyhow::Result<()> {
    let mut doubling = Doubling::new(Duration::ZERO);
    for spec in [
        &mut doubling.signature.inputs[0],
        &mut doubling.signature.outputs[0],
    ] {
        spec.shape[1] = Dimension::Fixed(3);
    }
    let doubling = Arc::new(doubling);
    let graph = split_where_faster(Arc::clone(&doubling) as Arc<dyn Graph>, THREADS, &pool()?);
    let none = batch(0, 3, 0.0);
    for outputs in [Some(graph.compute(&none)), graph.compute_prepared(&none)] {
        let outputs = outputs.ok_or_else(|| anyhow::anyhow!("it is not prepared"))??;
        assert_eq!(outputs[0].name, "y");
        assert_eq!(outputs[0].tensor.shape().dimensions(), [0, 3]);
    }
    // A row is computed for it, since backends may fail without one.
    assert_eq!(doubling.largest_batch.load(Ordering::Relaxed), 1);
    Ok(())
}

#[test]
fn a_batch_without_rows_of_variable_sizes_is_left_to_the_backend() -> anyhow::Result<()> {
    let doubling = Arc::new(Doubling::new(Duration::ZERO));
    let graph = split_where_faster(Arc::clone(&doubling) as Arc<dyn Graph>, THREADS, &pool()?);
    let outputs = graph.compute(&batch(0, 1000, 0.0))?;
    assert_eq!(outputs[0].tensor.shape().dimensions(), [0, 1000]);
    assert_eq!(doubling.largest_batch.load(Ordering::Relaxed), 0);
    Ok(())
}

#[test]
fn other_sizes_are_measured_again_and_the_decisions_are_bounded() -> anyhow::Result<()> {
    let graph = PerRowGraph {
        may_split: true,
        ..PerRowGraph::whole(Arc::new(Doubling::new(Duration::from_millis(1))))
    };
    assert!(graph.compute_prepared(&batch(2, 1, 0.0)).is_none());
    graph.compute(&batch(2, 1, 0.0))?;
    assert!(graph.compute_prepared(&batch(2, 1, 0.0)).is_some());
    assert!(graph.compute_prepared(&batch(2, 2, 0.0)).is_none());
    for columns in 0..300 {
        let sizes = vec![columns, u32::MAX];
        if graph.decided(&sizes).is_none() {
            graph.decisions().insert(sizes, BatchMode::PerRow);
        }
    }
    assert_eq!(graph.decisions().len(), MAX_DECISIONS);
    assert_eq!(graph.decided(&[999]), Some(BatchMode::Whole));
    Ok(())
}

#[test]
fn a_failing_row_fails_its_batch_and_no_later_one() -> anyhow::Result<()> {
    let doubling = Arc::new(Doubling::new(Duration::from_millis(5)));
    let graph = split_where_faster(doubling, THREADS, &pool()?);
    assert!(graph.compute(&batch(4, 1, -2.0)).is_err());
    assert!(graph.compute(&batch(4, 1, 0.0)).is_ok());
    Ok(())
}
