//! The SDK for authors of Wisp handlers: the preprocessing and postprocessing of a model, compiled to a
//! WebAssembly component.
//!
//! `wisp new flowers --template tabular` creates a project that uses this crate, with a model and tests.
//!
//! # Example
//!
//! A handler is a type that implements [`Handler`], and one call of [`export!`]. This one converts
//! temperatures for a graph, and the probabilities that the graph computes to yes or no. `main` runs it
//! natively, with a closure in place of the graph:
//!
//! ```
//! use wisp_handler::{Datatype, Error, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor};
//!
//! /// Predicts frost from temperatures in Celsius.
//! struct Frost;
//!
//! impl Handler for Frost {
//!     fn signature() -> Signature {
//!         Signature::new()
//!             .input("celsius", Datatype::Fp32, &[-1])
//!             .output("frost", Datatype::Bool, &[-1])
//!             .graph(
//!                 GraphSpec::new("model")
//!                     .input("kelvin", Datatype::Fp32, &[-1, 1])
//!                     .output("probability", Datatype::Fp32, &[-1, 1]),
//!             )
//!     }
//!
//!     fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
//!         let celsius = request.input("celsius")?.view::<f32>(&[-1])?;
//!         if let Some(row) = celsius.iter().position(|value| *value < -273.15) {
//!             return Err(Error::client(format!("input `celsius` row {row} is below absolute zero")));
//!         }
//!         let kelvin = celsius.iter().map(|value| value + 273.15);
//!         Ok(vec![Tensor::collect("kelvin", &[celsius.len(), 1], kelvin)?])
//!     }
//!
//!     fn postprocess(request: &Request, outputs: GraphOutputs) -> Result<Response> {
//!         let threshold = request.parameter::<f64>("threshold")?.unwrap_or(0.5);
//!         let probability = outputs.tensor("probability")?.view::<f32>(&[-1, 1])?;
//!         let frost = probability.iter().map(|value| f64::from(*value) >= threshold);
//!         Ok(Response::new().with_output(Tensor::collect("frost", &[probability.len()], frost)?))
//!     }
//! }
//!
//! wisp_handler::export!(Frost);
//!
//! fn main() -> Result<()> {
//!     let request = Request::new().with_input(Tensor::new("celsius", &[2], &[-4.0_f32, 21.0])?);
//!     let response = wisp_handler::testing::infer::<Frost>(&request, |_graph, inputs| {
//!         let kelvin = inputs[0].view::<f32>(&[-1, 1])?;
//!         let cold = kelvin.iter().map(|value| if *value < 273.15 { 0.9_f32 } else { 0.1 });
//!         Ok(vec![Tensor::collect("probability", kelvin.shape(), cold)?])
//!     })?;
//!     assert_eq!(*response.outputs()[0].view::<bool>(&[-1])?, [true, false]);
//!     Ok(())
//! }
//! ```
//!
//! # A request, step by step
//!
//! When a version is loaded, [`Handler::init`] builds the state that all requests share, from the model's settings
//! ([`config`]) and [`files`]. Then for each request:
//!
//! 1. The host checks the names, datatypes and shapes of the request against [`Signature`].
//! 2. [`Handler::preprocess`] reads the [`Tensor`]s and parameters of the [`Request`]. [`math`] and
//!    `image` (a feature) contain the usual operations.
//! 3. [`Graphs`] computes on the host, with the tensors that `preprocess` returned.
//! 4. [`Handler::postprocess`] makes a [`Response`] of the [`GraphOutputs`].
//! 5. The host checks the response against the signature, and encodes it in the client's protocol.
//!
//! A step that fails returns an [`Error`], which names the party at fault.
//!
//! # Diagnosis
//!
//! [`println!`], [`eprintln!`] and [`dbg!`] of this crate, imported by name, write to the log of the server and
//! to the terminal of `wisp infer` and `wisp check`; [`logging`] has more. A panic ends the request, and its
//! message, file and line are in the log and on the terminal, with the functions that were being called. The
//! client receives only the message that the handler failed.
//!
//! # Random numbers and time
//!
//! The modules [`random`] and [`clock`] replace the functions of the standard library that panic in a handler. A model grants each,
//! in `[handler] grants` of its `model.toml`.
//!
//! # Cost
//!
//! An instance exists for one request, and starts with the memory that [`Handler::init`] left when the
//! version was loaded. Build tables there, or make them constants. Any other lazy, cached or global value is
//! built again by every request.
//!
//! # Features
//!
//! | feature | default | contents |
//! |---|---|---|
//! | `allocator` | yes | a global allocator that uses the memory which the instance starts with |
//! | `getrandom` | no | the crates `getrandom` and `rand` have the numbers of the module [`random`] |
//! | `log` | no | the macros of the crate `log` write to the server's log |
//! | `image` | no | the module `image`: decoding PNG, JPEG and WebP, resizing, cropping, and tensor formats |

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;

pub mod clock;
pub mod config;
mod deployment;
pub mod files;
mod handler;
mod lazy;
mod request;
mod tensor;

mod element;
mod error;
mod graph;
#[cfg(feature = "image")]
pub mod image;
pub mod logging;
pub mod math;
pub mod random;
mod response;
mod signature;
pub mod testing;

pub use element::{Datatype, Element};
pub use error::{Error, Fault, Result};
pub use graph::{GraphOutputs, Graphs};
pub use half;
pub use handler::Handler;
pub use lazy::Lazy;
pub use request::{FromParameter, ParameterValue, Request};
pub use response::Response;
pub use signature::{GraphSpec, Signature, TensorSpec};
pub use tensor::{Tensor, View};

/// Exports a [`Handler`] as the component that the calling crate compiles to. Has no effect natively.
///
/// Call it once per crate. The crate's type must be `cdylib` (and `rlib`, for its tests):
///
/// ```toml
/// [lib]
/// crate-type = ["cdylib", "rlib"]
/// ```
///
/// The smallest handler passes the request to the graph, and the outputs of the graph to the client:
///
/// ```
/// use wisp_handler::{Datatype, GraphSpec, Handler, Signature};
///
/// struct Bare;
///
/// impl Handler for Bare {
///     fn signature() -> Signature {
///         let graph = GraphSpec::new("model")
///             .input("x", Datatype::Fp32, &[-1, 4])
///             .output("y", Datatype::Fp32, &[-1]);
///         Signature::new()
///             .input("x", Datatype::Fp32, &[-1, 4])
///             .output("y", Datatype::Fp32, &[-1])
///             .graph(graph)
///     }
/// }
///
/// wisp_handler::export!(Bare);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($handler:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::component::Component<$handler>;
            $crate::component::export_component!(Exported with_types_in $crate::component::bindings);
        };
    };
}
