//! A sandbox in which generated handlers are called, and their neighbor.

use crate::harness::sandbox::{Sandbox, call_inline, keeps_the_contract};
use crate::harness::wat_handler::{ANSWER, WatHandler};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_sandbox::component::CheckedComponent;
use wisp_sandbox::compute::{Compute, ComputeError, ComputeOptions, Computed, Computing, Graphs};
use wisp_sandbox::handler::{Handler, HandlerLoadError, HandlerSignature};
use wisp_sandbox::limits::Limits;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorSpec};

/// The number of cases between two calls of the neighbor.
const CASES_PER_CHECK: usize = 4;

/// A sandbox with one instance, and a handler in it that must not notice anything.
pub(super) struct Neighborhood {
    pub(super) sandbox: Sandbox,
    neighbor: Handler,
}

/// The counts that show that a test has tested something.
#[derive(Debug, Default)]
pub(super) struct Counts {
    loaded: usize,
    answered: usize,
}

/// The least parts of all cases that a test must load and call, and that must respond: one of so many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub(super) loaded: usize,
    pub(super) answered: usize,
}

/// A graph whose outputs are zeros.
#[derive(Debug)]
struct Zeros {
    signature: Signature,
}

impl Neighborhood {
    pub(super) fn new() -> Result<Neighborhood> {
        let sandbox = Sandbox::with_one_instance()?;
        // The response: three times the input, and the number of words that others have left in memory.
        let infer = format!(
            "(drop (memory.grow (i32.const 8)))
            (i32.store (i32.const {ANSWER}) (i32.mul (local.get $x) (i32.const 3)))
            (local.set $i (i32.const 65536))
            (loop $words
                (local.set $count (i32.add (local.get $count)
                    (i32.eqz (i64.eqz (i64.load (local.get $i))))))
                (br_if $words (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 8)))
                    (i32.shl (memory.size) (i32.const 16)))))
            (i32.store offset=4 (i32.const {ANSWER}) (local.get $count))
            (i32.store offset=8 (i32.const {ANSWER}) (i32.const 7))"
        );
        let neighbor = WatHandler {
            pages: 4,
            imports: "",
            fields: "",
            infer: &infer,
        };
        let neighbor = sandbox.load(&neighbor.component()?, Limits::default())??;
        Ok(Neighborhood { sandbox, neighbor })
    }

    /// Deploys a component and calls it, with graphs of zeros. Then the memory that calls hold must be free, and the
    /// neighbor must find the only instance and none of the data.
    pub(super) fn visit(&self, case: usize, wasm: &[u8], counts: &mut Counts) -> Result<()> {
        if let Ok(component) = self.sandbox.compile(wasm) {
            match (self.sandbox).handler(&component, Arc::default(), limits()) {
                Ok(handler) => {
                    counts.loaded += 1;
                    counts.answered += usize::from(self.call(&component, handler.signature())?);
                }
                // The guest has failed, and not the host.
                Err(HandlerLoadError::Signature(error)) => keeps_the_contract(&Err(error))?,
                Err(HandlerLoadError::Contract { .. }) => {}
            }
        }
        let reserved = self.sandbox.reserved_bytes();
        ensure!(reserved == 0, "it leaves {reserved} bytes behind");
        if case.is_multiple_of(CASES_PER_CHECK) {
            self.neighbor_is_well(u32::try_from(case % 1000)?)?;
        }
        Ok(())
    }

    /// Checks the neighbor after the last case, and that enough of all cases were loaded and have responded.
    pub(super) fn finish(&self, cases: usize, counts: &Counts, shares: Shares) -> Result<()> {
        self.neighbor_is_well(u32::try_from(cases % 1000)?)?;
        ensure!(
            counts.loaded >= cases / shares.loaded && counts.answered >= cases / shares.answered,
            "of {cases} cases: {counts:?}, at least one of {shares:?}"
        );
        Ok(())
    }

    /// Calls a component with its graphs. Returns whether it responds.
    fn call(&self, component: &CheckedComponent, signature: &HandlerSignature) -> Result<bool> {
        let declared = (signature.graphs.iter())
            .map(|(name, signature)| (name.clone(), zeros(signature.clone())));
        // Random addresses and lengths of a name rarely are more than an empty one.
        let others = ["model", ""].map(|name| (name.to_owned(), zeros(any_features())));
        let graphs = Graphs::new(declared.chain(others).collect());
        // The signature may take too much time now and then.
        let graphs = Arc::new(graphs);
        let Ok(handler) = self.sandbox.handler(component, graphs, limits()) else {
            return Ok(false);
        };
        let outcome = call_inline(&handler, &inputs_of(&signature.model));
        keeps_the_contract(&outcome)?;
        Ok(outcome.is_ok())
    }

    fn neighbor_is_well(&self, x: u32) -> Result<()> {
        let content = x.to_le_bytes().to_vec();
        let tensor = Tensor::new(ElementType::Uint32, Shape::new(vec![1])?, content.into())?;
        let name = "x".to_owned();
        let answer = call_inline(&self.neighbor, &[NamedTensor { name, tensor }])?;
        let output = answer.outputs.first().context("no output")?;
        let expected = [3 * x, 0, 7].map(u32::to_le_bytes).concat();
        let content = output.tensor.content();
        ensure!(
            content[..] == expected[..],
            "the neighbor responds {content:?}"
        );
        Ok(())
    }
}

