//! What the author of a Wisp handler links.
//!
//! A handler is a type that implements [`Handler`], and one call of [`export!`]:
//!
//! ```
//! use wisp_handler::{Datatype, Error, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor};
//!
//! /// Celsius in, probability of frost out.
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
//! // Natively it runs over a closure in place of the graph:
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
//! The modules in the order a request meets them: `component` translates the contract of
//! `wit/handler.wit`; [`Request`] holds [`Tensor`]s; [`math`] and [`image`](mod@image) are what
//! preprocessing tends to need; [`Graphs`] computes; [`Response`] goes back. [`Error`] says whose
//! fault it is when there is none.
//!
//! An instance lives for one request. Whatever it initialises is paid for by that request, so tables
//! are constants or come from a build script, and nothing here is lazy, cached or global.

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;

mod handler;
mod request;
mod tensor;

mod element;
mod error;
mod graph;
#[cfg(feature = "image")]
pub mod image;
pub mod math;
mod response;
mod signature;
pub mod testing;

pub use element::{Datatype, Element};
pub use error::{Error, Fault, Result};
pub use graph::{GraphOutputs, Graphs};
pub use half;
pub use handler::Handler;
pub use request::{FromParameter, ParameterValue, Request};
pub use response::Response;
pub use signature::{GraphSpec, Signature, TensorSpec};
pub use tensor::{Tensor, View};

/// Makes a [`Handler`] the component that this crate compiles to. Natively it does nothing.
///
/// Once per crate; the crate's type is `cdylib` (and `rlib`, for its tests).
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