impl Compute for Zeros {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn compute(&self, inputs: Vec<NamedTensor>, options: ComputeOptions) -> Computing<'_> {
        let outputs = self.compute_inline(&inputs, options.deadline);
        let computed = outputs.map(|outputs| Computed {
            outputs,
            queue: Duration::ZERO,
            backend: Duration::ZERO,
        });
        Box::pin(std::future::ready(computed))
    }

    fn compute_inline(
        &self,
        _inputs: &[NamedTensor],
        _deadline: Instant,
    ) -> Result<Vec<NamedTensor>, ComputeError> {
        // The signatures of mutants may declare outputs that nothing computes.
        Ok(tensors_of(&self.signature.outputs).unwrap_or_default())
    }
}

fn zeros(signature: Signature) -> Arc<dyn Compute> {
    Arc::new(Zeros { signature })
}

/// Returns limits under which a guest without an end does not take long.
pub(super) fn limits() -> Limits {
    Limits {
        memory_bytes: 16 << 20,
        guest_time: Duration::from_millis(10),
        ..Limits::default()
    }
}

/// Returns the signature of a graph that the generated modules may find.
fn any_features() -> Signature {
    let spec = |name: &str| TensorSpec {
        name: name.to_owned(),
        element_type: ElementType::Fp32,
        shape: vec![Dimension::Variable, Dimension::Variable],
        optional: false,
    };
    Signature {
        inputs: vec![spec("features")],
        outputs: vec![spec("y")],
    }
}

/// Returns the inputs of a request. A signature that no tensors fit has none.
fn inputs_of(signature: &Signature) -> Vec<NamedTensor> {
    let required = signature.inputs.iter().filter(|input| !input.optional);
    let required: Vec<TensorSpec> = required.cloned().collect();
    tensors_of(&required).unwrap_or_default()
}

/// Returns a tensor of zeros for each of these, of one element where the size may vary.
fn tensors_of(specs: &[TensorSpec]) -> Result<Vec<NamedTensor>> {
    let mut tensors = Vec::new();
    for spec in specs {
        let shape = Dimension::resolve(&spec.shape, 1)?;
        // The signatures of generated modules may declare more than there is memory.
        ensure!(shape.elements() <= 1 << 20, "too many elements");
        // A string without bytes is its length, four zeros.
        let bytes = shape.elements() * spec.element_type.size().unwrap_or(4);
        tensors.push(NamedTensor {
            name: spec.name.clone(),
            tensor: Tensor::new(spec.element_type, shape, vec![0; bytes].into())?,
        });
    }
    Ok(tensors)
}
